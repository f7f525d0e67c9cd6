//! A request that is let pass may have to say who it is from: that takes as long as a password is dear.
//!
//! ```text
//! decision (forward, answer, serve) ──basic-auth──► the same decision, and the user · 401
//! ```

use pingora_proxy::Session;

use super::arrive::{self, Decision};
use super::context::Context;
use crate::proxy::Shared;
use crate::proxy::filters;

/// What was decided stands for whoever is known; nobody else learns what it was.
pub async fn ask(shared: &Shared, session: &Session, ctx: &mut Context, decision: Decision) -> Decision {
    let Some(auth) = ctx.admission.auth.take() else { return decision };
    match filters::sign_in(&auth, &shared.passwords, &session.req_header().headers).await {
        Ok(user) => {
            ctx.user = Some(user);
            decision
        }
        Err((filter, verdict)) => {
            // It goes to no upstream, and none counts it.
            ctx.forwarding = None;
            Decision::Answer(arrive::answer_of(filter, verdict, session, ctx))
        }
    }
}
