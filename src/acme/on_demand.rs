//! Certificates for names that nobody wrote down.
//!
//! ```text
//! handshake ──Wanted──► known already? refused lately? too many? ──► a keeper ──► asks, orders
//! ```
//!
//! Everybody can point a name here and knock: the ask URL, the rate and bounded memory stand between them and the
//! authority's limits.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio::sync::mpsc;

use crate::http_client::HttpClient;
use crate::model::{AcmeDomain, Rate};
use crate::tls::Wanted;

/// The application that is asked is a neighbour.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// A name that was refused, or failed, is not asked for again before.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Names that were refused and are remembered; scanners bring more.
const REFUSED_NAMES: usize = 10_000;

/// Whether a certificate for this name may be ordered.
pub async fn ask(http: &HttpClient, url: &str, name: &str) -> Result<(), String> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let wrong =
        |reason: String| format!("cannot ask acme.on-demand.ask whether {name} may have a certificate: {reason}");
    let request = Request::get(format!("{url}{separator}domain={name}")).body(Bytes::new());
    let request = request.map_err(|error| wrong(error.to_string()))?;
    let answer =
        http.clone().with_time_limit(ASK_LIMIT).send(request).await.map_err(|error| wrong(error.to_string()))?;
    match answer.status() {
        http::StatusCode::OK => Ok(()),
        status => Err(format!("acme.on-demand.ask answered {}: {name} may not have a certificate", status.as_u16())),
    }
}

/// What stands between a handshake and an order.
pub struct Gate {
    rate: Rate,
    /// Orders that may begin now, and when that was counted.
    allowance: f64,
    counted: Instant,
    refused: HashMap<Box<str>, Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Order(AcmeDomain),
    /// Not now.
    Refuse,
}

impl Gate {
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, allowance: f64::from(rate.count.get()), counted: now, refused: HashMap::new() }
    }

    pub fn decide(&mut self, name: &str, now: Instant) -> Decision {
        let Some(domain) = AcmeDomain::parse(name).ok().filter(|domain| !domain.is_wildcard()) else {
            return Decision::Refuse;
        };
        if self.refused.get(name).is_some_and(|until| *until > now) || !self.take(now) {
            return Decision::Refuse;
        }
        Decision::Order(domain)
    }

    /// It was refused, or could not be had.
    pub fn note_refused(&mut self, name: &str, now: Instant) {
        if self.refused.len() >= REFUSED_NAMES {
            self.refused.retain(|_, until| *until > now);
        }
        if self.refused.len() < REFUSED_NAMES {
            self.refused.insert(name.into(), now + REFUSED_FOR);
        }
    }

    /// A bucket of as many orders as the rate has, which fills up evenly.
    fn take(&mut self, now: Instant) -> bool {
        let full = f64::from(self.rate.count.get());
        let passed = now.saturating_duration_since(self.counted).as_secs_f64() / self.rate.per.as_secs_f64();
        (self.allowance, self.counted) = ((self.allowance + passed * full).min(full), now);
        let has_one = self.allowance >= 1.0;
        if has_one {
            self.allowance -= 1.0;
        } else {
            tracing::warn!(rate = %self.rate, "more certificates are asked for on demand than acme.on-demand.rate allows");
        }
        has_one
    }
}

/// Takes questions for as long as it is polled. `order` begins one and ends with its outcome: whether there is a
/// certificate now.
pub async fn serve<F>(mut asked: mpsc::Receiver<Wanted>, rate: Rate, order: impl Fn(AcmeDomain) -> F)
where
    F: Future<Output = bool> + Send + 'static,
{
    let mut gate = Gate::new(rate, Instant::now());
    let mut under_way: HashMap<Box<str>, Vec<tokio::sync::oneshot::Sender<()>>> = HashMap::new();
    let (ended, mut endings) = mpsc::unbounded_channel::<(Box<str>, bool)>();
    loop {
        tokio::select! {
            wanted = asked.recv() => {
                let Some(Wanted { name, decided }) = wanted else { return };
                if let Some(waiting) = under_way.get_mut(&name) {
                    waiting.push(decided);
                    continue;
                }
                // Refused, `decided` is dropped, and the handshake goes on.
                let Decision::Order(domain) = gate.decide(&name, Instant::now()) else { continue };
                under_way.insert(name.clone(), vec![decided]);
                let (outcome, ended) = (order(domain), ended.clone());
                tokio::spawn(async move {
                    // Whoever receives has ended with everything else.
                    let _ = ended.send((name, outcome.await));
                });
            }
            Some((name, has_one)) = endings.recv() => {
                under_way.remove(&name);
                if !has_one {
                    gate.note_refused(&name, Instant::now());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(count: u32) -> (Gate, Instant) {
        let now = Instant::now();
        let rate = Rate { count: count.try_into().unwrap(), per: Duration::from_secs(3600) };
        (Gate::new(rate, now), now)
    }

    #[test]
    fn the_rate_bounds_orders_and_comes_back_evenly() {
        let (mut gate, now) = gate(2);
        let order = |gate: &mut Gate, at| matches!(gate.decide("a.test", at), Decision::Order(_));
        assert!(order(&mut gate, now) && order(&mut gate, now));
        assert!(!order(&mut gate, now), "two an hour");
        assert!(!order(&mut gate, now + Duration::from_secs(1700)));
        assert!(order(&mut gate, now + Duration::from_secs(1801)));
        assert!(!order(&mut gate, now + Duration::from_secs(1900)));
    }

    #[test]
    fn what_no_certificate_can_name_costs_nothing() {
        let (mut gate, now) = gate(1);
        for name in ["127.0.0.1", "localhost", "*.a.test", "a..test", ""] {
            assert_eq!(gate.decide(name, now), Decision::Refuse, "{name}");
        }
        assert!(matches!(gate.decide("a.test", now), Decision::Order(_)));
    }

    #[test]
    fn a_refused_name_is_left_alone_for_a_while_and_memory_is_bounded() {
        let (mut gate, now) = gate(1000);
        gate.note_refused("a.test", now);
        assert_eq!(gate.decide("a.test", now + Duration::from_secs(59)), Decision::Refuse);
        assert!(matches!(gate.decide("a.test", now + Duration::from_secs(61)), Decision::Order(_)));
        for number in 0..REFUSED_NAMES * 2 {
            gate.note_refused(&format!("{number}.test"), now);
        }
        assert_eq!(gate.refused.len(), REFUSED_NAMES);
    }
}
