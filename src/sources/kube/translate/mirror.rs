//! Copies of requests for a shadow.

use std::sync::Arc;

use super::auth::upstream_of_url;
use super::context::Context;
use super::report::Reason;
use crate::defaults;
use crate::model::{FilterKind, Mirror, MirroredBody};
use crate::sources::kube::annotations::Policy;
use crate::sources::kube::state::Ingress;

/// Where the target cannot be used nothing is copied.
pub fn filter(cx: &mut Context<'_>, ingress: &Ingress, policy: &Policy) -> Option<FilterKind> {
    let target = policy.mirror.target.as_ref()?;
    let name: Arc<str> = format!("mirror:{}", ingress.key).into();
    let upstream = match upstream_of_url(cx, name, target) {
        Ok(upstream) => upstream,
        Err(message) => {
            let path = cx.annotation("mirror-target");
            cx.warn(ingress, Reason::InvalidAnnotation, path, message);
            return None;
        }
    };
    let own = target.authority().map(|authority| authority.as_str().into());
    Some(FilterKind::Mirror(Mirror {
        place: format!("ingress:{}", ingress.key).into(),
        upstream,
        percentage: defaults::MIRROR_PERCENTAGE,
        request_body: if policy.mirror.omit_body { MirroredBody::Omit } else { MirroredBody::Send },
        host: policy.mirror.host.clone().or(own),
        timeout: defaults::MIRROR_TIMEOUT,
        max_lag: defaults::MIRROR_MAX_LAG,
        max_in_flight: defaults::MIRROR_MAX_IN_FLIGHT,
    }))
}
