//! `mirror`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, Switch, scalar};
use crate::defaults;
use crate::model::format_duration;

/// Sends copies of requests to another upstream, as nginx's `mirror` does: as the request's own upstream gets them, and without ever
/// holding up the client. What the shadow answers, or that it does not, is counted and goes nowhere. Several may stand at one level,
/// each with an upstream of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with upstream and percentage")]
#[schemars(extend("required" = ["upstream"]))]
pub struct Mirror {
    /// The shadow.
    pub upstream: Field<String>,
    /// Of the requests, by chance.
    #[schemars(extend("default" = format!("{}%", defaults::MIRROR_PERCENTAGE.0)))]
    pub percentage: Field<scalar::Share>,
    /// Whether copies have the request's body, as nginx's `mirror_request_body`: piece by piece as it comes, and never more than
    /// `max-lag` of it in memory.
    #[schemars(extend("default" = "on"))]
    pub request_body: Field<Switch>,
    /// Sent as `Host`. By default what the request's own upstream gets.
    pub host: Field<scalar::Authority>,
    /// From the request's last byte to the answer's last. Nobody waits for it, but it takes one of `max-in-flight`.
    #[schemars(extend("default" = format_duration(defaults::MIRROR_TIMEOUT)))]
    pub timeout: Field<scalar::Timeout>,
    /// How far the shadow may stay behind with one body before its copy is given up.
    #[schemars(extend("default" = defaults::MIRROR_MAX_LAG.to_string()))]
    pub max_lag: Field<scalar::Size>,
    /// Copies at once, over all threads. Requests beyond are not copied.
    #[schemars(extend("default" = defaults::MIRROR_MAX_IN_FLIGHT))]
    pub max_in_flight: Field<scalar::Count>,
}
