//! What the tests play on: one cluster and one Weir for all of them, an origin that says what it was sent, and Ingresses that are drafted here.
//!
//! ```text
//! Draft ──annotations, paths──► kube-apiserver ──► weir ingress ──explain──► it is served ──► Site: requests to its host
//! ```

use std::net::SocketAddr;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Ingress, endpoint_address, service, slice, tls_secret};
use crate::support::{
    Answer, Authority, Connection, Origin, Received, Request, Response, TlsClient, eventually, request,
};

pub const NAMESPACE: &str = "annotations";
/// A Service whose endpoint answers with the request that it got; the status is the one that the path ends with.
pub const ECHO: &str = "echo";

pub struct Stage {
    pub cluster: &'static Cluster,
    pub weir: Ingress,
    _echo: Origin,
}

/// Of the certificates of every host under `.test`.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("stage"))
}

/// The one for all tests. Called first in each: it moves the thread into the cluster's network.
pub fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    let cluster = Cluster::shared();
    STAGE.get_or_init(|| {
        cluster.prepare(NAMESPACE);
        let echo = origin(cluster, NAMESPACE, ECHO, echo);
        config_map(cluster, NAMESPACE, "options", OPTIONS);
        let weir = Ingress::start(cluster, NAMESPACE, &[&format!("--configmap={NAMESPACE}/options")]);
        Stage { cluster, weir, _echo: echo }
    })
}

/// Another Weir, in a namespace of its own, with global options.
pub struct Scene {
    pub namespace: &'static str,
    pub cluster: &'static Cluster,
    pub weir: Ingress,
    _echo: Origin,
}

impl Scene {
    pub fn with_options(namespace: &'static str, options: &[(&str, &str)]) -> Scene {
        let cluster = Cluster::shared();
        cluster.prepare(namespace);
        let echo = origin(cluster, namespace, ECHO, echo);
        config_map(cluster, namespace, "options", options);
        let weir = Ingress::start(cluster, namespace, &[&format!("--configmap={namespace}/options")]);
        Scene { namespace, cluster, weir, _echo: echo }
    }

    pub fn draft(&self, name: &str) -> Draft {
        Draft::new(self.namespace, name)
    }

    #[track_caller]
    pub fn serve(&self, draft: Draft) -> Site<'_> {
        draft.serve_on(self.cluster, &self.weir)
    }

    /// An Ingress for `NAME.test`, without a word of its own.
    #[track_caller]
    pub fn site(&self, name: &str) -> Site<'_> {
        self.serve(self.draft(name))
    }

    pub fn origin(&self, name: &str, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Origin {
        origin(self.cluster, self.namespace, name, script)
    }

    pub fn backend(&self, name: &str, endpoints: &[SocketAddr]) {
        backend(self.cluster, self.namespace, name, endpoints);
    }

    #[track_caller]
    pub fn knows(&self, endpoints: &[SocketAddr]) {
        knows(&self.weir, endpoints);
    }
}

/// Waits until these addresses are known as endpoints.
#[track_caller]
pub fn knows(weir: &Ingress, endpoints: &[SocketAddr]) {
    eventually("the endpoints are known", || {
        let shown = weir.admin("/upstreams").text();
        endpoints.iter().all(|endpoint| shown.contains(&endpoint.to_string())).then_some(())
    });
}

/// What annotations need to be heard.
const OPTIONS: &[(&str, &str)] =
    &[("allow-snippet-annotations", "true"), ("global-allowed-response-headers", "X-Team,X-Tier")];

/// A Service `name`, whose port 80 leads to an origin with this script.
pub fn origin(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
) -> Origin {
    let origin = Origin::start_at(endpoint_address(), script);
    backend(cluster, namespace, name, &[origin.address]);
    origin
}

/// A Service `name`, whose port 80 leads to these endpoints.
pub fn backend(cluster: &Cluster, namespace: &str, name: &str, endpoints: &[SocketAddr]) {
    cluster.apply(service(namespace, name, &[("web", 80)]));
    for (number, endpoint) in endpoints.iter().enumerate() {
        // Each has a port of its own, and a slice for it.
        let mut made = slice(namespace, name, ("web", endpoint.port()), &[endpoint.ip()]);
        made["metadata"]["name"] = format!("{name}-{number}").into();
        cluster.apply(made);
    }
}

pub fn config_map(cluster: &Cluster, namespace: &str, name: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let meta = json!({ "namespace": namespace, "name": name });
    cluster.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data }));
}

pub fn secret(cluster: &Cluster, namespace: &str, name: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let meta = json!({ "namespace": namespace, "name": name });
    cluster.apply(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data }));
}

pub fn echo(received: &Received) -> Answer {
    let head = String::from_utf8_lossy(&received.raw[..received.raw.len() - received.body.len()]).into_owned();
    let path = received.target.split('?').next().unwrap_or_default();
    let status = path.rsplit('/').next().and_then(|end| end.parse::<u16>().ok());
    Answer::status(status.filter(|status| (200..600).contains(status)).unwrap_or(200), &head)
}

