//! A request that came sooner than its rate allows waits here, holding nothing but its places.
//!
//! ```text
//! Admission.delay ──sleep──► goes on          the client leaves ──► it is over at once
//! ```
//!
//! How many wait is bounded by the bursts of their limits, how long by burst and rate.

use std::pin::pin;
use std::time::Duration;

use pingora::Result;
use pingora_proxy::Session;

use super::context::Context;
use crate::telemetry::record::Ended;

pub async fn wait(session: &mut Session, ctx: &mut Context, delay: Duration) -> Result<()> {
    if delay.is_zero() {
        return Ok(());
    }
    let over = unless_gone(session, tokio::time::sleep(delay)).await;
    over.inspect_err(|_| ctx.record.ended = Ended::ClientClosed)
}

/// What has to be waited for before anything is sent on. An error where the client leaves meanwhile.
pub async fn unless_gone<T>(session: &mut Session, step: impl Future<Output = T>) -> Result<T> {
    let mut step = pin!(step);
    // A body must stay unread: that the client has left is found out when it is forwarded.
    if session.as_mut().is_body_empty() {
        tokio::select! {
            biased;
            done = &mut step => return Ok(done),
            // Nothing but the client's leaving is waited for: what is read of a next request stays with the session.
            left = session.as_downstream_mut().read_body_or_idle(true) => {
                left.map_err(|error| error.into_down())?;
            }
        }
    }
    Ok(step.await)
}
