//! An own page instead of an error: of Weir's, or of the upstream's.
//!
//! ```text
//! error ──► the rule for its status ──► a file, filled in ─┐
//!                            └──► GET to an upstream ──────┴──► body, its fields, status ──► over the error's own
//! ```
//!
//! An answer of the upstream's is replaced the moment its head is there: the client has the whole page before the upstream's body comes.
//! What comes of that is dropped; where it is little, as errors are, the connection is used again. Pingora knows nothing of this: it is
//! handed an interim head, which goes nowhere, and empty pieces.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, TRANSFER_ENCODING,
};
use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::arrive::version;
use super::compression;
use super::context::{Context, Purpose, Replaced};
use super::page_upstream::{Fetcher, Question};
use super::reply;
use crate::error_pages::Told;
use crate::model::PageStatus;
use crate::proxy::answer::{self, Answer};
use crate::proxy::filters;
use crate::snapshot::error_pages::{Rule, Source};

/// A page, ready to be sent.
pub(super) struct Shown {
    pub status: u16,
    /// Of the body.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// What tells of a body that is not sent.
const OF_THE_BODY: [HeaderName; 11] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_DISPOSITION,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
];

/// Puts a page in the place of an error of Weir's own. Its fields stay.
pub async fn dress(fetcher: &Fetcher, session: &Session, ctx: &mut Context, answer: &mut Answer) {
    let (Some(message), Some(pages)) = (answer.error.take(), ctx.error_pages()) else { return };
    let Some(rule) = pages.rule(answer.status) else { return };
    if let Some(shown) = show(fetcher, session, ctx, rule, answer.status, &message).await {
        answer.headers.retain(|(name, _)| !OF_THE_BODY.contains(name));
        answer.headers.extend(shown.fields);
        (answer.status, answer.body) = (shown.status, shown.body);
        ctx.replaced = Replaced::Own;
    }
}

/// Answers the client with a page where the upstream's answer is to be replaced; its own head then goes nowhere.
pub async fn intercept(
    fetcher: &Fetcher,
    session: &mut Session,
    response: &mut ResponseHeader,
    ctx: &mut Context,
) -> Result<Replaced> {
    let status = response.status.as_u16();
    let is_for_client = status >= 400 && ctx.purpose == Purpose::Client;
    let Some(pages) = ctx.error_pages().filter(|_| is_for_client) else { return Ok(Replaced::Nothing) };
    let Some(rule) = pages.intercepting(status) else { return Ok(Replaced::Nothing) };
    let Some(shown) = show(fetcher, session, ctx, rule, status, "").await else { return Ok(Replaced::Nothing) };
    let mut head = response.clone();
    head.set_status(shown.status)?;
    head.set_version(http::Version::HTTP_11);
    for name in &OF_THE_BODY {
        head.remove_header(name);
    }
    for (name, value) in shown.fields {
        head.append_header(name, value)?;
    }
    head.insert_header(CONTENT_LENGTH, shown.body.len())?;
    ctx.replaced = Replaced::Upstream { dropped: 0 };
    reply::edit(session, &mut head, ctx);
    let body = compression::whole(session, &mut head, shown.body, ctx)?;
    answer::send(session, head, body).await.map_err(|error| error.into_down())?;
    // HTTP/2 never passes them on.
    session.set_ignore_info_resp(true);
    response.set_status(http::StatusCode::EARLY_HINTS)?;
    Ok(ctx.replaced)
}

/// What the upstream still sends of the answer that was replaced. For an HTTP/1 client Pingora stops reading by itself, and the failure
/// would end its connection, too; what is being kept is read for the next ones.
pub fn drop_body(session: &Session, body: &mut Option<Bytes>, ctx: &mut Context) -> Result<()> {
    const MOST: usize = 64 << 10;
    if let Replaced::Upstream { dropped } = &mut ctx.replaced
        && let Some(piece) = body.take()
    {
        *dropped += piece.len();
        let is_read_on = version(session) == http::Version::HTTP_2 && !session.cache.enabled();
        if is_read_on && *dropped > MOST {
            return Err(Error::explain(
                ErrorType::InternalError,
                "the rest of an answer that was replaced is not read",
            ));
        }
    }
    Ok(())
}

/// None where an upstream was to give the page and does not.
async fn show(
    fetcher: &Fetcher,
    session: &Session,
    ctx: &Context,
    rule: &Rule,
    status: u16,
    message: &str,
) -> Option<Shown> {
    let kept = match rule.answered {
        PageStatus::Kept | PageStatus::OfThePage => status,
        PageStatus::Replaced(status) => status,
    };
    match &rule.source {
        Source::Files(files) => {
            let accept = session.req_header().headers.get_all(http::header::ACCEPT);
            let page = filters::choose(files, accept.iter().map(HeaderValue::as_bytes))?;
            let host = reply::host_of(session);
            let reason = answer::title(status);
            let told = Told { status, reason, message, request_id: ctx.request_id(), host: &host };
            let fields = vec![(CONTENT_TYPE, filters::content_type(page.format()))];
            Some(Shown { status: kept, fields, body: page.fill_in(&told).into() })
        }
        Source::Upstream { upstream, metrics, path, told } => {
            let (request_id, client) = (&ctx.request_id, ctx.client);
            let question = Question { upstream, metrics, path, told, status, request_id, client };
            let shown = fetcher.fetch(&question, session.req_header()).await?;
            match rule.answered {
                PageStatus::OfThePage => Some(shown),
                PageStatus::Kept | PageStatus::Replaced(_) => Some(Shown { status: kept, ..shown }),
            }
        }
    }
}
