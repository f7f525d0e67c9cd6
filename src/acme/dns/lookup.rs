//! Questions to DNS: to the resolvers that are configured, or to one server alone.
//!
//! ```text
//! Lookup { servers } ──► CNAME · TXT · NS · addresses      or   Failure::Negative | Failure::Silent, in words
//! ```
//!
//! Nothing is kept: the records that are asked for were written a moment ago. Names are taken as complete; the system's search
//! list plays no part.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

/// For one server to answer once. Each is asked twice at most.
const TIMEOUT: Duration = Duration::from_secs(2);

pub struct Lookup(TokioResolver);

pub enum Failure {
    /// There was an answer, but not the record.
    Negative(String),
    /// There was none.
    Silent(String),
}

impl Lookup {
    /// Without servers: those of the system's resolv.conf.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, String> {
        let unusable = |error: NetError| format!("no DNS server can be asked: {error}");
        let (config, mut options) = match servers {
            [] => read_system_conf().map_err(unusable)?,
            servers => {
                let servers = servers.iter().map(server).collect();
                (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
            }
        };
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = TIMEOUT;
        options.attempts = 1;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map(Self).map_err(unusable)
    }

    /// The values under this name, each put together from its strings.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let text = |data: &RData| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.records(name, RecordType::TXT, text).await
    }

    pub async fn alias(&self, name: &str) -> Result<Option<String>, Failure> {
        let target = |data: &RData| match data {
            RData::CNAME(target) => Some(plain(&target.0)),
            _ => None,
        };
        Ok(self.records(name, RecordType::CNAME, target).await?.into_iter().next())
    }

    /// The names of the servers of a zone, where this is one.
    pub async fn name_servers(&self, zone: &str) -> Result<Vec<String>, Failure> {
        let server = |data: &RData| match data {
            RData::NS(server) => Some(plain(&server.0)),
            _ => None,
        };
        self.records(zone, RecordType::NS, server).await
    }

    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let lookup = self.0.lookup_ip(complete(name)?).await.map_err(|error| failure(&error))?;
        Ok(lookup.iter().collect())
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let lookup = self.0.lookup(complete(name)?, kind).await.map_err(|error| failure(&error))?;
        Ok(lookup.answers().iter().filter_map(|record| read(&record.data)).collect())
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())])
}

fn complete(name: &str) -> Result<Name, Failure> {
    let no_name = |error| Failure::Negative(format!("\"{name}\" is no name: {error}"));
    let mut complete = Name::from_ascii(name).map_err(no_name)?;
    complete.set_fqdn(true);
    Ok(complete)
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn failure(error: &NetError) -> Failure {
    if error.is_nx_domain() {
        return Failure::Negative("there is no such name".into());
    }
    if error.is_no_records_found() {
        return Failure::Negative("no such record".into());
    }
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => Failure::Negative(format!("it answers \"{code}\"")),
        NetError::Timeout => Failure::Silent("no answer in time".into()),
        other => Failure::Silent(other.to_string()),
    }
}
