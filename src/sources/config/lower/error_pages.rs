//! `error-pages`. Its files are read by `error_pages`.

use super::Lowering;
use crate::defaults;
use crate::model::{ErrorPage, ErrorPages, Intercept, PageFile, PageFormat, PageSource, PageStatus, UpstreamName};
use crate::sources::config::decode::{Field, OneOrList};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

pub fn error_pages(cx: &Lowering, at: NodeId, shape: shapes::ErrorPages) -> ErrorPages {
    let example = "pages: [{ status: 5xx, html: errors/5xx.html }]";
    let list = cx.required(shape.pages, at, "pages", example);
    if let Some((at, list)) = &list
        && list.is_empty()
    {
        cx.error_with(at.value(), "an empty list shows no page", format!("write {example}"));
    }
    let pages = list.map(|(_, list)| list).unwrap_or_default().into_iter().filter_map(Field::given);
    ErrorPages {
        intercept: match shape.intercept.value() {
            Some(true) => Intercept::All,
            Some(false) => Intercept::Own,
            None => defaults::INTERCEPT,
        },
        pages: pages.filter_map(|(at, shape)| page(cx, at, shape)).collect(),
    }
}

fn page(cx: &Lowering, at: NodeId, shape: shapes::ErrorPage) -> Option<ErrorPage> {
    let statuses = cx.required(shape.status, at, "status", "status: 404, or status: [401, 5xx]");
    let statuses = statuses.map(|(at, written)| match written {
        OneOrList::One(one) => vec![one.0],
        OneOrList::List(list) => {
            if list.is_empty() {
                cx.error_with(at.value(), "an empty list fits no error", "write what is meant, as [401, 5xx]");
            }
            list.into_iter().filter_map(Field::scalar).collect()
        }
    });
    let files = [
        (PageFormat::Html, "html", shape.html),
        (PageFormat::Json, "json", shape.json),
        (PageFormat::Text, "text", shape.text),
    ];
    let answered_at = shape.answered.key();
    let answered = shape.answered.scalar_or(PageStatus::Kept);
    let first_file = files.iter().find_map(|(_, key, file)| Some((*key, file.key()?)));
    let source = match (first_file, shape.upstream) {
        (Some((key, place)), Field::Given(..) | Field::Wrong(_)) => {
            cx.error_with(place, format!("\"{key}\" cannot stand beside \"upstream\""), "keep one of them");
            None
        }
        (None, Field::Given(at, name)) => {
            cx.upstreams.resolve(cx, at, &name);
            let path = shape.path.scalar_or(defaults::ERROR_PAGE_PATH.into());
            return Some(ErrorPage {
                statuses: statuses?,
                source: PageSource::Upstream { name: UpstreamName::new(name), path, told: Vec::new() },
                answered,
            });
        }
        (None, Field::Wrong(_)) => {
            cx.upstreams.lost_a_use();
            None
        }
        (None, Field::Absent) => {
            let help = "write html: errors/5xx.html (or json, text), or upstream: …";
            cx.missing(at, &["html", "json", "text", "upstream"], "nothing says what is shown", help);
            None
        }
        (Some(_), Field::Absent) => Some(PageSource::Files(files_of(cx, files))),
    };
    if let (Some(place), true) = (shape.path.key(), first_file.is_some()) {
        cx.error_with(place, "\"path\" says what an upstream is asked for", "take it out, or write upstream: …");
    }
    if let (Some(place), PageStatus::OfThePage, true) = (answered_at, answered, first_file.is_some()) {
        cx.error_with(place, "a file has no status of its own", "write a number, or take this out");
    }
    Some(ErrorPage { statuses: statuses?, source: source?, answered })
}

fn files_of(cx: &Lowering, files: [(PageFormat, &str, Field<scalar::FilePath>); 3]) -> Vec<PageFile> {
    let file =
        |(format, _, file): (_, _, Field<scalar::FilePath>)| Some(PageFile { format, file: cx.file(file.scalar()?) });
    files.into_iter().filter_map(file).collect()
}
