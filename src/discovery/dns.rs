//! DNS itself: hickory's resolver with the system's configuration, asked of the system's servers or of given ones.
//!
//! ```text
//! Question ──► hosts file, search list, servers ──► records, shortest TTL
//! ```
//!
//! It caches nothing: when to ask again is the agenda's business, and a cached NXDOMAIN would hide a container
//! that has just started.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::{Answer, Family, Resolve, hosts};
use crate::snapshot::upstream::{Question, Records, ServiceRecord};

/// For one server to answer. The system's five seconds would hold up a start behind one dead server.
const TIMEOUT: Duration = Duration::from_secs(2);

/// When a name that the hosts file holds is looked for again.
const HOSTS_TTL: Duration = Duration::from_secs(10);

/// Asks on the current Tokio runtime.
pub struct DnsResolver(Result<Servers, Arc<str>>);

struct Servers {
    dns: TokioResolver,
    /// What a name that is not fully qualified may stand in.
    search: Vec<Name>,
    /// A name with so many dots is asked for as it is first.
    ndots: usize,
}

impl DnsResolver {
    /// Reads the system's resolv.conf, once. `servers` take the place of the system's where there are any; the
    /// search list and the options stay. Without any server, only the hosts file is left to ask.
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self(build(servers).map_err(|error| format!("no DNS server can be asked: {error}").into()))
    }

    async fn ask(&self, question: &Question) -> Result<Answer, Arc<str>> {
        let servers = self.0.as_ref().map_err(Arc::clone)?;
        let name = Name::from_ascii(question.name()).map_err(|error| Arc::from(error.to_string()))?;
        let answer = match question {
            Question::Addresses(_) => servers.addresses(name).await,
            Question::Services(_) => servers.dns.lookup(name, RecordType::SRV).await.map(|lookup| Answer {
                ttl: shortest_ttl(lookup.answers()),
                records: Records::Services(services(&lookup)),
                half: None,
            }),
        };
        answer.map_err(|error| in_words(&error).into())
    }
}

impl Servers {
    /// Of both families. The resolver's own way to ask for both does not tell one that fails from one without addresses: the
    /// endpoints of half a network would go.
    async fn addresses(&self, name: Name) -> Result<Answer, NetError> {
        let mut failed = None;
        for name in self.candidates(name) {
            let (v4, v6) =
                tokio::join!(self.dns.lookup(name.clone(), RecordType::A), self.dns.lookup(name, RecordType::AAAA));
            match both(v4, v6) {
                Ok(answer) => return Ok(answer),
                // What a server could not say of a name counts for more than that there is no other.
                Err(error) => match &failed {
                    Some(before) if !is_an_answer(before) || is_an_answer(&error) => {}
                    Some(_) | None => failed = Some(error),
                },
            }
        }
        Err(failed.unwrap_or_else(|| NetError::from("there is no name to ask for")))
    }

    /// The names that it may stand for, in order: both families have to be of the same one.
    fn candidates(&self, name: Name) -> Vec<Name> {
        if name.is_fqdn() {
            return vec![name];
        }
        let mut as_it_is = name.clone();
        as_it_is.set_fqdn(true);
        let mut names: Vec<Name> = Vec::with_capacity(self.search.len() + 1);
        for within in self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()) {
            if !names.contains(&within) {
                names.push(within);
            }
        }
        let first = usize::from(name.num_labels()) > self.ndots || name.is_localhost();
        names.insert(if first { 0 } else { names.len() }, as_it_is);
        names
    }
}

