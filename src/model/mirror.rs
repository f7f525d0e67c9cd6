//! `mirror`: copies of requests for somebody who is not waited for, as data.
//!
//! ```text
//! request ──► its upstream ──► the client
//!    └─ so many in a hundred ─► shadow ──► its answer goes nowhere
//! ```

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::UpstreamName;
use super::units::{ByteSize, Percent, serialize_duration};

/// nginx's `mirror`, with what its location would say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Where it stands, as `route:api`: what it is counted under, together with the upstream.
    pub place: Arc<str>,
    pub upstream: UpstreamName,
    /// Of the requests that come so far.
    pub percentage: Percent,
    pub request_body: MirroredBody,
    /// None: what the request's own upstream gets.
    pub host: Option<Arc<str>>,
    /// From the request's last byte to the answer's last.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// How much of one body may wait for the shadow; then the copy is given up.
    pub max_lag: ByteSize,
    /// Copies at once, over all threads; what comes beyond is not copied.
    pub max_in_flight: NonZeroU32,
}

/// Whether a copy has the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirroredBody {
    Send,
    Omit,
}
