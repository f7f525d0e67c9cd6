//! Files of pages, read once when a configuration is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Page, Told};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{FilterKind, Model, PageFile, PageFormat, PageSource};

/// By file and format, as the model names them.
pub type PageFiles = BTreeMap<(PathBuf, PageFormat), Arc<Page>>;

/// A page is kept in memory and sent whole.
const LARGEST: u64 = 1 << 20;

/// Reads the files of every filter that shows pages. Blocks on files. One that cannot be used has no entry.
pub fn load_pages(model: &Model) -> (PageFiles, Diagnostics) {
    let (mut files, mut found) = (PageFiles::new(), Diagnostics::default());
    for filter in model.filters() {
        let FilterKind::ErrorPages(pages) = &filter.kind else { continue };
        for PageFile { format, file } in pages.pages.iter().flat_map(|page| match &page.source {
            PageSource::Files(files) => files.as_slice(),
            PageSource::Upstream { .. } => &[],
        }) {
            let key = (file.clone(), *format);
            if files.contains_key(&key) {
                continue;
            }
            match read(file, *format) {
                Ok(page) => drop(files.insert(key, Arc::new(page))),
                Err(reason) => {
                    let message = format!("{} {reason}", file.display());
                    found.push(Diagnostic::error(filter.origin.clone(), "error-pages", message));
                }
            }
        }
    }
    (files, found)
}

fn read(file: &Path, format: PageFormat) -> Result<Page, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > LARGEST {
        return Err(format!("has {length} bytes; a page has {LARGEST} at most"));
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8")?;
    let page = Page::parse(format, text);
    if format == PageFormat::Json {
        let told = Told { status: 500, reason: "", message: "", request_id: "", host: "" };
        serde_json::from_str::<serde_json::Value>(&page.fill_in(&told))
            .map_err(|error| format!("is not JSON once it is filled in: {error}"))?;
    }
    Ok(page)
}
