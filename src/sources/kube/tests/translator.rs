//! A cluster that changes comes to what it would come to if nobody had known it before.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::cluster::{add, certificate, cluster, of_objects, settings, simple};
use crate::sources::kube::state::{ClusterState, ObjectKey};
use crate::sources::kube::translate::{Settings, SslPassthrough, Translation, Translator, translate};

/// Everything in a translation, so that a difference can be read.
fn shown(translation: &Translation) -> String {
    let Translation { model, material, lists, events, diagnostics, statuses, stream_owners } = translation;
    let mut lists: Vec<_> = lists.iter().collect();
    lists.sort_by_key(|(name, _)| *name);
    let hosts: Vec<_> = model.hosts.iter().map(|host| format!("{host:#?}")).collect();
    format!(
        "{}\n{:#?}\n{material:#?}\n{lists:#?}\n{events:#?}\n{diagnostics:#?}\n{statuses:#?}\n{stream_owners:#?}",
        hosts.join("\n"),
        (&model.process, &model.listeners, &model.upstreams, &model.certificates, &model.tcp_listeners)
    )
}

/// Fails with the first line that differs, and what stands around it.
fn assert_alike(followed: &Translation, anew: &Translation) {
    let (followed, anew) = (shown(followed), shown(anew));
    if followed == anew {
        return;
    }
    let same = followed.lines().zip(anew.lines()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.lines().skip(same.saturating_sub(12)).take(24).collect::<Vec<_>>().join("\n");
    panic!("followed:\n{}\n\ntranslated anew:\n{}", around(&followed), around(&anew));
}

/// Numbers out of a seed: what an edit is made of.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % count
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    /// The first ones more often, so that two meet.
    fn mostly_first<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        let count = 1 + self.below(texts.len());
        self.of(&texts[..count])
    }
}

const HOSTS: [&str; 8] = ["x.test", "www.x.test", "y.test", "a.y.test", "*.y.test", "b.y.test", "*.test", "not a host"];
const SERVICES: [&str; 4] = ["one", "two", "three", "none"];
const ANNOTATIONS: [(&str, &str); 24] = [
    ("canary", "true"),
    ("canary-weight", "20"),
    ("server-alias", "alias.test,y.test"),
    ("server-alias", "alias.test"),
    ("affinity", "cookie"),
    ("session-cookie-max-age", "60"),
    ("backend-protocol", "HTTPS"),
    ("backend-protocol", "AUTO_HTTP"),
    ("proxy-ssl-verify", "on"),
    ("proxy-ssl-secret", "default/good"),
    ("from-to-www-redirect", "true"),
    ("upstream-hash-by", "$host"),
    ("use-regex", "true"),
    ("rewrite-target", "/$1"),
    ("default-backend", "two"),
    ("custom-http-errors", "404,503"),
    ("auth-type", "basic"),
    ("auth-secret", "users"),
    ("auth-tls-secret", "default/good"),
    ("auth-url", "http://auth.test/check"),
    ("ssl-passthrough", "true"),
    ("service-upstream", "true"),
    ("custom-headers", "default/fields"),
    ("limit-rps", "nonsense"),
];

/// So many of the annotations, the first ones, can change what becomes of another Ingress.
const REACHING: usize = 6;

fn ingress(dice: &mut Dice) -> Value {
    let service = |dice: &mut Dice| json!({ "service": { "name": dice.of(&SERVICES), "port": { "number": 80 } } });
    let mut rules = Vec::new();
    for _ in 0..dice.below(3) {
        let path = |dice: &mut Dice| {
            let (path, kind) =
                (dice.mostly_first(&["/", "/api", "/api/", "/(.*)"]), dice.mostly_first(&["Prefix", "Exact"]));
            json!({ "path": path, "pathType": kind, "backend": service(dice) })
        };
        let paths: Vec<Value> = (0..1 + dice.below(2)).map(|_| path(dice)).collect();
        let mut rule = json!({ "http": { "paths": paths } });
        if !dice.one_in(8) {
            rule["host"] = dice.mostly_first(&HOSTS).into();
        }
        rules.push(rule);
    }
    let mut annotations = Map::new();
    for _ in 0..dice.below(4) {
        // Half of them of those that reach beyond their own Ingress.
        let count = if dice.one_in(2) { REACHING } else { ANNOTATIONS.len() };
        let (key, value) = ANNOTATIONS[dice.below(count)];
        annotations.insert(format!("nginx.ingress.kubernetes.io/{key}"), value.into());
    }
    let mut spec = json!({ "rules": rules });
    if dice.one_in(4) {
        spec["defaultBackend"] = service(dice);
    }
    if dice.one_in(3) {
        spec["tls"] = json!([{ "hosts": [dice.of(&HOSTS)], "secretName": dice.of(&["good", "other", "users"]) }]);
    }
    if dice.one_in(4) {
        spec["ingressClassName"] = dice.of(&["mine", "theirs"]).into();
    }
    let created = format!("2026-01-0{}T00:00:00Z", 1 + dice.below(3));
    let metadata = json!({ "name": name(dice), "annotations": annotations, "creationTimestamp": created });
    json!({ "kind": "Ingress", "metadata": metadata, "spec": spec })
}

