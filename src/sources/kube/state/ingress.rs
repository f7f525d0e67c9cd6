//! Ingresses and their classes.

use std::sync::Arc;

use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::objects::text;
use super::{ObjectKey, PortName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    pub key: ObjectKey,
    /// Events name the object by it, too.
    pub uid: Arc<str>,
    /// Seconds since 1970. Of two that want the same, the older gets it.
    pub created: i64,
    pub generation: i64,
    pub class_name: Option<Arc<str>>,
    /// By key, in its order.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
    pub default_backend: Option<IngressBackend>,
    pub rules: Vec<IngressRule>,
    pub tls: Vec<IngressTls>,
    /// What its status shows.
    pub published: Vec<PublishedAddress>,
}

impl Ingress {
    /// Whether the two ask for the same. What their statuses show is what Weir itself writes.
    pub fn asks_for_the_same_as(&self, other: &Self) -> bool {
        let Self { key, uid, created, generation, class_name, annotations, default_backend, rules, tls, published: _ } =
            self;
        (key, uid, created, generation) == (&other.key, &other.uid, &other.created, &other.generation)
            && (class_name, annotations) == (&other.class_name, &other.annotations)
            && (default_backend, rules, tls) == (&other.default_backend, &other.rules, &other.tls)
    }

    pub fn annotation(&self, key: &str) -> Option<&Arc<str>> {
        let at = self.annotations.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        Some(&self.annotations[at].1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRule {
    /// None: any host.
    pub host: Option<Arc<str>>,
    pub paths: Vec<IngressPath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressPath {
    pub path: Option<Arc<str>>,
    pub path_type: PathType,
    pub backend: IngressBackend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathType {
    Exact,
    Prefix,
    /// Or not written.
    ImplementationSpecific,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngressBackend {
    Service {
        name: Arc<str>,
        port: PortName,
    },
    /// An object of another kind, or nothing that could be meant.
    Other(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressTls {
    pub hosts: Vec<Arc<str>>,
    pub secret: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PublishedAddress {
    Ip(Arc<str>),
    Hostname(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressClass {
    pub name: Arc<str>,
    pub controller: Arc<str>,
}

impl From<&networking::Ingress> for Ingress {
    fn from(object: &networking::Ingress) -> Self {
        let spec = object.spec.as_ref();
        let rules = spec.and_then(|spec| spec.rules.as_ref());
        let tls = spec.and_then(|spec| spec.tls.as_ref());
        let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let published = balancer.and_then(|balancer| balancer.ingress.as_ref());
        Self {
            key: ObjectKey::from(&object.metadata),
            uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
            created: created(&object.metadata),
            generation: object.metadata.generation.unwrap_or_default(),
            class_name: text(spec.and_then(|spec| spec.ingress_class_name.as_ref())),
            annotations: annotations(&object.metadata),
            default_backend: spec.and_then(|spec| spec.default_backend.as_ref()).map(IngressBackend::from),
            rules: rules.into_iter().flatten().map(IngressRule::from).collect(),
            tls: tls.into_iter().flatten().map(IngressTls::from).collect(),
            published: published
                .into_iter()
                .flatten()
                .filter_map(|address| PublishedAddress::of(address.ip.as_ref(), address.hostname.as_ref()))
                .collect(),
        }
    }
}

fn created(meta: &ObjectMeta) -> i64 {
    meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

/// A whole second copy of the object, which kubectl keeps for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn annotations(meta: &ObjectMeta) -> Vec<(Arc<str>, Arc<str>)> {
    let annotations = meta.annotations.iter().flatten().filter(|(key, _)| *key != LAST_APPLIED);
    annotations.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

impl From<&networking::IngressRule> for IngressRule {
    fn from(rule: &networking::IngressRule) -> Self {
        let paths = rule.http.iter().flat_map(|http| &http.paths);
        Self { host: text(rule.host.as_ref()), paths: paths.map(IngressPath::from).collect() }
    }
}

impl From<&networking::HTTPIngressPath> for IngressPath {
    fn from(path: &networking::HTTPIngressPath) -> Self {
        let path_type = match &*path.path_type {
            "Exact" => PathType::Exact,
            "Prefix" => PathType::Prefix,
            _ => PathType::ImplementationSpecific,
        };
        Self { path: text(path.path.as_ref()), path_type, backend: IngressBackend::from(&path.backend) }
    }
}

impl From<&networking::IngressBackend> for IngressBackend {
    fn from(backend: &networking::IngressBackend) -> Self {
        if let Some(service) = &backend.service {
            let port = service.port.as_ref();
            let name = text(port.and_then(|port| port.name.as_ref())).map(PortName::Name);
            let number = || port.and_then(|port| u16::try_from(port.number?).ok()).map(PortName::Number);
            return match name.or_else(number) {
                Some(port) => Self::Service { name: service.name.as_str().into(), port },
                None => Self::Other(format!("the Service {} without a port", service.name).into()),
            };
        }
        Self::Other(match &backend.resource {
            Some(resource) => format!("the {} {}", resource.kind, resource.name).into(),
            None => "nothing".into(),
        })
    }
}

impl From<&networking::IngressTLS> for IngressTls {
    fn from(tls: &networking::IngressTLS) -> Self {
        let hosts = tls.hosts.iter().flatten().map(|host| host.as_str().into()).collect();
        Self { hosts, secret: text(tls.secret_name.as_ref()) }
    }
}

impl PublishedAddress {
    pub(super) fn of(ip: Option<&String>, hostname: Option<&String>) -> Option<Self> {
        text(ip).map(Self::Ip).or_else(|| text(hostname).map(Self::Hostname))
    }
}

impl From<&networking::IngressClass> for IngressClass {
    fn from(class: &networking::IngressClass) -> Self {
        let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
        Self {
            name: class.metadata.name.as_deref().unwrap_or_default().into(),
            controller: controller.unwrap_or_default().into(),
        }
    }
}
