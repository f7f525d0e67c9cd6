//! Objects of somebody who means harm: none of them changes what another is served.

use serde_json::{Value, json};

use super::cluster::{certificate, of_objects, settings, simple};
use crate::model::{Action, HostName, VirtualHost};
use crate::sources::kube::translate::{Translation, translate};

/// Translates the good one together with the bad ones, and proves that the good one is served as if it were alone.
fn beside(bad: impl IntoIterator<Item = Value>) -> Translation {
    let alone = translate(&of_objects(simple(0)), &settings());
    let together = translate(&of_objects(simple(0).into_iter().chain(bad)), &settings());
    let host = |translation: &Translation| {
        let name = HostName::Exact("host-0.test".into());
        let found: Vec<&VirtualHost> =
            translation.model.hosts.iter().map(|host| &**host).filter(|host| host.names.contains(&name)).collect();
        assert_eq!(found.len(), 1, "the host is one");
        serde_json::to_value(found[0]).unwrap()
    };
    let upstream = |translation: &Translation| {
        let found = translation.model.upstreams.iter().find(|upstream| upstream.name.as_str() == "default/app-0:80");
        serde_json::to_value(found.expect("the upstream is there")).unwrap()
    };
    assert_eq!(host(&together), host(&alone));
    assert_eq!(upstream(&together), upstream(&alone));
    let about_the_good = together.events.iter().filter(|event| *event.object.key.name == *"app-0").count();
    assert_eq!(about_the_good, 0);
    together
}

fn ingress(name: &str, annotations: Value, rules: Value) -> Value {
    let metadata = json!({
        "name": name, "namespace": "evil", "annotations": annotations, "creationTimestamp": "2020-01-01T00:00:00Z",
    });
    json!({ "kind": "Ingress", "metadata": metadata, "spec": { "rules": rules } })
}

fn rule(host: &str, path: &str) -> Value {
    let backend = json!({ "service": { "name": "x", "port": { "number": 80 } } });
    json!([{ "host": host, "http": { "paths": [{ "path": path, "pathType": "ImplementationSpecific", "backend": backend }] } }])
}

#[test]
fn ten_thousand_annotations_are_told_in_a_few_events() {
    let annotations: serde_json::Map<_, _> =
        (0..10_000).map(|number| (format!("nginx.ingress.kubernetes.io/x-{number}"), "y".into())).collect();
    let translation = beside([ingress("many", annotations.into(), rule("evil.test", "/"))]);
    assert!(translation.events.len() < 30, "{} events", translation.events.len());
    assert!(translation.events.iter().all(|event| event.message.len() <= 1100));
}

#[test]
fn a_pattern_that_would_grow_without_end_is_left_out() {
    let regex = json!({ "nginx.ingress.kubernetes.io/use-regex": "true" });
    let bombs = ["/(((a{100}){100}){100}){100}", "/(?=x)", "/(", "/a\u{0}b"];
    let bad = bombs
        .iter()
        .enumerate()
        .map(|(at, path)| ingress(&format!("bomb-{at}"), regex.clone(), rule("evil.test", path)));
    let translation = beside(bad);
    let told = |reason: &str| translation.events.iter().filter(|event| event.reason.to_string() == reason).count();
    assert_eq!((told("RouteClosed"), told("InvalidRule")), (0, 4), "{:?}", translation.events);
}

