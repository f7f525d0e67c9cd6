//! What flags say of a translation.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::Process;
use crate::sources::kube::state::{ObjectKey, PublishedAddress};

#[derive(Clone, Debug)]
pub struct Settings {
    pub class: ClassRules,
    /// Before each annotation's key, without the slash: `nginx.ingress.kubernetes.io`.
    pub annotations_prefix: Arc<str>,
    /// Global options. The rest of the settings stands, whatever it says.
    pub config_map: Option<ObjectKey>,
    /// For hosts whose own certificate cannot be used. None: a self-signed one.
    pub default_certificate: Option<ObjectKey>,
    /// For requests that nothing else takes. None: 404.
    pub default_backend: Option<ObjectKey>,
    /// What is carried on, by port.
    pub tcp_services: Option<ObjectKey>,
    pub udp_services: Option<ObjectKey>,
    pub ssl_passthrough: SslPassthrough,
    pub publish: Publish,
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// Global options change parts of it.
    pub process: Process,
}

/// `--enable-ssl-passthrough`: whether annotations may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslPassthrough {
    Honour,
    Refuse,
}

/// Which Ingresses are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRules {
    /// `--ingress-class`: of the annotation `kubernetes.io/ingress.class`.
    pub annotation: Arc<str>,
    /// `--controller-class`: of IngressClasses.
    pub controller: Arc<str>,
    pub by_name: ClassByName,
    pub without_class: WithoutClass,
}

/// `--ingress-class-by-name`: whether an IngressClass of the annotation's name is ours, whatever its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassByName {
    Regard,
    Ignore,
}

/// `--watch-ingress-without-class`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutClass {
    Serve,
    Ignore,
}

/// Which addresses the status of an Ingress shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    /// `--publish-service`: those of a Service.
    Service(ObjectKey),
    /// `--publish-status-address`, or what was found of nodes.
    Fixed(Arc<[PublishedAddress]>),
}
