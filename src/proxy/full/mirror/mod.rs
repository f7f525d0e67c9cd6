//! Copies of a request for shadows: begun when it is let pass, and never waited for.
//!
//! ```text
//! let pass ──begin──► head as the upstream gets it ──► a task of the worker's: errand
//! body ──piece──► tee ──► Feed ──(bounded, or given up)──► the task
//! over, and the body was not whole ──► the task ends with it
//! ```
//!
//! As nginx's `mirror`: after checks, limits and sign-in, and before the cache is asked.

mod errand;
mod feed;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::context::{Context, Purpose};
use super::own_connector::OwnConnector;
use super::{arrive, departure};
use crate::model::MirroredBody;
use crate::proxy::affinity::Affinity;
use crate::proxy::fields;
use crate::proxy::filters::Place;
use crate::snapshot::mirror::Mirror;
use crate::snapshot::request::RequestView;
use errand::Errand;
pub use feed::Feed;

/// Idle connections to shadows, of one worker in all. Endpoints bound their own.
pub const POOL_SIZE: usize = 1024;

/// Who is sent a copy of one request, and what binds it to an endpoint there.
pub struct Shadow {
    mirror: Arc<Mirror>,
    affinity: Affinity,
}

/// By chance.
pub fn choose(mirrors: &[Arc<Mirror>], request: &RequestView<'_>) -> Vec<Shadow> {
    let chosen = mirrors.iter().filter(|mirror| mirror.chooses());
    chosen.map(|mirror| Shadow { mirror: mirror.clone(), affinity: Affinity::of(&mirror.upstream, request) }).collect()
}

/// Of a request that goes to its upstream, or is answered from what is kept of it.
pub fn begin(connector: &Arc<OwnConnector>, session: &mut Session, ctx: &mut Context) {
    let shadows = match &mut ctx.forwarding {
        Some(forwarding) if !forwarding.shadows.is_empty() => std::mem::take(&mut forwarding.shadows),
        Some(_) | None => return,
    };
    // What becomes another protocol is a conversation, and a refresh nobody's request.
    if ctx.purpose != Purpose::Client || session.is_upgrade_req() {
        return;
    }
    let Some(head) = head(session, ctx) else { return };
    let has_body = !session.as_mut().is_body_empty();
    for Shadow { mirror, affinity } in shadows {
        let Some(place) = mirror.metrics.enter(mirror.definition().max_in_flight.get()) else {
            mirror.metrics.skipped.increment();
            continue;
        };
        let feeding = (has_body && mirror.definition().request_body == MirroredBody::Send)
            .then(|| feed::channel(mirror.definition().max_lag));
        let (feed, body) = feeding.unzip();
        let head = addressed(head.clone(), &mirror, has_body);
        let errand = Errand { connector: connector.clone(), mirror, affinity, head, place, body };
        if let Some(feed) = feed {
            ctx.feeds.push(feed.to(tokio::spawn(errand.run()).abort_handle()));
        } else {
            // It ends by the filter's timeout, or with the worker.
            tokio::spawn(errand.run());
        }
    }
}

/// A piece of the body is on its way to the upstream.
pub async fn tee(body: Option<&Bytes>, place: Place, ctx: &mut Context) {
    let attempt = ctx.forwarding.as_ref().map_or(0, |forwarding| forwarding.attempt.begun);
    ctx.feeds.retain_mut(|feed| feed.pass(body, place, attempt));
    if ctx.feeds.iter().any(Feed::is_behind) {
        // Where a client is as fast as its upstream, nobody else on this thread would get a turn before so much of the body has passed
        // that every copy were given up. Nothing is waited for.
        tokio::task::yield_now().await;
    }
}

/// What Connection may not name: such a request is refused on its way.
const PROTECTED: [HeaderName; 4] = [
    HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// As the upstream gets it. None where it gets none.
fn head(session: &Session, ctx: &Context) -> Option<RequestHeader> {
    let mut head = session.req_header().clone();
    if fields::named_by_connection(&head.headers).iter().any(|name| PROTECTED.contains(name)) {
        return None;
    }
    let host = arrive::authority(session.req_header()).map(Cow::into_owned);
    let takes_trailers = head.headers.get(TE).is_some_and(|te| te == "trailers");
    let mut parts: http::request::Parts = head.into();
    parts.version = http::Version::HTTP_11;
    fields::strip_hop_by_hop(&mut parts.headers);
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    head = parts.into();
    departure::prepare(session, &mut head, ctx).ok()?;
    head.remove_header(&EXPECT);
    if takes_trailers {
        // Where the shadow speaks HTTP/1, it is taken out again.
        head.insert_header(TE, "trailers").ok()?;
    }
    Some(head)
}

fn addressed(mut head: RequestHeader, mirror: &Mirror, has_body: bool) -> RequestHeader {
    // Names and values that are headers already: neither fails.
    if let Some(host) = &mirror.host {
        let _ = head.insert_header(HOST, host.clone());
    }
    if mirror.definition().request_body == MirroredBody::Omit {
        head.remove_header(&CONTENT_LENGTH);
    } else if has_body && !head.headers.contains_key(CONTENT_LENGTH) {
        let _ = head.insert_header(TRANSFER_ENCODING, "chunked");
    }
    head
}