#[test]
fn a_service_that_stands_for_itself_leads_nowhere() {
    let service = |name: &str, to: &str| {
        let spec = json!({ "type": "ExternalName", "externalName": to });
        json!({ "kind": "Service", "metadata": { "name": name, "namespace": "evil" }, "spec": spec })
    };
    let rules = |name: &str| {
        let backend = json!({ "service": { "name": name, "port": { "number": 80 } } });
        json!([{ "host": format!("{name}.test"), "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }])
    };
    // A circle of names is DNS's: each is a name outside, and asked for there.
    let targets = [
        "b.evil.svc.cluster.local",
        "a.evil.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "a:80",
        "http://a",
        "",
        "0.0.0.0",
    ];
    let names: Vec<_> = (0..targets.len()).map(|at| format!("s{at}")).collect();
    let services = names.iter().zip(targets).map(|(name, to)| service(name, to));
    let ingresses = names.iter().map(|name| ingress(name, json!({}), rules(name)));
    let translation = beside(services.chain(ingresses));
    let served = |name: &str| {
        translation.model.upstreams.iter().any(|upstream| upstream.name.as_str() == format!("evil/{name}:80"))
    };
    let served: Vec<_> = names.iter().map(|name| served(name)).collect();
    assert_eq!(served, [true, true, false, false, false, false, false, false, false, false]);
}

#[test]
fn a_secret_of_bytes_that_are_no_text_closes_what_it_should_protect() {
    let secret = json!({ "kind": "Secret", "metadata": { "name": "users", "namespace": "evil" }, "data": { "auth": "/////w==" } });
    let annotations = json!({
        "nginx.ingress.kubernetes.io/auth-type": "basic",
        "nginx.ingress.kubernetes.io/auth-secret": "users",
    });
    let translation = beside([secret, ingress("auth", annotations, rule("evil.test", "/"))]);
    assert_closed(&translation, "evil.test");
}

#[track_caller]
fn assert_closed(translation: &Translation, host: &str) {
    let name = HostName::Exact(host.into());
    let host = translation.model.hosts.iter().find(|found| found.names.contains(&name)).expect("the host is there");
    for route in &host.routes {
        assert!(matches!(&route.action, Action::Respond(respond) if respond.status == 503), "{route:?}");
    }
}

#[test]
fn nothing_that_is_written_can_end_a_header_or_begin_another() {
    let values = ["a\r\nX-Evil: 1", "a\nb", "a\u{0}b", "\u{1b}[31m"];
    let keys = [
        "upstream-vhost",
        "x-forwarded-prefix",
        "auth-realm",
        "app-root",
        "rewrite-target",
        "permanent-redirect",
        "session-cookie-name",
        "session-cookie-path",
        "cors-allow-headers",
        "cors-expose-headers",
        "cors-allow-methods",
        "auth-url",
        "auth-signin",
        "auth-method",
        "auth-response-headers",
        "server-alias",
        "proxy-ssl-name",
        "auth-cache-key",
        "cors-allow-origin",
    ];
    for value in values {
        let annotations: serde_json::Map<_, _> =
            keys.iter().map(|key| (format!("nginx.ingress.kubernetes.io/{key}"), value.into())).collect();
        let annotations = Value::from(annotations);
        let translation = beside([ingress("inject", annotations, rule("evil.test", "/"))]);
        let written = serde_json::to_string(&translation.model).unwrap();
        assert!(
            !written.contains("X-Evil") && !written.contains("\\u0000") && !written.contains("\\u001b"),
            "{value:?}"
        );
    }
}

#[test]
fn another_tenants_host_is_not_shown_my_certificate() {
    let (chain, key) = certificate("host-0.test,evil.test");
    let data = json!({ "tls.crt": chain, "tls.key": key });
    let secret = json!({ "kind": "Secret", "metadata": { "name": "tls", "namespace": "evil" }, "stringData": data });
    let mut object = ingress("tls", json!({}), rule("evil.test", "/"));
    object["spec"]["tls"] = json!([{ "hosts": ["host-0.test", "evil.test"], "secretName": "tls" }]);
    let translation = beside([secret, object]);
    let usage = serde_json::to_value(&translation.model.certificates).unwrap();
    assert_eq!(usage[0]["usage"], json!({ "only": ["evil.test"] }));
}

#[test]
fn whoever_is_younger_takes_nothing_from_whoever_is_older() {
    let mut object =
        ingress("thief", json!({ "nginx.ingress.kubernetes.io/server-alias": "host-0.test" }), rule("evil.test", "/"));
    object["metadata"]["creationTimestamp"] = json!("2030-01-01T00:00:00Z");
    let alias = beside([object]);
    assert!(alias.model.hosts.iter().all(|host| host.names.len() == 1));
    let mut object = ingress("thief", json!({}), rule("host-0.test", "/api"));
    object["metadata"]["creationTimestamp"] = json!("2030-01-01T00:00:00Z");
    let told: Vec<_> = beside([object]).events.into_iter().map(|event| event.reason.to_string()).collect();
    assert_eq!(told, ["Conflict"]);
}

#[test]
fn a_huge_object_is_only_large() {
    let paths: Vec<_> = (0..3000)
        .map(|number| {
            let backend = json!({ "service": { "name": "x", "port": { "number": 80 } } });
            json!({ "path": format!("/{number}/{}", "x".repeat(50)), "pathType": "Prefix", "backend": backend })
        })
        .collect();
    let translation =
        beside([ingress("huge", json!({}), json!([{ "host": "evil.test", "http": { "paths": paths } }]))]);
    assert_eq!(translation.model.hosts.iter().map(|host| host.routes.len()).max(), Some(3001));
    assert!(translation.events.len() < 30, "{} events", translation.events.len());
}
