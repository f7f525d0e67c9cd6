//! `mirror`.

use super::Lowering;
use crate::defaults;
use crate::model::{Mirror, MirroredBody, UpstreamName};
use crate::sources::config::decode::Field;
use crate::sources::config::shapes::{self, Switch};
use crate::sources::config::tree::NodeId;

/// `level` is where it stands, as `route:api`.
pub fn mirror(cx: &Lowering, at: NodeId, shape: shapes::Mirror, level: &str) -> Mirror {
    if let Field::Wrong(_) = &shape.upstream {
        cx.upstreams.lost_a_use();
    }
    let upstream = match cx.required(shape.upstream, at, "upstream", "upstream: the name of one") {
        Some((at, name)) => {
            cx.upstreams.resolve(cx, at, &name);
            name
        }
        // It has been reported: no such model is served.
        None => String::new(),
    };
    let request_body = match shape.request_body.value() {
        Some(Switch::On) => MirroredBody::Send,
        Some(Switch::Off) => MirroredBody::Omit,
        None => defaults::MIRRORED_BODY,
    };
    if let (Some(place), MirroredBody::Omit) = (shape.max_lag.key(), request_body) {
        cx.error_with(place, "\"max-lag\" bounds the body, and none is sent", "take it out, or write request-body: on");
    }
    Mirror {
        place: level.into(),
        upstream: UpstreamName::new(upstream),
        percentage: shape.percentage.scalar_or(defaults::MIRROR_PERCENTAGE),
        request_body,
        host: shape.host.scalar(),
        timeout: shape.timeout.scalar_or(defaults::MIRROR_TIMEOUT),
        max_lag: shape.max_lag.scalar_or(defaults::MIRROR_MAX_LAG),
        max_in_flight: shape.max_in_flight.scalar_or(defaults::MIRROR_MAX_IN_FLIGHT),
    }
}
