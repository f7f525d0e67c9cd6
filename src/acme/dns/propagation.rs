//! Waits until a record that was written is seen: the authority asks the zone's own servers, and asks only once.
//!
//! ```text
//! delay ──► servers: given, or NS of the closest zone ──► TXT? of each, again and again ──► all that answer show it
//!                                                                                           or the time is over
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::lookup::{Failure, Lookup};
use super::suffixes;
use crate::model::DnsPropagation;

/// Between two rounds: records often are there at once, and an API's take seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Who is asked at the very end may still answer.
const SHORTEST_ROUND: Duration = Duration::from_secs(2);

/// The root zone has 26 addresses; a zone with more is not asked completely.
const MAX_SERVERS: usize = 32;

const DNS_PORT: u16 = 53;

/// Ok when every server that answers shows `value` under `name`. `resolvers`: who knows the zone's servers; empty: the system's.
/// The error names the servers that do not show it.
pub async fn wait(name: &str, value: &str, settings: &DnsPropagation, resolvers: &[SocketAddr]) -> Result<(), String> {
    sleep(settings.delay).await;
    if settings.timeout.is_zero() {
        return Ok(());
    }
    let deadline = Instant::now() + settings.timeout;
    let mut watch = Watch { name, value, servers: &settings.servers, resolvers, waiting: Vec::new(), seen: 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        let now = Instant::now();
        let Err(trouble) = watch.round(deadline.max(now + SHORTEST_ROUND)).await else { return Ok(()) };
        let now = Instant::now();
        if now >= deadline {
            return Err(format!("{name}: after {:?}, {trouble}", settings.timeout));
        }
        // The last look is at the very end.
        sleep(pause.min(deadline - now)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Watch<'a> {
    name: &'a str,
    value: &'a str,
    servers: &'a [SocketAddr],
    resolvers: &'a [SocketAddr],
    /// Those that have not shown it yet; empty until the servers are known.
    waiting: Vec<Server>,
    seen: usize,
}

struct Server {
    /// `ns1.a.test (192.0.2.1)`
    label: String,
    lookup: Lookup,
}

impl Watch<'_> {
    /// Asks all that have not shown the record. The error says who does not, and why.
    async fn round(&mut self, until: Instant) -> Result<(), String> {
        if self.waiting.is_empty() {
            self.waiting = match self.servers {
                [] => name_servers(self.name, self.resolvers, until).await?,
                given => {
                    given.iter().take(MAX_SERVERS).map(|&at| server(at.to_string(), at)).collect::<Result<_, _>>()?
                }
            };
        }
        let questions = self.waiting.iter().map(|server| in_time(until, server.lookup.texts(self.name)));
        let answers = join_all(questions).await;
        let (mut missing, mut silent, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for (server, answer) in std::mem::take(&mut self.waiting).into_iter().zip(answers) {
            match answer {
                Ok(values) if values.iter().any(|value| value == self.value) => {
                    self.seen += 1;
                    continue;
                }
                Ok(_) => missing.push(format!("{}: only other values", server.label)),
                Err(Failure::Negative(reason)) => missing.push(format!("{}: {reason}", server.label)),
                Err(Failure::Silent(reason)) => silent.push(format!("{}: {reason}", server.label)),
            }
            waiting.push(server);
        }
        self.waiting = waiting;
        match (missing.is_empty(), self.seen) {
            (false, _) => Err(format!("these servers do not show the record: {}", missing.join("; "))),
            (true, 0) => Err(format!("no server answers: {}", silent.join("; "))),
            (true, _) => Ok(()),
        }
    }
}

/// Those of the closest zone that has any.
async fn name_servers(name: &str, resolvers: &[SocketAddr], until: Instant) -> Result<Vec<Server>, String> {
    let lookup = Lookup::new(resolvers)?;
    let unknown = |reason: &str| {
        format!("the zone's name servers are not found: {reason}; write whom to ask under dns-propagation.servers")
    };
    for zone in suffixes(name) {
        match in_time(until, lookup.name_servers(zone)).await {
            Ok(names) if !names.is_empty() => {
                let addresses = async |host: &String| (host.clone(), in_time(until, lookup.addresses(host)).await);
                let found = join_all(names.iter().map(addresses)).await;
                return of_addresses(found).map_err(|reason| unknown(&reason));
            }
            Ok(_) | Err(Failure::Negative(_)) => {}
            Err(Failure::Silent(reason)) => return Err(unknown(&format!("{zone}: {reason}"))),
        }
    }
    Err(unknown("no zone above the name has any"))
}

fn of_addresses(found: Vec<(String, Result<Vec<IpAddr>, Failure>)>) -> Result<Vec<Server>, String> {
    let (mut servers, mut reasons) = (Vec::new(), Vec::new());
    for (host, addresses) in found {
        match addresses {
            Ok(addresses) => servers.extend(addresses.into_iter().map(|ip| (format!("{host} ({ip})"), ip))),
            Err(Failure::Negative(reason) | Failure::Silent(reason)) => reasons.push(format!("{host}: {reason}")),
        }
    }
    if servers.is_empty() {
        return Err(reasons.join("; "));
    }
    servers.sort();
    servers.into_iter().take(MAX_SERVERS).map(|(label, ip)| server(label, (ip, DNS_PORT).into())).collect()
}

async fn in_time<T>(until: Instant, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout_at(until, answer).await.unwrap_or_else(|_| Err(Failure::Silent("no answer in time".into())))
}

fn server(label: String, address: SocketAddr) -> Result<Server, String> {
    Ok(Server { label, lookup: Lookup::new(&[address])? })
}
