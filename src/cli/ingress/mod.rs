//! `weir ingress`: a cluster's Ingresses are served until a signal says otherwise.
//!
//! Its flags are ingress-nginx's, with its defaults, so that the arguments of its DaemonSet carry over: what is known there and
//! means nothing here is told of and passed over.

mod passed_over;
mod webhook;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::app::{ClusterOptions, Options};
use crate::sources::kube::client::Server;
use crate::sources::kube::issuance::Issuer;
use crate::sources::kube::process::{self, duration};
use crate::sources::kube::reporting::{Leadership, NodeAddresses, ReporterSettings, StatusUpdates};
use crate::sources::kube::state::{ObjectKey, PublishedAddress};
use crate::sources::kube::translate::{ClassByName, ClassRules, Publish, Settings, SslPassthrough, WithoutClass};
use crate::sources::kube::watch::{ExternalNames, Namespaces, Scope};
use passed_over::PassedOver;
use webhook::WebhookFlags;

#[derive(Args)]
pub struct Flags {
    /// A kubeconfig; without it the pod's service account, or what kubectl would use
    #[arg(long, value_name = "FILE", value_parser = path)]
    kubeconfig: Option<Given<PathBuf>>,
    /// The API server's URL, in place of the kubeconfig's
    #[arg(long, value_name = "URL", value_parser = text)]
    apiserver_host: Option<Given<String>>,
    /// Whom the API server's certificate is verified against, with --apiserver-host
    #[arg(long, value_name = "FILE", value_parser = path)]
    certificate_authority: Option<Given<PathBuf>>,
    /// Where plain HTTP is served
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    http_port: u16,
    /// Where HTTPS is served
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    https_port: u16,
    /// Probes and metrics: /healthz, /readyz, /metrics
    #[arg(long, value_name = "PORT", default_value_t = 10254)]
    healthz_port: u16,
    /// The address of the probes and metrics; every one without it
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    healthz_host: Option<Given<IpAddr>>,
    /// Ingresses whose annotation kubernetes.io/ingress.class says this are served
    #[arg(long, value_name = "NAME", default_value = "nginx")]
    ingress_class: String,
    /// Ingresses of IngressClasses of this controller are served
    #[arg(long, value_name = "NAME", default_value = "k8s.io/ingress-nginx")]
    controller_class: String,
    #[command(flatten)]
    switches: Switches,
    /// Only this namespace is watched: a Role is enough
    #[arg(long, value_name = "NAMESPACE", value_parser = text)]
    watch_namespace: Option<Given<String>>,
    /// Only namespaces with these labels are served
    #[arg(long, value_name = "LABELS", value_parser = text)]
    watch_namespace_selector: Option<Given<String>>,
    /// The ConfigMap of global options
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    configmap: Option<Given<ObjectKey>>,
    /// The ConfigMap of TCP services, by port: namespace/service:port[:PROXY[:PROXY]]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    tcp_services_configmap: Option<Given<ObjectKey>>,
    /// The same of UDP services
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    udp_services_configmap: Option<Given<ObjectKey>>,
    /// The TLS Secret for hosts whose own cannot be used; without it a self-signed certificate
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    default_ssl_certificate: Option<Given<ObjectKey>>,
    /// The Service for requests that no Ingress takes; without it they are answered 404
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    default_backend_service: Option<Given<ObjectKey>>,
    /// Ingresses' statuses show this Service's addresses
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = key)]
    publish_service: Option<Given<ObjectKey>>,
    /// Ingresses' statuses show these addresses, with commas between them
    #[arg(long, value_name = "ADDRESSES", value_parser = text)]
    publish_status_address: Option<Given<String>>,
    /// The Lease by which replicas find who writes statuses
    #[arg(long, value_name = "NAME", default_value = "ingress-controller-leader")]
    election_id: String,
    /// How long a leader is one that is not heard of
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    election_ttl: Duration,
    /// What annotations begin with
    #[arg(long, value_name = "PREFIX", default_value = "nginx.ingress.kubernetes.io")]
    annotations_prefix: String,
    #[command(flatten)]
    webhook: WebhookFlags,
    /// Who issues certificates to Ingresses with the annotation acme.weir/issuer: NAME; may be given several times.
    /// NAME[,KEY=VALUE…], as letsencrypt,email=ops@example.org. KEY: directory (letsencrypt, letsencrypt-staging, zerossl, google
    /// or a URL), email, challenge (http-01, tls-alpn-01), key, profile, renew-before, ca, key-id, hmac-secret
    #[arg(long, value_name = "ISSUER", value_parser = Issuer::parse)]
    acme_issuer: Vec<Issuer>,
    /// How many seconds to serve on, not ready any more, after being asked to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    shutdown_grace_period: u64,
    #[command(flatten)]
    passed_over: PassedOver,
}

