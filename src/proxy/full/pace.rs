//! A route with a bandwidth sets the pace of its messages here; who reads and writes keeps to it.

use std::sync::Arc;
use std::time::Duration;

use pingora_proxy::Session;
use tokio::time::Instant;

use super::arrive;
use super::context::Context;
use crate::model::{Bandwidth, ByteRate};
use crate::proxy::connection::Connection;
use crate::proxy::pace::{Direction, Pace, Paces};

/// What Pingora may write in one go, and bounds in time as a whole.
const LARGEST_WRITE: u64 = 512 << 10;

/// What is left of the message before is not this one's.
pub fn forget(session: &Session) {
    if let Some(paces) = paces(session) {
        paces.clear();
    }
}

/// Of the request's body, once it is let pass. What comes through an upgraded connection is no body.
pub fn request(session: &Session, ctx: &Context) {
    if let Some(Bandwidth { request_rate: Some(rate), .. }) = bandwidth(ctx)
        && !session.is_upgrade_req()
        && let Some(paces) = paces(session)
    {
        paces.set(Direction::Request, Pace::new(rate, 0, Instant::now()));
    }
}

/// Of an answer. `length`: of what Weir has at hand of it.
pub fn response(session: &mut Session, ctx: &Context, length: u64) {
    let Some(Bandwidth { rate: Some(rate), after, .. }) = bandwidth(ctx) else { return };
    let Some(paces) = paces(session) else { return };
    paces.set(Direction::Response, Pace::new(rate, after.0, Instant::now()));
    // A client that takes what it is given is not slow.
    if let Some(timeout) = session.as_downstream().get_write_timeout() {
        session.set_write_timeout(Some(timeout + time_for(length.max(LARGEST_WRITE), rate)));
    }
}

fn time_for(bytes: u64, ByteRate(rate): ByteRate) -> Duration {
    Duration::from_secs(bytes.div_ceil(rate.get()))
}

fn bandwidth(ctx: &Context) -> Option<Bandwidth> {
    ctx.route.as_ref()?.chain.bandwidth
}

/// None for a stream of HTTP/2 that began before there was any bandwidth to keep, and for what the cache asks for itself behind a
/// client, whose connection is at hand all the same.
fn paces(session: &Session) -> Option<&Paces> {
    if session.subrequest_ctx.is_some() {
        return None;
    }
    match arrive::version(session) {
        http::Version::HTTP_2 => session.req_header().extensions.get::<Arc<Paces>>().map(|paces| &**paces),
        _ => Connection::of(session.digest()).map(|connection| &connection.paces),
    }
}
