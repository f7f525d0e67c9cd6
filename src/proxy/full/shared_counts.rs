//! A request whose limits are counted in Redis waits here for the answer, no longer than it may.
//!
//! ```text
//! decision ──counted──► the same decision, perhaps a delay · refused
//! ```

use pingora_proxy::Session;

use super::arrive::{self, Decision};
use super::context::Context;
use crate::proxy::filters::{self, Admission};
use crate::shared_counts::Links;

/// Whoever has nothing counted there waits for nothing.
pub async fn ask(links: &Links, session: &Session, ctx: &mut Context, decision: Decision) -> Decision {
    let (Some(pending), Some(route)) = (ctx.admission.pending.take(), ctx.route.clone()) else { return decision };
    match filters::count_shared(&pending, &route.chain, links).await {
        Ok(delay) => {
            ctx.admission.delay = delay;
            decision
        }
        Err((filter, verdict)) => {
            // It goes to no upstream, holds no place, and is not asked who it is.
            ctx.forwarding = None;
            ctx.admission = Admission::default();
            Decision::Answer(arrive::answer_of(filter, verdict, session, ctx))
        }
    }
}
