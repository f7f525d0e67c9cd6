//! A request whose upstream is asked only when its body is whole waits here for it.
//!
//! ```text
//! body ──► memory, or a file ──whole──► goes on            too large: 413 · too slow: 408 · the client leaves: it is over
//! ```
//!
//! An endpoint is chosen afterwards: slow clients hold none.

use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until};

use super::context::Context;
use super::slow_body;
use crate::proxy::connection::Connection;
use crate::proxy::fields::content_length;
use crate::proxy::spool::Spool;
use crate::proxy::spooling::{Failure, Kept, Order, Spooling};
use crate::telemetry::record::Ended;

pub async fn collect(session: &mut Session, ctx: &mut Context) -> Result<()> {
    let Some(order) = order(session, ctx) else { return Ok(()) };
    if session.req_header().headers.contains_key(EXPECT) {
        // The upstream would tell it to go on only when it has all.
        session.as_downstream_mut().write_continue_response().await?;
        session.req_header_mut().remove_header(&EXPECT);
    }
    match session.req_header().extensions.get::<Arc<Kept>>().cloned() {
        Some(kept) => from_stream(session, ctx, order, &kept).await,
        None => from_connection(session, ctx, order).await,
    }
}

/// None where nothing is to be waited for. What comes through an upgraded connection is no body.
fn order(session: &mut Session, ctx: &Context) -> Option<Order> {
    let chain = &ctx.forwarding.as_ref()?.route.chain;
    let buffer = chain.body_buffer.clone()?;
    if session.subrequest_ctx.is_some() || session.is_upgrade_req() || session.as_mut().is_body_empty() {
        return None;
    }
    let most = chain.max_body.map_or(buffer.max_size.0, |max| max.min(buffer.max_size.0));
    Some(Order { buffer, most })
}

/// HTTP/1: the stream takes it in while nobody else reads.
async fn from_connection(session: &mut Session, ctx: &mut Context, order: Order) -> Result<()> {
    let Some(about) = session.digest().and_then(|digest| digest.proxy_digest.clone()) else { return Ok(()) };
    let Some(connection) = Connection::in_digest(&about) else { return Ok(()) };
    if content_length(&session.req_header().headers).is_some_and(|length| length > order.most) {
        return Err(failed(Failure::TooLarge));
    }
    connection.spooling.ask(order);
    let outcome = taken_in(session, ctx, connection).await;
    connection.spooling.forget();
    outcome
}

async fn taken_in(session: &mut Session, ctx: &mut Context, connection: &Connection) -> Result<()> {
    let Some(patience) = connection.listener.settings.load().limits().map(|limits| limits.body_timeout) else {
        return Err(Error::explain(ErrorType::InternalError, "a request where there are none"));
    };
    let (spooling, begun) = (&connection.spooling, Instant::now());
    loop {
        let late = late(spooling, begun, patience, ctx);
        tokio::select! {
            biased;
            outcome = spooling.outcome() => return outcome.map_err(failed),
            left = session.as_downstream_mut().read_body_or_idle(true) => {
                ctx.record.ended = Ended::ClientClosed;
                return match left {
                    Err(error) => Err(error.into_down()),
                    Ok(_) => Err(Error::explain(ErrorType::ConnectionClosed, "the client left").into_down()),
                };
            }
            () = sleep_until(late) => {
                if self::late(spooling, begun, patience, ctx) <= Instant::now() {
                    return Err(slow());
                }
            }
        }
    }
}

/// When too much time has passed without a piece, or for so little.
fn late(spooling: &Spooling, begun: Instant, patience: Duration, ctx: &Context) -> Instant {
    let (received, last) = spooling.progress().map_or((0, begun), |progress| (progress.received, progress.last));
    // Where Weir itself holds the client back, its silence alone tells.
    let held_back =
        ctx.route.as_ref().and_then(|route| route.chain.bandwidth).is_some_and(|pace| pace.request_rate.is_some());
    match ctx.slow_body.filter(|_| !held_back) {
        Some(bounds) => (last + patience).min(begun + bounds.patience(received)),
        None => last + patience,
    }
}

/// HTTP/2: the stream's own timeout bounds each piece.
async fn from_stream(session: &mut Session, ctx: &Context, order: Order, kept: &Kept) -> Result<()> {
    if content_length(&session.req_header().headers).is_some_and(|length| length > order.most) {
        return Err(failed(Failure::TooLarge));
    }
    let (mut spool, mut received) = (Spool::new(&order.buffer), 0);
    while let Some(piece) = session.as_downstream_mut().read_request_body().await.map_err(Error::into_down)? {
        received += piece.len() as u64;
        if received > order.most {
            return Err(failed(Failure::TooLarge));
        }
        slow_body::after(session, ctx, received)?;
        spool.put(&piece, order.buffer.folder.as_deref()).map_err(|error| failed(Failure::Disk(error)))?;
    }
    kept.keep(spool);
    Ok(())
}

fn slow() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the client stopped sending").into_down()
}

fn failed(failure: Failure) -> Box<Error> {
    let (status, reason) = match failure {
        Failure::TooLarge => (413, "the request body is larger than the limit"),
        Failure::Malformed => (400, "the chunked body is none"),
        Failure::Disk(error) => {
            tracing::error!(%error, "a request body cannot be kept until it is whole");
            return Error::explain(ErrorType::HTTPStatus(500), "the request body cannot be kept").into_in();
        }
    };
    Error::explain(ErrorType::HTTPStatus(status), reason).into_down()
}
