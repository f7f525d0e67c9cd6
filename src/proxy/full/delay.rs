//! A request that came sooner than its rate allows waits here, holding nothing but its places.
//!
//! ```text
//! Admission.delay ──sleep──► goes on          the client leaves ──► it is over at once
//! ```
//!
//! How many wait is bounded by the bursts of their limits, how long by burst and rate.

use pingora::Result;
use pingora_proxy::Session;

use super::context::Context;
use crate::telemetry::record::Ended;

pub async fn wait(session: &mut Session, ctx: &mut Context) -> Result<()> {
    if ctx.admission.delay.is_zero() {
        return Ok(());
    }
    let over = tokio::time::sleep(ctx.admission.delay);
    if !session.as_mut().is_body_empty() {
        // Its body must stay unread: who leaves then is found out when it is forwarded.
        over.await;
        return Ok(());
    }
    tokio::select! {
        () = over => Ok(()),
        left = session.as_downstream_mut().read_body_or_idle(true) => {
            ctx.record.ended = Ended::ClientClosed;
            left.map(drop).map_err(|error| error.into_down())
        }
    }
}
