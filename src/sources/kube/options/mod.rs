//! Global options: the ConfigMap that `--configmap` names, read by a registry of the same kind as annotations.
//!
//! ```text
//! ConfigMap ──registry──► Options (ingress-nginx's defaults where nothing is written) ──► listeners, hosts, routes
//! ```

mod registry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::annotations::value::{Read, quoted};
use super::annotations::{Annotation, Balance, Policy, Responding};
use super::state::ObjectKey;
use crate::model::{ByteSize, Ciphers, Condition, RedirectStatus, RetryOn, TlsVersion};

/// What holds for every Ingress that says nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub ssl_redirect: bool,
    pub force_ssl_redirect: bool,
    pub preserve_trailing_slash: bool,
    pub relative_redirects: bool,
    /// Of redirects to https and to or from `www.`.
    pub redirect_status: RedirectStatus,
    /// Beginnings of paths that are not redirected to https.
    pub no_tls_redirect: Vec<Arc<str>>,
    /// Beginnings of paths that nobody is asked for at.
    pub no_auth: Vec<Arc<str>>,
    pub hsts: Hsts,
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub body_size: ByteSize,
    pub request_buffering: bool,
    pub next_upstream: Vec<RetryOn>,
    pub next_upstream_timeout: Duration,
    pub next_upstream_tries: u32,
    pub forwarded: Forwarded,
    pub proxy_protocol: bool,
    pub compression: Compression,
    pub connections: Connections,
    pub tls_versions: TlsVersion,
    pub ciphers: Ciphers,
    pub custom_errors: Vec<u16>,
    pub leave_upstream_errors: bool,
    pub block: Vec<IpNet>,
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
    pub streams: Streams,
    pub limit_status: u16,
    pub connection_limit_status: u16,
    pub limit_rate: u32,
    pub limit_rate_after: u32,
    pub response_headers: Vec<Arc<str>>,
    pub allow_snippets: bool,
    pub strict_paths: bool,
    pub balance: Balance,
    pub service_upstream: bool,
    pub access_log: bool,
    /// The `Server` of upstreams' answers.
    pub keep_server: bool,
    /// Fields that are set on requests, and those on answers: ConfigMaps of whoever runs the controller.
    pub request_headers: Option<ObjectKey>,
    pub answer_headers: Option<ObjectKey>,
    /// Of upstreams' answers.
    pub hidden_headers: Vec<Arc<str>>,
    /// Whether upstreams are told the URI as it came.
    pub original_uri: bool,
    /// By what clients say of themselves.
    pub block_if: Vec<Condition>,
    /// Of cookies and redirects, as annotations would say it.
    pub response: Responding,
    /// As annotations would say it.
    pub global_auth: Policy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsts {
    pub is_on: bool,
    pub max_age: u32,
    pub subdomains: bool,
    pub preload: bool,
}

impl Hsts {
    pub fn value(&self) -> Option<String> {
        let subdomains = if self.subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        self.is_on.then(|| format!("max-age={}{subdomains}{preload}", self.max_age))
    }
}

/// Whom to believe about the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub use_headers: bool,
    pub real_ip: bool,
    pub trusted: Vec<IpNet>,
    /// The whole list of addresses goes upstream, not the client's alone.
    pub full: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    pub gzip: bool,
    pub gzip_level: u8,
    pub min_size: ByteSize,
    pub types: Vec<Arc<str>>,
    pub brotli: bool,
    pub brotli_level: u8,
}

/// Of TCP and UDP services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Of a session in which nothing comes or goes.
    pub timeout: Duration,
    /// Another endpoint is tried where no connection can be made.
    pub next_upstream: bool,
    pub next_upstream_timeout: Duration,
    pub next_upstream_tries: u32,
    /// Datagrams after which a session is over; 0: when it is idle.
    pub responses: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    pub keep_alive: Duration,
    pub requests: u32,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub header_size: ByteSize,
    pub http2: bool,
    pub streams: u32,
    pub upstream_idle: usize,
    pub upstream_idle_timeout: Duration,
    pub upstream_requests: u32,
}

/// One option.
struct Entry {
    key: &'static str,
    effect: Effect,
}

enum Effect {
    Set(fn(&mut Options, &str) -> Read<()>),
    /// Tunes nginx itself.
    Nothing,
    /// With the reason.
    Refused(&'static str),
}

/// What is wrong with one option.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub key: Arc<str>,
    pub message: String,
}

/// What cannot be read is told, and stays as it is without it.
pub fn read(data: &BTreeMap<Arc<str>, Arc<str>>) -> (Options, Vec<Finding>) {
    let (mut options, mut findings) = (Options::default(), Vec::new());
    for (key, value) in data {
        let value = value.trim();
        let entry = registry::ENTRIES.iter().find(|entry| entry.key == &**key);
        let message = match entry.map(|entry| &entry.effect) {
            Some(Effect::Set(_) | Effect::Refused(_)) if value.is_empty() => continue,
            Some(Effect::Set(set)) => match set(&mut options, value) {
                Ok(()) => continue,
                Err(message) => message,
            },
            Some(Effect::Nothing) => continue,
            Some(Effect::Refused(_)) if matches!(value, "false" | "off" | "0") => continue,
            Some(Effect::Refused(why)) => (*why).to_owned(),
            None => format!("there is no option {}", quoted(key)),
        };
        findings.push(Finding { key: key.clone(), message });
    }
    (options, findings)
}

/// Reads the value as the annotation of this key would.
fn as_annotation(policy: &mut Policy, key: &str, text: &str) -> Read<()> {
    super::annotations::all()
        .find(|entry| entry.key == key)
        .and_then(Annotation::setter)
        .map_or_else(|| Err(format!("there is no annotation {key}")), |set| set(policy, text))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn options_are_named_once_and_read() {
        let keys: HashSet<_> = registry::ENTRIES.iter().map(|entry| entry.key).collect();
        assert_eq!(keys.len(), registry::ENTRIES.len());
        let data = [
            ("hsts-preload", "true"),
            ("proxy-body-size", "x"),
            ("kep-alive", "5"),
            ("geoip2-autoreload-in-minutes", "1"),
        ];
        let (options, found) = read(&data.map(|(key, value)| (key.into(), value.into())).into());
        assert_eq!(options.hsts.value().as_deref(), Some("max-age=31536000; includeSubDomains; preload"));
        let found: Vec<_> = found.iter().map(|finding| format!("{}: {}", finding.key, finding.message)).collect();
        assert_eq!(
            found,
            [
                "kep-alive: there is no option \"kep-alive\"",
                "proxy-body-size: \"x\" is not a size; write it as \"8k\", \"10m\" or \"1g\"",
            ]
        );
    }
}