impl Stage {
    /// A Service of the stage's namespace, whose port 80 leads to an origin with this script.
    pub fn origin(&self, name: &str, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Origin {
        origin(self.cluster, NAMESPACE, name, script)
    }

    /// The same, saying always the same.
    pub fn named(&self, name: &'static str) -> Origin {
        self.origin(name, move |_| Answer::ok(name))
    }

    pub fn backend(&self, name: &str, endpoints: &[SocketAddr]) {
        backend(self.cluster, NAMESPACE, name, endpoints);
    }

    pub fn secret(&self, name: &str, data: &[(&str, &str)]) {
        secret(self.cluster, NAMESPACE, name, data);
    }

    pub fn config_map(&self, name: &str, data: &[(&str, &str)]) {
        config_map(self.cluster, NAMESPACE, name, data);
    }

    #[track_caller]
    pub fn knows(&self, endpoints: &[SocketAddr]) {
        knows(&self.weir, endpoints);
    }

    /// An Ingress of this name, for `NAME.test`; without a path of its own `/` leads to the echo.
    pub fn draft(&self, name: &str) -> Draft {
        Draft::new(NAMESPACE, name)
    }
}

/// An Ingress that is not there yet.
pub struct Draft {
    namespace: String,
    name: String,
    host: String,
    annotations: Value,
    paths: Vec<Value>,
    is_tls: bool,
}

impl Draft {
    pub fn new(namespace: &str, name: &str) -> Draft {
        let (annotations, paths) = (json!({}), Vec::new());
        Draft {
            namespace: namespace.into(),
            name: name.into(),
            host: format!("{name}.test"),
            annotations,
            paths,
            is_tls: false,
        }
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.annotations[format!("nginx.ingress.kubernetes.io/{key}")] = value.into();
        self
    }

    /// Another host than `NAME.test`.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn path(self, path: &str, service: &str) -> Self {
        self.typed(path, "Prefix", service)
    }

    pub fn pattern(self, path: &str, service: &str) -> Self {
        self.typed(path, "ImplementationSpecific", service)
    }

    fn typed(self, path: &str, kind: &str, service: &str) -> Self {
        self.leading(path, kind, service, 80)
    }

    /// To another port than 80.
    pub fn path_to_port(self, path: &str, service: &str, port: u16) -> Self {
        self.leading(path, "Prefix", service, port)
    }

    fn leading(mut self, path: &str, kind: &str, service: &str, port: u16) -> Self {
        let service = json!({ "service": { "name": service, "port": { "number": port } } });
        self.paths.push(json!({ "path": path, "pathType": kind, "backend": service }));
        self
    }

    /// With a certificate of the host's own.
    pub fn tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    /// Makes it, and waits until its host is served.
    #[track_caller]
    pub fn serve(self) -> Site<'static> {
        let stage = stage();
        self.serve_on(stage.cluster, &stage.weir)
    }

    #[track_caller]
    pub fn serve_on<'w>(self, cluster: &Cluster, weir: &'w Ingress) -> Site<'w> {
        let (host, is_tls) = (self.host.clone(), self.is_tls);
        self.apply(cluster);
        let asked = format!("/explain?url=http://{}/", host.replace('*', "any"));
        eventually("the host is served", || {
            let explained = weir.admin(&asked);
            let explained: Value = serde_json::from_slice(&explained.body).ok()?;
            let is_served = explained["host"].as_str()?.split(' ').any(|name| name == host);
            let has_certificate = !is_tls || weir.admin("/certificates").text().contains(&format!("\"{host}\""));
            (is_served && has_certificate).then_some(())
        });
        Site { weir, host }
    }

    /// Makes it alone.
    pub fn apply(mut self, cluster: &Cluster) -> Value {
        if self.paths.is_empty() {
            self = self.path("/", ECHO);
        }
        let Draft { namespace, name, host, annotations, paths, is_tls } = self;
        let mut object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "namespace": namespace, "name": name, "annotations": annotations },
            "spec": { "ingressClassName": namespace, "rules": [{ "host": host, "http": { "paths": paths } }] },
        });
        if is_tls {
            let identity = authority().issue(&[&host]);
            let secret = format!("{name}-tls");
            cluster.apply(tls_secret(&namespace, &secret, &identity.cert, &identity.key));
            object["spec"]["tls"] = json!([{ "hosts": [host], "secretName": secret }]);
        }
        cluster.apply(object.clone());
        object
    }
}

/// A host that is served.
pub struct Site<'w> {
    pub weir: &'w Ingress,
    pub host: String,
}

impl Site<'_> {
    pub fn get(&self, target: &str) -> Response {
        self.ask("GET", target).send()
    }

    /// A request that is not sent yet.
    pub fn ask(&self, method: &str, target: &str) -> Request {
        request(self.weir.http, method, target).host(&self.host)
    }

    /// What the echo was sent.
    #[track_caller]
    pub fn echo(&self, target: &str) -> Echo {
        Echo::of(&self.get(target))
    }

    /// An open connection, for several requests in a row.
    pub fn connect(&self) -> Connection {
        Connection::open(self.weir.http)
    }

    /// A request on such a connection.
    pub fn on(&self, connection: &mut Connection, target: &str) -> Response {
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host));
        connection.read_response()
    }

    /// Over TLS, as this client.
    #[track_caller]
    pub fn get_as(&self, client: &TlsClient, target: &str) -> Response {
        self.say_as(client, target, "")
    }

    /// The same, with these header lines.
    #[track_caller]
    pub fn say_as(&self, client: &TlsClient, target: &str, lines: &str) -> Response {
        let mut connection = client.connect(self.weir.https, &self.host).expect("a TLS connection");
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", self.host));
        connection.read_response()
    }

    /// Over TLS, as anybody.
    #[track_caller]
    pub fn get_tls(&self, target: &str) -> Response {
        self.get_as(&TlsClient::trusting_anyone(&[b"http/1.1"]), target)
    }
}

/// A request as an origin got it.
pub struct Echo {
    pub target: String,
    text: String,
}

impl Echo {
    #[track_caller]
    pub fn of(answer: &Response) -> Echo {
        let text = answer.text();
        let mut words = text.split(' ').map(str::to_owned);
        let target = words.nth(1).unwrap_or_default();
        assert!(target.starts_with('/'), "this is no echo: {} {text:?}", answer.status);
        Echo { target, text }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}
