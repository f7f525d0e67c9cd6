//! A body that trickles: slower than the listener allows, it ends the request with 408.
//!
//! ```text
//! piece ──► received ÷ rate + grace − time that the client was waited for ──► how long the next piece may take
//! ```
//!
//! Only the client is timed: what the upstream, or a pace, holds up costs it nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::context::Context;
use crate::model::{ConnectionLimits, MinBodyRate};
use crate::proxy::connection::Connection;
use crate::proxy::spooling::Kept;

/// What holds for the body of one request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    least: MinBodyRate,
    /// Between two pieces, whatever the rate.
    between: Duration,
}

impl Bounds {
    /// None where any rate will do.
    pub fn of(limits: &ConnectionLimits) -> Option<Self> {
        Some(Self { least: limits.min_body_rate?, between: limits.body_timeout })
    }

    /// How long the client may have been waited for when so much has come.
    pub fn patience(&self, received: u64) -> Duration {
        let earned = received as f64 / self.least.rate.0.get() as f64;
        self.least.grace.saturating_add(Duration::try_from_secs_f64(earned).unwrap_or(Duration::MAX))
    }
}

/// A request with a body sets out.
pub fn begin(session: &mut Session, ctx: &mut Context) {
    if ctx.forwarding.is_none()
        || session.subrequest_ctx.is_some()
        || session.is_upgrade_req()
        || session.as_mut().is_body_empty()
    {
        return;
    }
    let Some(connection) = Connection::of(session.digest()) else { return };
    connection.waited.store(0, Ordering::Relaxed);
    ctx.slow_body = connection.listener.settings.load().limits().and_then(Bounds::of);
    if let Some(bounds) = ctx.slow_body {
        session.set_read_timeout(Some(bounds.between.min(bounds.patience(0))));
    }
}

/// A piece of it has come.
pub fn watch(session: &mut Session, ctx: &Context) -> Result<()> {
    ctx.forwarding.as_ref().map_or(Ok(()), |forwarding| after(session, ctx, forwarding.received_body))
}

/// So much of it has come.
pub fn after(session: &mut Session, ctx: &Context, received: u64) -> Result<()> {
    let Some(bounds) = ctx.slow_body else { return Ok(()) };
    let left = bounds.patience(received).saturating_sub(waited(session));
    if left.is_zero() {
        return Err(Error::explain(ErrorType::ReadTimedout, "the request body comes too slowly").into_down());
    }
    session.set_read_timeout(Some(bounds.between.min(left)));
    Ok(())
}

fn waited(session: &Session) -> Duration {
    let microseconds = match session.req_header().extensions.get::<Arc<Kept>>() {
        Some(kept) => kept.waited.load(Ordering::Relaxed),
        None => Connection::of(session.digest()).map_or(0, |connection| connection.waited.load(Ordering::Relaxed)),
    };
    Duration::from_micros(microseconds)
}
