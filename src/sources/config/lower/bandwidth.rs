//! Bandwidth.

use super::Lowering;
use crate::defaults;
use crate::model::Bandwidth;
use crate::sources::config::decode::Field;
use crate::sources::config::shapes;
use crate::sources::config::tree::NodeId;

pub fn bandwidth(cx: &Lowering, at: NodeId, shape: shapes::Bandwidth) -> Bandwidth {
    if let (Field::Absent, Field::Absent) = (&shape.rate, &shape.request_rate) {
        let message = "neither \"rate\" nor \"request-rate\" is here, so that nothing would be slowed down";
        cx.missing(at, &["rate", "request-rate"], message, "write rate: 1MB/s");
    }
    if let (Some(place), Field::Absent) = (shape.after.key(), &shape.rate)
        && !cx.is_one_misspelled(at, &["rate"])
    {
        cx.error_with(place, "nothing begins after it: there is no \"rate\"", "write rate: 1MB/s, or take it out");
    }
    Bandwidth {
        rate: shape.rate.scalar(),
        after: shape.after.scalar_or(defaults::BANDWIDTH_AFTER),
        request_rate: shape.request_rate.scalar(),
    }
}
