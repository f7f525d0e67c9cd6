//! A state of the cluster out of manifests, as `kubectl` would take them.
//!
//! A document of kind `Settings` sets what flags would. A Secret with the annotation `test/certificate: a.test,*.b.test` gets a certificate for these names.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use serde_json::Value;

use crate::diagnostics::Origin;
use crate::model::{
    AccessLog, AccessLogFormat, Admin, ForwardedField, LogTarget, OcspStapling, Process, RequestIds, SessionTickets,
    Shutdown, Threads,
};
use crate::sources::kube::manifests;
use crate::sources::kube::state::*;
use crate::sources::kube::translate::*;

pub fn settings() -> Settings {
    Settings {
        class: ClassRules {
            annotation: "nginx".into(),
            controller: "k8s.io/ingress-nginx".into(),
            by_name: ClassByName::Ignore,
            without_class: WithoutClass::Serve,
        },
        annotations_prefix: crate::sources::kube::annotations::DEFAULT_PREFIX.into(),
        config_map: None,
        default_certificate: None,
        default_backend: None,
        tcp_services: None,
        udp_services: None,
        ssl_passthrough: SslPassthrough::Refuse,
        publish: Publish::Fixed([PublishedAddress::Ip("192.0.2.1".into())].into()),
        http: ([0, 0, 0, 0], 80).into(),
        https: ([0, 0, 0, 0], 443).into(),
        process: Process {
            threads: Threads::Auto,
            access_log: Some(AccessLog {
                origin: Origin::builtin(),
                format: AccessLogFormat::Json,
                target: LogTarget::Stdout,
            }),
            admin: Some(Admin { origin: Origin::builtin(), address: ([0, 0, 0, 0], 10254).into() }),
            trusted_proxies: Vec::new(),
            request_ids: RequestIds::OfClients,
            lanes: crate::defaults::LANES,
            forwarded: ForwardedField::Omit,
            shutdown: Shutdown { delay: Default::default(), timeout: Default::default() },
            resolvers: Vec::new(),
            session_tickets: SessionTickets::Off,
            ocsp_stapling: OcspStapling::On,
            redis: None,
            replicas: None,
        },
    }
}

/// Reads all documents of a text.
pub fn cluster(text: &str) -> (ClusterState, Settings) {
    let (mut state, mut settings) = (ClusterState::default(), settings());
    for document in text.split("\n---\n").filter(|document| !document.trim().is_empty()) {
        let value: Value = serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"));
        add(&mut state, &mut settings, value);
    }
    (state, settings)
}

pub fn add(state: &mut ClusterState, settings: &mut Settings, mut value: Value) {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    match &*kind {
        "Settings" => set(settings, &value),
        "Secret" => {
            if value["metadata"].get("namespace").is_none() {
                value["metadata"]["namespace"] = "default".into();
            }
            let object = Secret::from(&secret(read(value)));
            state.secrets.insert(object.key.clone(), object);
        }
        "Ingress" | "IngressClass" | "Service" | "EndpointSlice" | "ConfigMap" => {
            manifests::add(state, value).expect("an object of its kind");
        }
        _ => panic!("a document of kind {kind:?}"),
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of its kind")
}

fn set(settings: &mut Settings, value: &Value) {
    let text = |key: &str| value.get(key).map(|value| value.as_str().expect("a text").to_owned());
    let key = |name: &str| text(name).map(|text| ObjectKey::parse(&text).expect("namespace/name"));
    settings.config_map = key("config-map");
    settings.default_certificate = key("default-certificate");
    settings.default_backend = key("default-backend");
    settings.tcp_services = key("tcp-services");
    settings.udp_services = key("udp-services");
    if text("ssl-passthrough").as_deref() == Some("honour") {
        settings.ssl_passthrough = SslPassthrough::Honour;
    }
    if let Some(prefix) = text("prefix") {
        settings.annotations_prefix = prefix.into();
    }
    if let Some(service) = key("publish") {
        settings.publish = Publish::Service(service);
    }
    if text("without-class").as_deref() == Some("ignore") {
        settings.class.without_class = WithoutClass::Ignore;
    }
    if text("by-name").as_deref() == Some("regard") {
        settings.class.by_name = ClassByName::Regard;
    }
}

/// `stringData` becomes `data`, as the API server does it.
fn secret(mut secret: core::Secret) -> core::Secret {
    let names = secret.metadata.annotations.as_ref().and_then(|all| all.get("test/certificate")).cloned();
    let data = secret.data.get_or_insert_default();
    for (key, text) in secret.string_data.take().into_iter().flatten() {
        data.insert(key, ByteString(text.into_bytes()));
    }
    if let Some(names) = names {
        let (chain, key) = certificate(&names);
        for (name, text) in [("tls.crt", chain.clone()), ("tls.key", key), ("ca.crt", chain)] {
            data.entry(name.into()).or_insert(ByteString(text.into_bytes()));
        }
    }
    secret
}

pub fn certificate(names: &str) -> (String, String) {
    let names: Vec<String> = names.split(',').map(Into::into).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// One Ingress of one rule, and its Service with an endpoint.
pub fn simple(number: usize) -> [Value; 3] {
    let (name, host) = (format!("app-{number}"), format!("host-{number}.test"));
    let backend = serde_json::json!({ "service": { "name": name, "port": { "number": 80 } } });
    let path = |path: &str| serde_json::json!({ "path": path, "pathType": "Prefix", "backend": backend });
    let labels: BTreeMap<_, _> = [("kubernetes.io/service-name", name.clone())].into();
    [
        serde_json::json!({
            "kind": "Ingress",
            "metadata": { "name": name, "annotations": {
                "nginx.ingress.kubernetes.io/proxy-read-timeout": "30",
                "nginx.ingress.kubernetes.io/proxy-body-size": "10m",
            } },
            "spec": { "rules": [{ "host": host, "http": { "paths": [path("/"), path("/api")] } }] },
        }),
        serde_json::json!({
            "kind": "Service",
            "metadata": { "name": name },
            "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 80, "targetPort": 8080 }] },
        }),
        serde_json::json!({
            "kind": "EndpointSlice",
            "metadata": { "name": format!("{name}-x"), "labels": labels },
            "addressType": "IPv4",
            "ports": [{ "port": 8080, "protocol": "TCP" }],
            "endpoints": [{ "addresses": [format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)] }],
        }),
    ]
}

pub fn of_objects(objects: impl IntoIterator<Item = Value>) -> ClusterState {
    let (mut state, mut settings) = (ClusterState::default(), settings());
    objects.into_iter().for_each(|object| add(&mut state, &mut settings, object));
    state
}
