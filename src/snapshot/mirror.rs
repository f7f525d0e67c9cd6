//! A shadow, ready to be sent copies: which requests are copied, and how many copies are under way.
//!
//! ```text
//! model ──► Mirrors, by place and upstream ──► a filter's chains share one: its places, its numbers
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;

use super::outage::Outage;
use super::upstream::{Upstream, random};
use crate::model::{self, BoundFilters, UpstreamName};
use crate::telemetry::metrics::{Metrics, MirrorMetrics, UpstreamMetrics};

#[derive(Debug)]
pub struct Mirror {
    definition: model::Mirror,
    pub upstream: Arc<Upstream>,
    pub upstream_metrics: Arc<UpstreamMetrics>,
    pub host: Option<HeaderValue>,
    pub outage: Outage,
    pub metrics: Arc<MirrorMetrics>,
}

impl Mirror {
    pub fn definition(&self) -> &model::Mirror {
        &self.definition
    }

    /// Whether this request is one of those that are copied.
    pub fn chooses(&self) -> bool {
        random::below(100) < u64::from(self.definition.percentage.0)
    }
}

/// Of one model. One without its upstream is left out: it guards nothing.
pub type Mirrors = BTreeMap<(Arc<str>, UpstreamName), Arc<Mirror>>;

pub fn of(filters: &BoundFilters<'_>, upstreams: &BTreeMap<UpstreamName, Arc<Upstream>>, metrics: &Metrics) -> Mirrors {
    let built = filters.mirrors().filter_map(|definition| {
        let mirror = Mirror {
            upstream: upstreams.get(&definition.upstream)?.clone(),
            upstream_metrics: metrics.upstream(&definition.upstream),
            host: definition.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()),
            outage: Outage::default(),
            metrics: metrics.mirror(&definition.place, &definition.upstream),
            definition: definition.clone(),
        };
        Some(((definition.place.clone(), definition.upstream.clone()), Arc::new(mirror)))
    });
    built.collect()
}