fn name(dice: &mut Dice) -> String {
    format!("app-{}", dice.below(6))
}

/// Made once: a key takes long to make.
static PAIRS: LazyLock<[(String, String); 2]> =
    LazyLock::new(|| [certificate("x.test,www.x.test,*.y.test"), certificate("y.test")]);

fn secret(dice: &mut Dice) -> Value {
    let (chain, key) = &PAIRS[dice.below(2)];
    match dice.of(&["good", "other", "users"]) {
        "users" => json!({ "kind": "Secret", "metadata": { "name": "users" }, "stringData": { "auth": "a:{PLAIN}b" } }),
        name => json!({
            "kind": "Secret",
            "metadata": { "name": name },
            "stringData": { "tls.crt": chain, "tls.key": key, "ca.crt": chain },
        }),
    }
}

fn config_map(dice: &mut Dice) -> Value {
    let data = match dice.of(&["options", "tcp", "fields"]) {
        "tcp" => ("tcp", json!({ "5432": format!("default/{}:80", dice.of(&SERVICES)), "x": "y" })),
        "fields" => ("fields", json!({ "X-Field": dice.of(&["a", "b"]) })),
        _ => (
            "options",
            json!({
                "ssl-redirect": dice.of(&["true", "false", "perhaps"]),
                "global-allowed-response-headers": dice.of(&["X-Field", "X-Other"]),
            }),
        ),
    };
    json!({ "kind": "ConfigMap", "metadata": { "name": data.0 }, "data": data.1 })
}

fn service(dice: &mut Dice) -> Value {
    let spec = match dice.below(4) {
        0 => json!({ "type": "ExternalName", "externalName": "elsewhere.test", "ports": [{ "port": 80 }] }),
        1 => json!({ "clusterIP": "None", "ports": [{ "port": 80 }] }),
        _ => json!({ "clusterIP": "10.0.0.1", "ports": [{ "port": dice.of(&["80", "81"]).parse::<u16>().unwrap() }] }),
    };
    json!({ "kind": "Service", "metadata": { "name": dice.of(&SERVICES) }, "spec": spec })
}

