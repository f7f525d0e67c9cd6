//! Certificates for names that nobody wrote down.
//!
//! ```text
//! handshake ──Wanted──► refused lately? ──► the application: may it? ──► too many? ──► a keeper orders
//! ```
//!
//! Everybody can point a name here and knock: the ask URL, the rate and bounded memory stand between them and the
//! authority's limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::http_client::HttpClient;
use crate::model::{AcmeDomain, Rate};
use crate::tls::{MAX_WAITING, Wanted};

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

impl Gate {
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, allowance: f64::from(rate.count.get()), counted: now, refused: HashMap::new() }
    }

    /// What may be asked for. None: no certificate can name it, or it was refused lately.
    pub fn admit(&self, name: &str, now: Instant) -> Option<AcmeDomain> {
        let domain = AcmeDomain::parse(name).ok().filter(|domain| !domain.is_wildcard())?;
        let is_refused = self.refused.get(domain.as_str()).is_some_and(|until| *until > now);
        (!is_refused).then_some(domain)
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

    /// Whether another order may begin: a bucket of as many as the rate has, which fills up evenly.
    pub fn take(&mut self, now: Instant) -> bool {
        let full = f64::from(self.rate.count.get());
        let passed = now.saturating_duration_since(self.counted).as_secs_f64() / self.rate.per.as_secs_f64();
        (self.allowance, self.counted) = ((self.allowance + passed * full).min(full), now);
        let has_one = self.allowance >= 1.0;
        if has_one {
            self.allowance -= 1.0;
        }
        has_one
    }
}

/// What is done for a name that may have a certificate.
pub trait Orders: Send + Sync + 'static {
    /// Whether the application allows it.
    fn ask(&self, domain: AcmeDomain) -> impl Future<Output = bool> + Send;
    /// Whether there is a certificate in the end.
    fn order(&self, domain: AcmeDomain) -> impl Future<Output = bool> + Send;
}

/// How far a name has come.
enum Step {
    Asked { domain: AcmeDomain, allowed: bool },
    Ended { domain: AcmeDomain, has_one: bool },
}

/// Takes questions for as long as it is polled. The application is asked before an order is counted: names that it does
/// not know cannot use the rate up.
pub async fn serve<O: Orders>(mut asked: mpsc::Receiver<Wanted>, rate: Rate, orders: O) {
    let gate = Gate::new(rate, Instant::now());
    let mut desk = Desk { gate, orders: Arc::new(orders), waiting: HashMap::new(), steps: JoinSet::new() };
    loop {
        tokio::select! {
            wanted = asked.recv() => match wanted {
                Some(wanted) => desk.take_question(wanted),
                None => return,
            },
            Some(Ok(step)) = desk.steps.join_next() => desk.take_step(step),
        }
    }
}

struct Desk<O> {
    gate: Gate,
    orders: Arc<O>,
    /// Names that are asked for or ordered, and who waits for them. Dropped, their handshakes go on.
    waiting: HashMap<Box<str>, Vec<oneshot::Sender<()>>>,
    steps: JoinSet<Step>,
}

impl<O: Orders> Desk<O> {
    fn take_question(&mut self, Wanted { name, decided }: Wanted) {
        // Handshakes that gave up make room; beyond the bound nobody waits.
        self.waiting.values_mut().for_each(|others| others.retain(|other| !other.is_closed()));
        let held: usize = self.waiting.values().map(|others| others.len().max(1)).sum();
        if held >= MAX_WAITING {
            return;
        }
        let Some(domain) = self.gate.admit(&name, Instant::now()) else { return };
        // By the name that the certificate will have: one SNI may be written in several ways.
        if let Some(others) = self.waiting.get_mut(domain.as_str()) {
            others.push(decided);
            return;
        }
        self.waiting.insert(domain.as_str().into(), vec![decided]);
        let orders = self.orders.clone();
        self.steps.spawn(async move { Step::Asked { allowed: orders.ask(domain.clone()).await, domain } });
    }

    fn take_step(&mut self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Asked { domain, allowed: true } if self.gate.take(now) => {
                let orders = self.orders.clone();
                self.steps.spawn(async move { Step::Ended { has_one: orders.order(domain.clone()).await, domain } });
            }
            Step::Asked { domain, allowed } => {
                if allowed {
                    let rate = self.gate.rate;
                    tracing::warn!(%domain, %rate, "more certificates are asked for than acme.on-demand.rate allows");
                }
                self.refuse(&domain, now);
            }
            Step::Ended { domain, has_one: true } => drop(self.waiting.remove(domain.as_str())),
            Step::Ended { domain, has_one: false } => self.refuse(&domain, now),
        }
    }

    fn refuse(&mut self, domain: &AcmeDomain, now: Instant) {
        self.gate.note_refused(domain.as_str(), now);
        self.waiting.remove(domain.as_str());
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
        assert!(gate.take(now) && gate.take(now));
        assert!(!gate.take(now), "two an hour");
        assert!(!gate.take(now + Duration::from_secs(1700)));
        assert!(gate.take(now + Duration::from_secs(1801)));
        assert!(!gate.take(now + Duration::from_secs(1900)));
    }

    #[test]
    fn what_no_certificate_can_name_is_not_asked_for() {
        let (gate, now) = gate(1);
        for name in ["127.0.0.1", "localhost", "*.a.test", "a..test", ""] {
            assert_eq!(gate.admit(name, now), None, "{name}");
        }
        assert!(gate.admit("a.test", now).is_some());
    }

    #[test]
    fn a_refused_name_is_left_alone_for_a_while_and_memory_is_bounded() {
        let (mut gate, now) = gate(1000);
        gate.note_refused("a.test", now);
        assert_eq!(gate.admit("a.test", now + Duration::from_secs(59)), None);
        assert_eq!(gate.admit("A.test.", now + Duration::from_secs(59)), None, "it is the same name");
        assert!(gate.admit("a.test", now + Duration::from_secs(61)).is_some());
        for number in 0..REFUSED_NAMES * 2 {
            gate.note_refused(&format!("{number}.test"), now);
        }
        assert_eq!(gate.refused.len(), REFUSED_NAMES);
    }
}