/// An error where neither has addresses.
fn both(v4: Result<Lookup, NetError>, v6: Result<Lookup, NetError>) -> Result<Answer, NetError> {
    let records = |lookup: &Result<Lookup, NetError>| match lookup {
        Ok(lookup) => lookup.answers().to_vec(),
        Err(_) => Vec::new(),
    };
    let found = [records(&v4), records(&v6)].concat();
    let addresses: Vec<IpAddr> = found.iter().filter_map(|record| record.data.ip_addr()).collect();
    let half = match (v4, v6) {
        (Err(error), _) if !is_an_answer(&error) => Some((Family::V4, error)),
        (_, Err(error)) if !is_an_answer(&error) => Some((Family::V6, error)),
        (Err(error), _) | (_, Err(error)) if addresses.is_empty() => return Err(error),
        _ => None,
    };
    match half {
        Some((_, error)) if addresses.is_empty() => Err(error),
        half => Ok(Answer {
            ttl: shortest_ttl(&found),
            records: Records::Addresses(addresses),
            half: half.map(|(family, error)| (family, in_words(&error).into())),
        }),
    }
}

/// That there is nothing is an answer, too.
fn is_an_answer(error: &NetError) -> bool {
    error.is_nx_domain() || error.is_no_records_found()
}

#[async_trait]
impl Resolve for DnsResolver {
    async fn resolve(&self, question: &Question) -> Result<Answer, Arc<str>> {
        if let Question::Addresses(name) = question
            && let Ok(hosts) = tokio::fs::read_to_string(hosts::PATH).await
        {
            let addresses = hosts::addresses_in(&hosts, name);
            if !addresses.is_empty() {
                return Ok(Answer { records: Records::Addresses(addresses), ttl: HOSTS_TTL, half: None });
            }
        }
        self.ask(question).await
    }
}

fn build(servers: &[SocketAddr]) -> Result<Servers, NetError> {
    let (config, mut options) = match (read_system_conf(), servers) {
        (Ok(system), _) => system,
        (Err(error), []) => return Err(error),
        // Given servers need nothing of the system.
        (Err(_), _) => (ResolverConfig::default(), ResolverOpts::default()),
    };
    let config = match servers {
        [] => config,
        servers => {
            let (domain, search, _) = config.into_parts();
            ResolverConfig::from_parts(domain, search, servers.iter().map(server).collect())
        }
    };
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = options.timeout.min(TIMEOUT);
    let domain = config.domain().filter(|domain| !config.search().contains(domain));
    let search = domain.into_iter().chain(config.search()).cloned().collect();
    let ndots = options.ndots;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    Ok(Servers { dns: builder.build()?, search, ndots })
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())])
}

fn services(lookup: &Lookup) -> Vec<ServiceRecord> {
    let service = |data: &RData| match data {
        RData::SRV(record) => Some(ServiceRecord {
            priority: record.priority,
            weight: record.weight,
            port: record.port,
            target: record.target.to_ascii().trim_end_matches('.').to_ascii_lowercase().into(),
        }),
        _ => None,
    };
    lookup.answers().iter().filter_map(|record| service(&record.data)).collect()
}

/// Of all records, aliases included: any of them may change.
fn shortest_ttl(records: &[Record]) -> Duration {
    Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or(0).into())
}

fn in_words(error: &NetError) -> String {
    if error.is_nx_domain() {
        return "there is no such name".into();
    }
    if error.is_no_records_found() {
        return "the name has no records of the kind that is wanted".into();
    }
    match error {
        NetError::Timeout => "no answer from DNS in time".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_for_where_the_system_says_and_as_it_is() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let mut servers = build(&["127.0.0.1:9".parse().unwrap()]).unwrap();
        servers.search = ["shop.svc.", "svc.", "shop.svc."].map(name).into();
        servers.ndots = 1;
        let candidates = |text: &str| -> Vec<String> {
            servers.candidates(name(text)).iter().map(|candidate| candidate.to_ascii()).collect()
        };
        assert_eq!(candidates("db"), ["db.shop.svc.", "db.svc.", "db."]);
        assert_eq!(candidates("db.shop"), ["db.shop.", "db.shop.shop.svc.", "db.shop.svc."]);
        assert_eq!(candidates("db.shop."), ["db.shop."]);
        assert_eq!(candidates("localhost")[0], "localhost.");
    }
}
