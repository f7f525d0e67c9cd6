//! Snippets: what is understood of them is applied; what is not is left out whole, and what it would have protected is closed.

use std::sync::Arc;

use super::context::Context;
use super::report::Reason;
use crate::sources::kube::annotations::Policy;
use crate::sources::kube::snippet::{self, Refusal};
use crate::sources::kube::state::Ingress;

pub fn apply(cx: &mut Context<'_>, ingress: &Arc<Ingress>, policy: &mut Policy) {
    for (key, text) in std::mem::take(&mut policy.snippets) {
        let path = cx.annotation(key);
        // Where they are not allowed ingress-nginx leaves them out, too: nothing was protected by them.
        if !cx.options.allow_snippets {
            let message = "snippets are not allowed (option allow-snippet-annotations); it is left out";
            cx.warn(ingress, Reason::UnsupportedAnnotation, path, message);
            continue;
        }
        match snippet::apply(&text, policy) {
            Ok(()) => {}
            Err(Refusal { message, about_access: false }) => {
                cx.warn(ingress, Reason::UnsupportedAnnotation, path, format!("{message}; the snippet is left out"));
            }
            Err(Refusal { message, about_access: true }) => {
                cx.warn(ingress, Reason::RouteClosed, path, format!("{message}, and it is about access"));
                policy.close(message);
            }
        }
    }
}
