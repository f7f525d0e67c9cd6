//! From what the model names to addresses: pure, given the answers that DNS gave and the lists that the source keeps.
//!
//! ```text
//! EndpointSpec ──► questions() ──► discovery asks ──► Answers ─┐
//!       ├──────────────────────────────────────────────────────┴─► resolve() ──► ResolvedEndpoint
//!       └─ a list: what the source says of it ─────────────────────┘
//! ```
//!
//! It knows no resolver and no time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::model::{EndpointAddress, EndpointSpec};

/// What DNS can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// A and AAAA.
    Addresses(Arc<str>),
    /// SRV.
    Services(Arc<str>),
}

impl Question {
    pub fn name(&self) -> &str {
        match self {
            Question::Addresses(name) | Question::Services(name) => name,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Addresses(name) => f.write_str(name),
            Question::Services(name) => write!(f, "srv:{name}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    Addresses(Vec<IpAddr>),
    Services(Vec<ServiceRecord>),
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Without the trailing dot.
    pub target: Arc<str>,
}

/// The last good answer to each question, and why the last attempt failed where it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    records: BTreeMap<Question, Records>,
    failures: BTreeMap<Question, Arc<str>>,
}

impl Answers {
    pub fn succeed(&mut self, question: Question, records: Records) {
        self.failures.remove(&question);
        self.records.insert(question, records);
    }

    /// The last good answer stays.
    pub fn fail(&mut self, question: Question, reason: Arc<str>) {
        self.failures.insert(question, reason);
    }

    /// Forgets what nobody asks any more.
    pub fn keep_only(&mut self, questions: &BTreeSet<Question>) {
        self.records.retain(|question, _| questions.contains(question));
        self.failures.retain(|question, _| questions.contains(question));
    }

    pub fn knows(&self, question: &Question) -> bool {
        self.records.contains_key(question)
    }

    pub fn failure(&self, question: &Question) -> Option<&Arc<str>> {
        self.failures.get(question)
    }

    pub fn failures(&self) -> impl Iterator<Item = (&Question, &Arc<str>)> {
        self.failures.iter()
    }

    /// These, but for services that name a target of which nothing is known yet: they stand as they did `before`.
    pub fn settled(&self, before: &Answers) -> Answers {
        let has_come = |record: &ServiceRecord| {
            let question = Question::Addresses(Arc::clone(&record.target));
            record.target.is_empty() || self.knows(&question) || self.failure(&question).is_some()
        };
        let mut settled = self.clone();
        for (question, records) in &mut settled.records {
            if let Records::Services(services) = records
                && !services.iter().all(has_come)
                && let Some(stood) = before.records.get(question)
            {
                *records = stood.clone();
            }
        }
        settled
    }

    pub fn addresses(&self, host: &str) -> &[IpAddr] {
        match self.records.get(&Question::Addresses(host.into())) {
            Some(Records::Addresses(addresses)) => addresses,
            Some(Records::Services(_)) | None => &[],
        }
    }

    fn services(&self, name: &Arc<str>) -> &[ServiceRecord] {
        match self.records.get(&Question::Services(Arc::clone(name))) {
            Some(Records::Services(services)) => services,
            Some(Records::Addresses(_)) | None => &[],
        }
    }
}

/// What has to be asked, by what is known so far: the targets of SRV records are questions of their own.
pub fn questions(specs: &[EndpointSpec], answers: &Answers) -> BTreeSet<Question> {
    let mut questions = BTreeSet::new();
    for spec in specs {
        match &spec.address {
            EndpointAddress::Ip(_) | EndpointAddress::Listed(_) => {}
            EndpointAddress::Dns { host, .. } => {
                questions.insert(Question::Addresses(Arc::clone(host)));
            }
            EndpointAddress::Srv(name) => {
                questions.insert(Question::Services(Arc::clone(name)));
                let targets = answers.services(name).iter().filter(|record| !record.target.is_empty());
                questions.extend(targets.map(|record| Question::Addresses(Arc::clone(&record.target))));
            }
        }
    }
    questions
}

/// An endpoint with its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedEndpoint {
    pub address: SocketAddr,
    pub name: Option<Arc<str>>,
    pub weight: NonZeroU32,
    pub backup: bool,
}

/// Sorted by address, each address once. Where two specs lead to one address their weights add up, and it is a
/// backup only where both say so.
///
/// SRV: the lowest priority serves, higher ones are backups; weights multiply with the spec's, and zero counts
/// as one (RFC 2782 wants it to have a very small chance).
pub fn resolve(specs: &[EndpointSpec], answers: &Answers, listed: &[EndpointSpec]) -> Vec<ResolvedEndpoint> {
    let names_a_list = specs.iter().any(|spec| matches!(spec.address, EndpointAddress::Listed(_)));
    let mut merged: BTreeMap<SocketAddr, ResolvedEndpoint> = BTreeMap::new();
    for spec in specs.iter().chain(listed.iter().filter(|_| names_a_list)) {
        for endpoint in resolve_one(spec, answers) {
            merged
                .entry(endpoint.address)
                .and_modify(|known| {
                    known.weight = known.weight.saturating_add(endpoint.weight.get());
                    known.backup &= endpoint.backup;
                })
                .or_insert(endpoint);
        }
    }
    merged.into_values().collect()
}

fn resolve_one(spec: &EndpointSpec, answers: &Answers) -> Vec<ResolvedEndpoint> {
    let endpoint = |address| ResolvedEndpoint { address, name: None, weight: spec.weight, backup: spec.backup };
    let mut endpoints: Vec<ResolvedEndpoint> = match &spec.address {
        EndpointAddress::Ip(address) => vec![endpoint(*address)],
        EndpointAddress::Dns { host, port } => sockets(host, *port, answers)
            .map(|address| ResolvedEndpoint { name: Some(Arc::clone(host)), ..endpoint(address) })
            .collect(),
        EndpointAddress::Srv(name) => of_service(name, spec, answers),
        // What it holds stands beside it.
        EndpointAddress::Listed(_) => Vec::new(),
    };
    endpoints.sort_by_key(|endpoint| endpoint.address);
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    endpoints
}

fn of_service(name: &Arc<str>, spec: &EndpointSpec, answers: &Answers) -> Vec<ResolvedEndpoint> {
    let records = answers.services(name);
    let Some(first) = records.iter().map(|record| record.priority).min() else { return Vec::new() };
    let of_record = |record: &ServiceRecord| {
        let weight = NonZeroU32::new(record.weight.into()).unwrap_or(NonZeroU32::MIN);
        let endpoint = |address| ResolvedEndpoint {
            address,
            name: Some(Arc::clone(&record.target)),
            weight: spec.weight.saturating_mul(weight),
            backup: spec.backup || record.priority > first,
        };
        sockets(&record.target, record.port, answers).map(endpoint).collect::<Vec<_>>()
    };
    records.iter().flat_map(of_record).collect()
}

fn sockets(host: &Arc<str>, port: u16, answers: &Answers) -> impl Iterator<Item = SocketAddr> {
    answers.addresses(host).iter().map(move |ip| SocketAddr::new(*ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(address: &str, weight: u32, backup: bool) -> EndpointSpec {
        EndpointSpec {
            address: EndpointAddress::parse(address).unwrap(),
            weight: NonZeroU32::new(weight).unwrap(),
            backup,
        }
    }

    fn addresses(answers: &mut Answers, host: &str, ips: &[&str]) {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        answers.succeed(Question::Addresses(host.into()), Records::Addresses(ips));
    }

    /// `address weight [name] [backup]`
    fn shown(endpoints: &[ResolvedEndpoint]) -> Vec<String> {
        endpoints
            .iter()
            .map(|e| {
                let name = e.name.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
                let backup = if e.backup { " backup" } else { "" };
                format!("{} {}{name}{backup}", e.address, e.weight)
            })
            .collect()
    }

    #[test]
    fn a_name_becomes_one_endpoint_for_each_address_of_both_families_in_order() {
        let mut answers = Answers::default();
        addresses(&mut answers, "api", &["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]);
        let resolved = resolve(&[spec("api:80", 2, false), spec("10.0.0.9:80", 1, true)], &answers, &[]);
        assert_eq!(
            shown(&resolved),
            ["10.0.0.1:80 2 api", "10.0.0.2:80 2 api", "10.0.0.9:80 1 backup", "[::1]:80 2 api"]
        );
    }

    #[test]
    fn two_specs_of_one_address_add_up_and_serve_where_one_of_them_does() {
        let mut answers = Answers::default();
        addresses(&mut answers, "a", &["10.0.0.1"]);
        addresses(&mut answers, "b", &["10.0.0.1"]);
        let resolved = resolve(&[spec("a:80", 1, true), spec("b:80", 2, false)], &answers, &[]);
        assert_eq!(shown(&resolved), ["10.0.0.1:80 3 a"]);
    }

    #[test]
    fn service_records_bring_port_weight_and_backups_by_priority() {
        let mut answers = Answers::default();
        let specs = [spec("srv:_http._tcp.api.test", 10, false)];
        let record =
            |priority, weight, port, target: &str| ServiceRecord { priority, weight, port, target: target.into() };
        answers.succeed(
            Question::Services("_http._tcp.api.test".into()),
            Records::Services(vec![
                record(10, 3, 8080, "a.test"),
                record(10, 0, 8081, "b.test"),
                record(20, 1, 8082, "c.test"),
                record(10, 1, 8083, ""),
            ]),
        );
        let asked: Vec<String> = questions(&specs, &answers).iter().map(Question::to_string).collect();
        assert_eq!(asked, ["a.test", "b.test", "c.test", "srv:_http._tcp.api.test"]);

        for (host, ip) in [("a.test", "10.0.0.1"), ("b.test", "10.0.0.2"), ("c.test", "10.0.0.3")] {
            addresses(&mut answers, host, &[ip]);
        }
        assert_eq!(
            shown(&resolve(&specs, &answers, &[])),
            ["10.0.0.1:8080 30 a.test", "10.0.0.2:8081 10 b.test", "10.0.0.3:8082 10 c.test backup"]
        );
    }

    #[test]
    fn a_failure_keeps_the_last_good_answer_and_success_forgets_the_failure() {
        let mut answers = Answers::default();
        let question = Question::Addresses("api".into());
        addresses(&mut answers, "api", &["10.0.0.1"]);
        answers.fail(question.clone(), "no such name".into());
        assert_eq!(shown(&resolve(&[spec("api:80", 1, false)], &answers, &[])), ["10.0.0.1:80 1 api"]);
        assert_eq!(answers.failure(&question).map(|reason| &**reason), Some("no such name"));
        addresses(&mut answers, "api", &["10.0.0.2"]);
        assert_eq!(answers.failure(&question), None);
    }
}
