//! A rate limit at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buckets::{Buckets, Count};
use super::leak::Bounds;
use super::{Keys, is_allowed};
use crate::model::{self, Counted};
use crate::snapshot::request::RequestView;
use crate::snapshot::upstream::moment::Moment;
use crate::telemetry::metrics::LimitMetrics;

/// What limits of one name have in common.
#[derive(Debug)]
pub struct RateState {
    keys: Keys,
    buckets: Buckets,
}

impl RateState {
    pub(super) fn new(counted: &Counted) -> Self {
        Self { keys: Keys::new(counted), buckets: Buckets::new() }
    }

    pub(super) fn counts(&self, counted: &Counted) -> bool {
        self.keys.are_of(counted)
    }
}

#[derive(Debug)]
pub struct RateLimit {
    definition: model::RateLimit,
    bounds: Bounds,
    state: Arc<RateState>,
    pub metrics: Arc<LimitMetrics>,
}

/// How a request stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has no key, or its client is not limited.
    NotCounted,
    /// Within rate and burst, at once or after a while.
    Passes { excess: u32, delay: Duration },
    /// It would pass after `wait`, if nothing else came.
    Exceeds { excess: u32, wait: Duration },
}

/// Whether a request is counted, beside being asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    Never,
    IfItPasses,
    /// It has been let pass already.
    Always,
}

impl RateLimit {
    pub fn new(definition: model::RateLimit, state: Arc<RateState>, metrics: Arc<LimitMetrics>) -> Self {
        Self { bounds: Bounds::of(&definition), definition, state, metrics }
    }

    pub fn definition(&self) -> &model::RateLimit {
        &self.definition
    }

    pub fn ask(&self, request: &RequestView<'_>, now: Instant, counting: Counting) -> Standing {
        if is_allowed(&self.definition.counted, request.client) {
            return Standing::NotCounted;
        }
        let Some(key) = self.state.keys.of(request) else { return Standing::NotCounted };
        let count = match counting {
            Counting::Never => Count::Never,
            Counting::IfItPasses => Count::UpTo(self.bounds.burst),
            Counting::Always => Count::Always,
        };
        let now = Moment::from(now).milliseconds();
        let excess = self.state.buckets.count(key, self.bounds.leak, now, count);
        if excess > self.bounds.burst {
            return Standing::Exceeds { excess, wait: self.bounds.wait(excess) };
        }
        Standing::Passes { excess, delay: self.bounds.delay(excess) }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use http::HeaderMap;

    use super::*;
    use crate::model::{Burst, Delay, Ipv6Prefix, LimitKey, LimitMode, LimitName, Rate, Scheme};
    use crate::snapshot::limit::States;

    fn definition(rate: &str, burst: u32, delay: Delay) -> model::RateLimit {
        model::RateLimit {
            name: LimitName::Shared("test".into()),
            rate: Rate::parse(rate).unwrap(),
            burst: Burst::new(burst).unwrap(),
            delay,
            counted: Counted {
                key: vec![LimitKey::ClientIp],
                ipv6_prefix: Ipv6Prefix::new(64),
                allow: vec!["192.0.2.128/25".parse().unwrap()],
            },
            status: 429,
            mode: LimitMode::Enforce,
        }
    }

    fn limit(rate: &str, burst: u32, delay: Delay) -> RateLimit {
        let definition = definition(rate, burst, delay);
        let state = States::default().rate(&definition);
        RateLimit::new(definition, state, Arc::default())
    }

    /// Later than where counting begins, whichever test comes first.
    fn begin() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    fn ask(limit: &RateLimit, client: &str, at: Instant, milliseconds: u64) -> Standing {
        let headers = HeaderMap::new();
        let request = RequestView {
            method: "GET",
            path: "/",
            query: None,
            host: "a.test",
            port: None,
            headers: &headers,
            client: client.parse().unwrap(),
            scheme: Scheme::Http,
        };
        limit.ask(&request, at + Duration::from_millis(milliseconds), Counting::IfItPasses)
    }

    fn passes(excess: u32, delay: u64) -> Standing {
        Standing::Passes { excess, delay: Duration::from_millis(delay) }
    }

    fn exceeds(excess: u32, wait: u64) -> Standing {
        Standing::Exceeds { excess, wait: Duration::from_millis(wait) }
    }

    #[test]
    fn a_burst_passes_and_what_is_more_waits_for_the_rate() {
        let (limit, start) = (limit("10/s", 2, Delay::None), begin());
        let answers: Vec<_> = [0, 0, 0, 0, 50, 100, 100, 5000].map(|at| ask(&limit, "192.0.2.1", start, at)).to_vec();
        let expected = [
            passes(0, 0),
            passes(1000, 0),
            passes(2000, 0),
            exceeds(3000, 101),
            exceeds(2500, 51),
            passes(2000, 0),
            exceeds(3000, 101),
            passes(0, 0),
        ];
        assert_eq!(answers, expected);
        assert_eq!(ask(&limit, "192.0.2.2", start, 0), passes(0, 0), "another client has a bucket of its own");
    }

    #[test]
    fn the_excess_above_what_is_free_is_delayed() {
        let start = begin();
        for (delay, expected) in [
            (Delay::All, [0, 100, 200, 300]),
            (Delay::After(NonZeroU32::new(2).unwrap()), [0, 0, 0, 100]),
            (Delay::None, [0; 4]),
        ] {
            let limit = limit("10/s", 3, delay);
            for (nth, milliseconds) in expected.into_iter().enumerate() {
                assert_eq!(ask(&limit, "192.0.2.1", start, 0), passes(nth as u32 * 1000, milliseconds), "{delay}");
            }
            assert_eq!(ask(&limit, "192.0.2.1", start, 0), exceeds(4000, 101));
        }
    }

    #[test]
    fn after_the_wait_that_is_told_a_request_passes() {
        for rate in ["7/s", "5/m", "3/h", "1/d"] {
            let (limit, start) = (limit(rate, 0, Delay::None), begin());
            ask(&limit, "192.0.2.1", start, 0);
            let Standing::Exceeds { wait, .. } = ask(&limit, "192.0.2.1", start, 1) else { panic!("{rate}") };
            let after = 1 + wait.as_millis() as u64;
            assert!(matches!(ask(&limit, "192.0.2.1", start, after), Standing::Passes { .. }), "{rate} after {wait:?}");
        }
    }

    #[test]
    fn allowed_clients_are_not_counted() {
        let (limit, start) = (limit("1/d", 0, Delay::None), begin());
        for _ in 0..3 {
            assert_eq!(ask(&limit, "192.0.2.129", start, 0), Standing::NotCounted);
        }
    }

    #[test]
    fn a_limit_of_another_key_counts_anew() {
        let first = definition("1/s", 0, Delay::None);
        let state = States::default().rate(&first);
        let states = States { rates: [(first.name.clone(), state.clone())].into(), ..States::default() };
        let faster = definition("5/s", 7, Delay::All);
        assert!(Arc::ptr_eq(&states.rate(&faster), &state), "a reload that changes the rate keeps what was counted");
        let mut by_host = definition("1/s", 0, Delay::None);
        by_host.counted.key = vec![LimitKey::Host];
        assert!(!Arc::ptr_eq(&states.rate(&by_host), &state));
    }
}
