//! DNS itself: hickory's resolver with the system's configuration, asked of the system's servers or of given ones.
//!
//! ```text
//! Question ──► hosts file, search list, servers ──► records, shortest TTL
//! ```
//!
//! It caches nothing: when to ask again is the agenda's business, and a cached NXDOMAIN would hide a container
//! that has just started.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::{Answer, Resolve, hosts};
use crate::snapshot::upstream::{Question, Records, ServiceRecord};

/// For one server to answer. The system's five seconds would hold up a start behind one dead server.
const TIMEOUT: Duration = Duration::from_secs(2);

/// When a name that the hosts file holds is looked for again.
const HOSTS_TTL: Duration = Duration::from_secs(10);

/// Asks on the current Tokio runtime.
pub struct DnsResolver(Result<TokioResolver, Arc<str>>);

impl DnsResolver {
    /// Reads the system's resolv.conf, once. `servers` take the place of the system's where there are any; the
    /// search list and the options stay. Without any server, only the hosts file is left to ask.
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self(build(servers).map_err(|error| format!("no DNS server can be asked: {error}").into()))
    }

    async fn ask(&self, question: &Question) -> Result<Answer, Arc<str>> {
        let dns = self.0.as_ref().map_err(Arc::clone)?;
        let name = Name::from_ascii(question.name()).map_err(|error| Arc::from(error.to_string()))?;
        let answer = match question {
            Question::Addresses(_) => dns.lookup_ip(name).await.map(|lookup| Answer {
                ttl: shortest_ttl(lookup.as_lookup()),
                records: Records::Addresses(lookup.iter().collect()),
            }),
            Question::Services(_) => dns
                .lookup(name, RecordType::SRV)
                .await
                .map(|lookup| Answer { ttl: shortest_ttl(&lookup), records: Records::Services(services(&lookup)) }),
        };
        answer.map_err(|error| in_words(&error).into())
    }
}

#[async_trait]
impl Resolve for DnsResolver {
    async fn resolve(&self, question: &Question) -> Result<Answer, Arc<str>> {
        if let Question::Addresses(name) = question
            && let Ok(hosts) = tokio::fs::read_to_string(hosts::PATH).await
        {
            let addresses = hosts::addresses_in(&hosts, name);
            if !addresses.is_empty() {
                return Ok(Answer { records: Records::Addresses(addresses), ttl: HOSTS_TTL });
            }
        }
        self.ask(question).await
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
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
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = options.timeout.min(TIMEOUT);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
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
fn shortest_ttl(lookup: &Lookup) -> Duration {
    Duration::from_secs(lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0).into())
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