/// As Go's flags take them: `--flag`, `--flag=true` and `--flag=false`.
#[derive(Args)]
struct Switches {
    /// Ingresses of the IngressClass with the name of --ingress-class are served, whatever its controller
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, hide_default_value = true)]
    ingress_class_by_name: bool,
    /// Ingresses without a class are served, too
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, hide_default_value = true)]
    watch_ingress_without_class: bool,
    /// Annotations may have TLS of a host end at its backend
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, hide_default_value = true)]
    enable_ssl_passthrough: bool,
    /// Write addresses into Ingresses' statuses; --update-status=false leaves them alone
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = ArgAction::Set)]
    update_status: bool,
    /// Take them out when the last replica ends
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = ArgAction::Set)]
    update_status_on_shutdown: bool,
    /// Every replica takes itself for the leader
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, hide_default_value = true)]
    disable_leader_election: bool,
    /// Services that lead out of the cluster by a name are not served
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, hide_default_value = true)]
    disable_svc_external_name: bool,
    /// Where statuses show nodes: their internal addresses
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = ArgAction::Set, hide_default_value = true)]
    report_node_internal_ip_address: bool,
}

/// A flag may be written with an empty value, as templates do: that means without it.
type Given<T> = Option<T>;

fn given<T>(written: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Given<T>, String> {
    if written.is_empty() { Ok(None) } else { read(written).map(Some) }
}

fn is_given<T>(flag: &Option<Given<T>>) -> bool {
    matches!(flag, Some(Some(_)))
}

fn text(written: &str) -> Result<Given<String>, String> {
    given(written, |text| Ok(text.to_owned()))
}

fn path(written: &str) -> Result<Given<PathBuf>, String> {
    given(written, |path| Ok(path.into()))
}

fn address(written: &str) -> Result<Given<IpAddr>, String> {
    given(written, |address| address.parse().map_err(|_| "write an IP address".to_owned()))
}

fn key(written: &str) -> Result<Given<ObjectKey>, String> {
    given(written, |key| ObjectKey::parse(key).ok_or_else(|| "write it as namespace/name".to_owned()))
}

impl Flags {
    /// What they come to; else what is wrong with them together. What is passed over is told.
    pub fn options(self) -> Result<Options, String> {
        if is_given(&self.watch_namespace) && is_given(&self.watch_namespace_selector) {
            return Err("--watch-namespace and --watch-namespace-selector exclude each other".into());
        }
        if is_given(&self.publish_service) && is_given(&self.publish_status_address) {
            return Err("--publish-service and --publish-status-address exclude each other".into());
        }
        self.passed_over.warn();
        let admin = match self.healthz_host.flatten() {
            Some(host) => SocketAddr::new(host, self.healthz_port),
            None => everywhere(self.healthz_port),
        };
        let options = ClusterOptions {
            kubeconfig: self.kubeconfig.clone().flatten(),
            server: self.server(),
            scope: self.scope(),
            settings: self.settings(admin),
            reporting: self.reporting(),
            issuers: self.issuers()?,
            webhook: self.webhook.webhook()?,
        };
        Ok(Options::Cluster(Box::new(options)))
    }

    fn issuers(&self) -> Result<Vec<Issuer>, String> {
        let issuers = self.acme_issuer.clone();
        if !issuers.is_empty() && self.switches.disable_leader_election {
            return Err("--acme-issuer needs an elected leader: every replica would order on its own with \
                        --disable-leader-election"
                .into());
        }
        for (at, issuer) in issuers.iter().enumerate() {
            let before = &issuers[..at];
            if before.iter().any(|other| other.name == issuer.name) {
                return Err(format!("--acme-issuer: there are two of the name {}", issuer.name));
            }
            // One account is kept for each directory.
            if let Some(other) = before.iter().find(|other| other.acme.directory == issuer.acme.directory) {
                return Err(format!("--acme-issuer: {} and {} have the same directory", other.name, issuer.name));
            }
        }
        Ok(issuers)
    }

    fn server(&self) -> Option<Server> {
        let url = self.apiserver_host.clone().flatten()?;
        Some(Server { url, authority: self.certificate_authority.clone().flatten() })
    }

    fn scope(&self) -> Scope {
        let namespaces = match (self.watch_namespace.clone().flatten(), self.watch_namespace_selector.clone().flatten())
        {
            (Some(namespace), _) => Namespaces::One(namespace.into()),
            (None, Some(selector)) => Namespaces::Labelled(selector),
            (None, None) => Namespaces::All,
        };
        let named = |flag: &Option<Given<ObjectKey>>| flag.clone().flatten();
        Scope {
            namespaces,
            external_names: match self.switches.disable_svc_external_name {
                true => ExternalNames::Ignore,
                false => ExternalNames::Serve,
            },
            config_maps: [&self.configmap, &self.tcp_services_configmap, &self.udp_services_configmap]
                .into_iter()
                .filter_map(named)
                .collect(),
            secrets: named(&self.default_ssl_certificate).into_iter().collect(),
            services: named(&self.publish_service).into_iter().chain(named(&self.default_backend_service)).collect(),
        }
    }

    fn settings(&self, admin: SocketAddr) -> Settings {
        let publish = match self.publish_service.clone().flatten() {
            Some(service) => Publish::Service(service),
            None => Publish::Fixed(self.addresses()),
        };
        Settings {
            class: ClassRules {
                annotation: self.ingress_class.as_str().into(),
                controller: self.controller_class.as_str().into(),
                by_name: if self.switches.ingress_class_by_name { ClassByName::Regard } else { ClassByName::Ignore },
                without_class: match self.switches.watch_ingress_without_class {
                    true => WithoutClass::Serve,
                    false => WithoutClass::Ignore,
                },
            },
            annotations_prefix: self.annotations_prefix.trim_end_matches('/').into(),
            config_map: self.configmap.clone().flatten(),
            default_certificate: self.default_ssl_certificate.clone().flatten(),
            default_backend: self.default_backend_service.clone().flatten(),
            tcp_services: self.tcp_services_configmap.clone().flatten(),
            udp_services: self.udp_services_configmap.clone().flatten(),
            ssl_passthrough: match self.switches.enable_ssl_passthrough {
                true => SslPassthrough::Honour,
                false => SslPassthrough::Refuse,
            },
            publish,
            http: everywhere(self.http_port),
            https: everywhere(self.https_port),
            process: process::process(admin, Duration::from_secs(self.shutdown_grace_period)),
        }
    }

    fn reporting(&self) -> ReporterSettings {
        let switches = &self.switches;
        ReporterSettings {
            statuses: match (switches.update_status, switches.update_status_on_shutdown) {
                (false, _) => StatusUpdates::Off,
                (true, false) => StatusUpdates::Left,
                (true, true) => StatusUpdates::Cleared,
            },
            node_addresses: match switches.report_node_internal_ip_address {
                _ if is_given(&self.publish_service) || is_given(&self.publish_status_address) => None,
                true => Some(NodeAddresses::Internal),
                false => Some(NodeAddresses::External),
            },
            leadership: match switches.disable_leader_election {
                true => Leadership::Assumed,
                false => Leadership::Elected { lease: self.election_id.clone(), ttl: self.election_ttl },
            },
        }
    }

    fn addresses(&self) -> Arc<[PublishedAddress]> {
        let written = self.publish_status_address.clone().flatten().unwrap_or_default();
        let addresses = written.split(',').map(str::trim).filter(|address| !address.is_empty());
        addresses
            .map(|address| match address.parse::<IpAddr>() {
                Ok(_) => PublishedAddress::Ip(address.into()),
                Err(_) => PublishedAddress::Hostname(address.into()),
            })
            .collect()
    }
}

/// `[::]` is every address, IPv4 included; where the system has no IPv6, it cannot be listened on.
fn everywhere(port: u16) -> SocketAddr {
    let has_ipv6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let every: IpAddr = if has_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    SocketAddr::new(every, port)
}

#[cfg(test)]
mod tests;
