//! A request that came sooner than its rate allows waits here, holding nothing but its places.
//!
//! ```text
//! Admission.delay ──sleep──► goes on          the client leaves ──► it is over at once
//! ```
//!
//! How many wait is bounded by the bursts of their limits, how long by burst and rate.

use std::time::Duration;

use pingora::Result;
use pingora_proxy::Session;

use super::context::Context;
use crate::telemetry::record::Ended;

pub async fn wait(session: &mut Session, ctx: &mut Context, delay: Duration) -> Result<()> {
    if delay.is_zero() {
        return Ok(());
    }
    let over = tokio::time::sleep(delay);
    if session.as_mut().is_body_empty() {
        tokio::pin!(over);
        tokio::select! {
            () = &mut over => return Ok(()),
            // Nothing but the client's leaving is waited for: what is read of a next request stays with the session.
            left = session.as_downstream_mut().read_body_or_idle(true) => if let Err(error) = left {
                ctx.record.ended = Ended::ClientClosed;
                return Err(error.into_down());
            }
        }
        over.await;
    } else {
        // Its body must stay unread: that the client has left is found out when it is forwarded.
        over.await;
    }
    Ok(())
}