fn slice(dice: &mut Dice) -> Value {
    let (service, addresses) = (dice.of(&SERVICES), dice.below(3));
    let endpoints: Vec<_> = (0..addresses).map(|n| json!({ "addresses": [format!("10.1.0.{n}")] })).collect();
    json!({
        "kind": "EndpointSlice",
        "metadata": { "name": format!("{service}-x"), "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "ports": [{ "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    })
}

fn edit(state: &mut ClusterState, dice: &mut Dice) {
    let mut nothing = settings();
    let mut put = |value: Value| add(state, &mut nothing, value);
    match dice.below(12) {
        0..=3 => put(ingress(dice)),
        4 => put(service(dice)),
        5 => put(slice(dice)),
        6 => put(secret(dice)),
        7 => put(config_map(dice)),
        8 => put(json!({
            "kind": "IngressClass",
            "metadata": { "name": "mine" },
            "spec": { "controller": dice.of(&["k8s.io/ingress-nginx", "somebody/else"]) },
        })),
        9 => drop(state.ingresses.remove(&ObjectKey::new("default", name(dice)))),
        10 => drop(state.services.remove(&ObjectKey::new("default", dice.of(&SERVICES)))),
        _ => drop(state.secrets.remove(&ObjectKey::new("default", dice.of(&["good", "other", "users"])))),
    }
}

fn everything_on() -> Settings {
    let key = |name: &str| Some(ObjectKey::new("default", name));
    Settings {
        config_map: key("options"),
        default_certificate: key("other"),
        default_backend: key("three"),
        tcp_services: key("tcp"),
        ssl_passthrough: SslPassthrough::Honour,
        ..settings()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_edits_come_to_what_the_cluster_would_come_to_anew(seeds in prop::collection::vec(1_u64.., 1..40)) {
        let settings = everything_on();
        let mut translator = Translator::new(settings.clone().into());
        let mut state = of_objects(SERVICES[..3].iter().flat_map(|name| backend(name)));
        for seed in seeds {
            let mut dice = Dice(seed);
            // Several changes may come at one time.
            for _ in 0..1 + dice.below(3) {
                edit(&mut state, &mut dice);
            }
            assert_alike(&translator.follow(&state), &translate(&state, &settings));
        }
    }
}

/// A Service with an endpoint.
fn backend(name: &str) -> [Value; 2] {
    let labels = json!({ "kubernetes.io/service-name": name });
    [
        json!({
            "kind": "Service", "metadata": { "name": name },
            "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 80 }] },
        }),
        json!({
            "kind": "EndpointSlice", "metadata": { "name": format!("{name}-x"), "labels": labels }, "addressType": "IPv4",
            "ports": [{ "port": 8080, "protocol": "TCP" }], "endpoints": [{ "addresses": ["10.1.0.1"] }],
        }),
    ]
}

/// Of one path, to a Service.
fn to(name: &str, host: &str, service: &str, annotations: &[(&str, &str)]) -> Value {
    let annotation = |(key, value): &(&str, &str)| (format!("nginx.ingress.kubernetes.io/{key}"), json!(value));
    let annotations: Map<String, Value> = annotations.iter().map(annotation).collect();
    let backend = json!({ "service": { "name": service, "port": { "number": 80 } } });
    json!({
        "kind": "Ingress", "metadata": { "name": name, "annotations": annotations },
        "spec": { "rules": [{ "host": host, "http": { "paths": [
            { "path": "/", "pathType": "Prefix", "backend": backend },
        ] } }] },
    })
}

#[test]
fn what_one_ingress_does_to_another_of_its_service_is_followed() {
    let mut state = of_objects(["one", "two"].iter().flat_map(|name| backend(name)));
    let (settings, mut translator) = (settings(), Translator::new(settings().into()));
    let mut follow = |object: Value| {
        add(&mut state, &mut super::cluster::settings(), object);
        let followed = translator.follow(&state);
        assert_alike(&followed, &translate(&state, &settings));
        followed.model
    };
    follow(to("a", "a.test", "one", &[]));
    follow(to("b", "b.test", "one", &[]));
    // A canary takes its share wherever its backend is led to.
    let canary = follow(to("canary", "a.test", "two", &[("canary", "true"), ("canary-weight", "20")]));
    let splits = canary.hosts.iter().filter(|host| format!("{:?}", host.routes).contains("Split"));
    assert_eq!(splits.count(), 2);
    follow(to("canary", "c.test", "two", &[]));
    // Two upstreams that would have one name are numbered.
    let sticky = [("affinity", "cookie"), ("session-cookie-max-age", "60")];
    follow(to("a", "a.test", "one", &sticky));
    let numbered = follow(to("b", "b.test", "one", &sticky[..1]));
    assert!(numbered.upstreams.iter().any(|upstream| upstream.name.as_str().ends_with("#2")));
    follow(to("a", "a.test", "one", &[]));
}

#[test]
fn every_pair_comes_to_the_same_by_islands() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sources/kube/tests/pairs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let (state, settings) = cluster(&std::fs::read_to_string(&path).unwrap());
            let mut translator = Translator::new(settings.clone().into());
            assert_alike(&translator.follow(&state), &translate(&state, &settings));
            count += 1;
        }
    }
    assert!(count > 40, "only {count} pairs were found");
}

#[test]
fn what_a_change_does_not_concern_stays_the_very_same() {
    let mut state = of_objects((0..3).flat_map(simple));
    let mut translator = Translator::new(settings().into());
    let before = translator.follow(&state).model;
    let mut edited = simple(1)[0].clone();
    edited["spec"]["rules"][0]["host"] = "edited.test".into();
    add(&mut state, &mut settings(), edited);
    let after = translator.follow(&state).model;
    let name = |index: usize| after.hosts[index].names[0].to_string();
    assert_eq!([name(0), name(1), name(2), name(3)], ["edited.test", "host-0.test", "host-2.test", "*"]);
    assert!(after.hosts[1].is_same_as(&before.hosts[0]) && after.hosts[3].is_same_as(&before.hosts[3]));
    assert!((0..3).all(|index| after.upstreams[index].is_same_as(&before.upstreams[index])));
}
