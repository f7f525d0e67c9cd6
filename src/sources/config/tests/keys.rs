//! Every key, set to a value that is not its default, arrives in the model.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::defaults;
use crate::model::*;

const FULL: &str = include_str!("full.yaml");

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// As `/config` would show it.
fn shown(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn the_full_file_has_every_key_of_the_schema() {
    let mut keys = Vec::new();
    collect_keys(&schema(), &mut keys);
    assert!(keys.len() > 100, "only {} keys were found", keys.len());
    // Set in the files of other tests: probes that cannot stand beside `http`, hash keys, other DNS providers.
    let elsewhere = [
        "tcp",
        "grpc",
        "service",
        "hash",
        "header",
        "cookie",
        "query",
        "cloudflare",
        "token-file",
        "api",
        "google",
        "project",
        "credentials",
        "metadata",
        "exec",
        "command",
        "secret-file",
    ];
    let has = |key: &str| FULL.contains(&format!("{key}:")) || elsewhere.contains(&key);
    let missing: Vec<_> = keys.iter().filter(|key| !has(key)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in full.yaml");
}

fn collect_keys(schema: &Value, keys: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        keys.extend(properties.keys().cloned());
    }
    match schema {
        Value::Object(map) => map.values().for_each(|value| collect_keys(value, keys)),
        Value::Array(list) => list.iter().for_each(|value| collect_keys(value, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn keys_of_the_process_arrive() {
    let process = model(FULL).process;
    assert_eq!(process.threads, Threads::Fixed(3.try_into().unwrap()));
    let target = LogTarget::File("/etc/weir/log/access.log".into());
    let access_log = process.access_log.as_ref().unwrap();
    assert_eq!((access_log.format, &access_log.target), (AccessLogFormat::Combined, &target));
    assert_eq!(process.admin.as_ref().unwrap().address, address("[::1]:9999"));
    assert_eq!(process.trusted_proxies, ["10.0.0.0/8", "2001:db8::1/128"].map(|net| net.parse().unwrap()));
    assert_eq!(process.request_ids, RequestIds::OfClients);
    assert_eq!(process.lanes, Lanes::Full);
    assert_eq!(process.forwarded, ForwardedField::Send);
    assert_eq!(process.shutdown, Shutdown { delay: seconds(7), timeout: seconds(90) });
    assert_eq!(process.resolvers, [address("10.0.0.53:53"), address("10.0.0.54:5353")]);
    assert_eq!(process.session_tickets, SessionTickets::Rotate { every: seconds(6 * 3600) });
    assert_eq!(process.ocsp_stapling, OcspStapling::Off);
    let off = FULL.replace("session-tickets: { rotate: 6h }", "session-tickets: off");
    assert_eq!(model(&off).process.session_tickets, SessionTickets::Off);
}

#[test]
fn where_processes_count_together_arrives() {
    let process = model(FULL).process;
    let mut redis = shown(process.redis);
    assert_eq!(
        redis.take(),
        json!({
            "url": "rediss://weir@redis.internal:6380/3",
            "password_file": "/etc/weir/redis-password",
            "ca": "/etc/weir/certs/redis-ca.pem",
            "timeout": "20ms",
            "key_prefix": "edge:",
        })
    );
    assert_eq!(process.replicas, Some(Replicas::Count(count(3))));
    let by_name = FULL.replace("replicas: { count: 3 }", "replicas: { dns: Weir.svc.test }");
    assert_eq!(model(&by_name).process.replicas, Some(Replicas::Dns("weir.svc.test".into())));
    let scope = |written: &str| {
        let text = format!(
            "listeners: {{ http: {{ address: ':80' }} }}\nredis: {{ url: redis://a }}\nreplicas: {{ count: 2 }}\n\
             hosts: [{{ names: ['*'], routes: [{{ path: /, respond: {{}}, filters: [{{ rate-limit: {{ rate: 1/s{written} }} }}] }}] }}]\n"
        );
        let model = model(&text);
        let FilterKind::RateLimit(limit) = &model.filters().next().unwrap().kind else { panic!() };
        limit.scope
    };
    assert_eq!(scope(""), LimitScope::Process);
    assert_eq!(scope(", scope: replica-share"), LimitScope::ReplicaShare);
    assert_eq!(scope(", scope: redis"), LimitScope::Redis { on_failure: OnRedisFailure::Local });
    let allow = LimitScope::Redis { on_failure: OnRedisFailure::Allow };
    assert_eq!(scope(", scope: redis, on-redis-failure: allow"), allow);
}

#[test]
fn keys_of_listeners_and_certificates_arrive() {
    let model = model(FULL);
    let [plain, secure] = &model.listeners[..] else { panic!("{:?}", model.listeners) };
    assert_eq!((plain.name.as_str(), plain.address), ("plain", address("[::]:8080")));
    assert_eq!((secure.name.as_str(), secure.address), ("secure", address("[::1]:8443")));
    assert_eq!(plain.proxy_protocol, Some(ProxyProtocol { trusted: vec!["192.168.0.0/16".parse().unwrap()] }));
    let limits = ConnectionLimits {
        max_connections: 11,
        max_header_size: ByteSize::kib(16),
        header_timeout: seconds(12),
        body_timeout: seconds(13),
        min_body_rate: Some(MinBodyRate { rate: ByteRate::parse("500B/s").unwrap(), grace: seconds(3) }),
        idle_timeout: seconds(14),
        max_requests: 15,
        max_streams: 16,
    };
    assert_eq!(plain.limits, limits);
    let redirect = HttpsRedirect { status: RedirectStatus::MovedPermanently, port: 8443, slash: Default::default() };
    assert_eq!(plain.filters[0].kind, FilterKind::HttpsRedirect(redirect));
    assert_eq!((&plain.tls, &plain.origin.line, plain.origin.column), (&None, &13, 3));
    let tls = secure.tls.as_ref().unwrap();
    assert_eq!((tls.min_version, tls.http2), (TlsVersion::V1_3, Http2::Off));
    let auth = json!({
        "origin": { "file": "weir.yaml", "line": 28, "column": 44 },
        "ca": "/etc/weir/certs/clients.pem",
        "mode": "required",
        "subject": null,
        "refusal": "handshake",
        "forward": "omit",
    });
    assert_eq!(shown(&tls.client_auth), auth);
    assert_eq!(shown(&tls.ciphers), json!({ "tls12": ["ECDHE-RSA-AES128-GCM-SHA256"], "order": "server" }));
    let source = CertificateSource::File { cert: "/etc/weir/certs/a.crt".into(), key: "/abs/a.key".into() };
    assert_eq!(model.certificates[0].source, source);
}

#[test]
fn keys_of_what_is_carried_arrive() {
    let model = model(FULL);
    let [tcp] = &model.tcp_listeners[..] else { panic!("{:?}", model.tcp_listeners) };
    assert_eq!((tcp.name.as_str(), tcp.address), ("db", address("[::]:5432")));
    assert_eq!((tcp.max_connections, tcp.header_timeout), (7, seconds(8)));
    assert_eq!(tcp.proxy_protocol, Some(ProxyProtocol { trusted: vec!["10.0.0.0/8".parse().unwrap()] }));
    let tunnel = |idle_timeout, send_proxy_protocol| Tunnel {
        upstream: UpstreamName::new("carried"),
        idle_timeout,
        send_proxy_protocol,
    };
    assert_eq!(tcp.tunnel, tunnel(seconds(300), Some(ProxyVersion::V2)));
    let [udp] = &model.udp_listeners[..] else { panic!("{:?}", model.udp_listeners) };
    assert_eq!((udp.name.as_str(), udp.address, udp.upstream.as_str()), ("dns", address("[::]:53"), "carried"));
    assert_eq!((udp.idle_timeout, udp.responses, udp.max_sessions), (seconds(9), Some(count(2)), 99));
    let passed = model.hosts.iter().find_map(|host| host.tls.passthrough.as_ref());
    assert_eq!(passed, Some(&tunnel(seconds(120), Some(ProxyVersion::V1))));
}

#[test]
fn what_is_carried_has_defaults() {
    let text = "listeners: { a: { address: ':1', tcp: { upstream: o } }, b: { address: ':1', udp: { upstream: o } } }\n\
                upstreams: { o: { endpoints: ['o:1'] } }\n";
    let model = model(text);
    let [tcp] = &model.tcp_listeners[..] else { panic!("{:?}", model.tcp_listeners) };
    assert_eq!((tcp.tunnel.idle_timeout, tcp.tunnel.send_proxy_protocol), (seconds(600), None));
    assert_eq!((tcp.max_connections, tcp.header_timeout), (20_000, seconds(10)));
    let [udp] = &model.udp_listeners[..] else { panic!("{:?}", model.udp_listeners) };
    assert_eq!((udp.idle_timeout, udp.responses, udp.max_sessions), (seconds(60), None, 10_000));
}

#[test]
fn keys_of_acme_arrive() {
    let model = model(FULL);
    let wildcard = AcmeCertificate {
        domains: vec![AcmeDomain::parse("*.a.test").unwrap(), AcmeDomain::parse("a.test").unwrap()],
        issuance: Issuance {
            challenge: ChallengeType::Dns01,
            key: KeyType::Rsa4096,
            renew_before: Some(seconds(20 * 86_400)),
            profile: Some("tlsserver".into()),
        },
    };
    assert_eq!(model.certificates[1].source, CertificateSource::Acme(wildcard));
    let mut acme = shown(model.acme);
    acme.as_object_mut().unwrap().remove("origin");
    assert_eq!(
        acme,
        json!({
            "email": "ops@a.test",
            "directory": "https://acme-staging-v02.api.letsencrypt.org/directory",
            "ca": "/etc/weir/certs/pebble.pem",
            "storage": "/etc/weir/state/acme",
            "external_account": { "key_id": "kid", "hmac_file": "/etc/weir/hmac" },
            "dns": { "rfc2136": {
                "server": "10.0.0.53:53",
                "zone": "a.test",
                "key_name": "weir.",
                "algorithm": "hmac-sha512",
                "secret_file": "/etc/weir/tsig",
            } },
            "dns_propagation": { "delay": "3s", "timeout": "30s", "servers": ["10.0.0.53:5353"] },
            "retry": { "first": "5s", "longest": "1h" },
            "on_demand": { "ask": "http://127.0.0.1:3000/ask", "rate": "5/m" },
            "issuance": {
                "challenge": "tls-alpn-01",
                "key": "ecdsa-p384",
                "renew_before": "15d",
                "profile": "shortlived",
            },
        })
    );
}

#[test]
fn every_dns_provider_arrives() {
    for (written, expected) in [
        (
            "cloudflare: { token-file: t, api: 'https://cf.test/v4' }",
            json!({ "cloudflare": { "token_file": "/etc/weir/t", "api": "https://cf.test/v4" } }),
        ),
        (
            "google: { project: p, credentials: c, api: 'https://dns.test', metadata: 'http://meta.test' }",
            json!({ "google": { "project": "p", "credentials": "/etc/weir/c", "api": "https://dns.test",
                "metadata": "http://meta.test" } }),
        ),
        ("exec: { command: [a, b], timeout: 7s }", json!({ "exec": { "command": ["a", "b"], "timeout": "7s" } })),
    ] {
        let text = format!(
            "listeners: {{ http: {{ address: ':80' }} }}\nacme: {{ challenge: dns-01, dns: {{ {written} }} }}\n\
                            hosts: [{{ names: ['*'], routes: [{{ path: /, respond: {{}} }}] }}]\n"
        );
        assert_eq!(shown(model(&text).acme.unwrap().dns), expected);
    }
}

#[test]
fn what_is_not_said_of_a_certificate_is_said_under_acme_or_has_its_default() {
    let file = |acme: &str| {
        let text = format!(
            "listeners: {{ http: {{ address: ':80' }}, https: {{ address: ':443', tls: {{}} }} }}\n\
                            acme: {{ {acme} }}\ncertificates: [{{ acme: {{ domains: [a.test] }} }}]\n\
                            hosts: [{{ names: ['*'], routes: [{{ path: /, respond: {{}} }}] }}]\n"
        );
        let model = model(&text);
        let CertificateSource::Acme(certificate) = model.certificates[0].source.clone() else { panic!() };
        (model.acme.unwrap(), certificate.issuance)
    };
    let (acme, issuance) = file("");
    assert_eq!(&*acme.directory, defaults::ACME_DIRECTORY);
    assert_eq!(acme.storage, AcmeStorage::Folder(defaults::ACME_STORAGE.into()));
    assert_eq!(
        (issuance.challenge, issuance.key, issuance.renew_before),
        (ChallengeType::Http01, KeyType::EcdsaP256, None)
    );
    let (acme, issuance) = file("challenge: tls-alpn-01, key: rsa-2048, renew-before: 10d");
    assert_eq!(issuance, acme.issuance);
    assert_eq!((issuance.challenge, issuance.key), (ChallengeType::TlsAlpn01, KeyType::Rsa2048));
}

#[test]
fn what_a_host_asks_of_its_connections_arrives() {
    let tls = &model(FULL).hosts[0].tls;
    assert_eq!(
        shown(tls),
        json!({
            "min_version": "1.2",
            "ciphers": null,
            "client_auth": { "own": {
                "origin": { "file": "weir.yaml", "line": 94, "column": 30 },
                "ca": "/abs/partners.pem",
                "mode": "optional",
                "subject": "^CN=a",
                "refusal": { "request": { "page": null } },
                "forward": "send",
            } },
        })
    );
    let auth = "client-auth: { ca: /abs/partners.pem, mode: optional, forward: true, subject: ^CN=a, refuse: request }";
    let off = FULL.replace(auth, "client-auth: off");
    assert_eq!(model(&off).hosts[0].tls.client_auth, HostClientAuth::Off);
    let unsaid = FULL.replace(&format!("    tls: {{ min-version: 1.2, {auth} }}\n"), "");
    assert_eq!(model(&unsaid).hosts[0].tls, HostTls::default());
}

#[test]
fn keys_of_an_upstream_arrive() {
    let mut upstream = shown(&model(FULL).upstreams[0]);
    let origin = upstream.as_object_mut().unwrap().remove("origin");
    assert_eq!(origin, Some(json!({ "file": "weir.yaml", "line": 58, "column": 3 })));
    assert_eq!(
        upstream,
        json!({
            "name": "full",
            "endpoints": [
                { "address": "10.0.0.1:80", "weight": 1, "backup": false },
                { "address": "api.internal:81", "weight": 5, "backup": false },
                { "address": "srv:_http._tcp.api.internal", "weight": 1, "backup": true },
            ],
            "balance": "peak-ewma",
            "sticky": {
                "name": "node", "max_age": "1h", "path": "/app", "domain": null, "same_site": "Strict", "secure": "as-given",
            },
            "slow_start": "20s",
            "health_check": {
                "probe": { "http": {
                    "path": "/health?full=1",
                    "method": "HEAD",
                    "host": "probe.test:81",
                    "status": [{ "from": 204, "to": 204 }, { "from": 300, "to": 302 }],
                    "body": "^ok",
                } },
                "interval": "6s",
                "timeout": "1s",
                "unhealthy_after": 4,
                "healthy_after": 5,
                "port": 9000,
            },
            "outlier_detection": {
                "failures": 7,
                "window": "31s",
                "eject_for": "32s",
                "statuses": [{ "from": 502, "to": 502 }, { "from": 503, "to": 504 }],
                "max_ejected": "40%",
            },
            "when_all_unhealthy": "refuse",
            "protocol": "auto",
            "tls": {
                "verify": "skip",
                "server_name": "api.internal",
                "ca": "/etc/weir/certs/ca.pem",
                "client_certificate": { "cert": "/etc/weir/certs/me.crt", "key": "/etc/weir/certs/me.key" },
            },
            "keepalive": { "connections": 9, "idle_timeout": "33s", "max_requests": 34 },
            "timeouts": { "connect": "1s", "read": "2s", "write": "3s", "request": "4s" },
            "retry": {
                "attempts": 4,
                "on": ["connect", "reset", "timeout", { "status": 502 }],
                "timeout": "8s",
                "budget": "10%",
                "max_body": "8KiB",
            },
            "limits": { "max_connections": 21, "queue": 22, "queue_timeout": "23s" },
        })
    );
}

#[test]
fn keys_of_a_split_arrive() {
    let route = model(FULL).hosts[0].routes.iter().find(|route| route.matches.path.to_string() == "/shop").cloned();
    let forward = json!({
        "upstream": "full",
        "rewrite": { "path": { "prefix": "/s" }, "query": "keep", "host": null },
        "timeouts": { "request": null, "connect": null, "read": "9s", "write": null },
        "retry": {
            "attempts": 3,
            "on": ["connect", "reset", "timeout", { "status": 502 }],
            "timeout": "8s",
            "budget": "10%",
            "max_body": "8KiB",
        },
    });
    assert_eq!(
        shown(route.unwrap().action),
        json!({ "split": {
            "rules": [{
                "headers": [{ "name": "x-canary", "value": { "exact": "always" } }],
                "cookies": [{ "name": "Canary", "value": "present" }],
                "query": [{ "name": "v", "value": { "regex": "^2" } }],
                "scheme": null,
                "upstream": "full",
            }],
            "arms": [{ "weight": 3, "forward": forward }],
            "by": { "key": { "cookie": "Session" }, "salt": "2026" },
            "sessions": "kept",
        } })
    );
}

#[test]
fn filters_of_nginx_s_kind_arrive() {
    let route = model(FULL).hosts[0].routes.iter().find(|route| route.matches.path.to_string() == "/shop").cloned();
    let filters: Vec<_> = route.unwrap().filters.iter().map(|filter| shown(&filter.kind)).collect();
    assert_eq!(filters[..2], [json!({ "satisfy": "any" }), json!({ "access-log": "off" })]);
    assert_eq!(
        filters[2],
        json!({ "response-rewrite": {
            "cookie_domain": { "text": { "from": "inner.test", "to": [{ "variable": "host" }] } },
            "cookie_path": { "regex": { "pattern": "^/app(/.*)$", "to": "$1" } },
            "location": { "text": { "from": "http://inner.test/", "to": [{ "text": "/" }] } },
        } })
    );
    let set = &filters[3]["forward-auth"]["set_headers"];
    assert_eq!(*set, json!([["X-Realm", [{ "text": "shop of " }, { "variable": "host" }]]]));
}

#[test]
fn keys_of_a_host_and_its_routes_arrive() {
    let host = &model(FULL).hosts[0];
    assert_eq!(shown(&host.names), json!(["example.org", "*.example.org"]));
    assert_eq!(host.listeners, [ListenerName::new("secure")]);
    assert_eq!(host.origin.line, 92);
    let route = &host.routes[0];
    assert_eq!((route.name.as_str(), route.origin.line, route.origin.column), ("everything", 163, 9));
    assert_eq!(
        shown(&route.matches),
        json!({
            "path": { "prefix": "/api" },
            "methods": ["GET", "POST"],
            "headers": [
                { "name": "x-version", "value": { "exact": "2" } },
                { "name": "x-debug", "value": "absent" },
                { "name": "x-any", "value": "present" },
                { "name": "x-re", "value": { "regex": "^a" } },
                { "name": "x-word", "value": { "exact": "absent" } },
            ],
            "query": [{ "name": "v", "value": { "regex": "^[0-9]+$" } }],
        })
    );
    assert_eq!(
        shown(&route.action),
        json!({ "forward": {
            "upstream": "full",
            "rewrite": { "path": { "prefix": "/v2" }, "query": "drop", "host": "inner.test:82" },
            "timeouts": { "request": "44s", "connect": "41s", "read": "42s", "write": "43s" },
            // What the route does not say is the upstream's.
            "retry": {
                "attempts": 2,
                "on": ["connect", "reset", "timeout", { "status": 502 }],
                "timeout": "8s",
                "budget": "10%",
                "max_body": "8KiB",
            },
        } })
    );
}

#[test]
fn the_other_actions_arrive() {
    let routes = &model(FULL).hosts[0].routes;
    let nothing = json!({
        "status": 302, "scheme": null, "host": null, "port": null, "path": null, "query": "keep", "form": "absolute",
    });
    let redirect = |changes: Value| {
        let mut redirect = nothing.clone();
        redirect.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({ "redirect": redirect })
    };
    let whole =
        json!({ "status": 308, "scheme": "http", "host": "new.test", "port": 8080, "path": { "full": "/new" } });
    assert_eq!(shown(&routes[1].action), redirect(whole));
    assert_eq!(shown(&routes[2].action), redirect(json!({ "path": { "prefix": "/to" } })));
    let regex = json!({ "path": { "regex": { "pattern": "^/user/(.*)$", "replacement": "/u/$1" } } });
    assert_eq!(shown(&routes[3].action), redirect(regex));
    let bare = json!({ "path": { "full": "/bare/?from=bare" }, "query": "drop", "form": "relative" });
    assert_eq!(shown(&routes[5].action), redirect(bare));
    let own = json!({ "path": { "regex": { "pattern": "^/u/(?<id>[0-9]+)$", "replacement": "/user?id=${id}" } } });
    assert_eq!(shown(&routes[6].action), redirect(own), "the pattern is the route's");
    let respond = json!({ "status": 418, "headers": [["Content-Type", "text/plain"]], "body": "short" });
    assert_eq!(shown(&routes[4].action), json!({ "respond": respond }));
    let names: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
    let expected = [
        "everything",
        "example.org=/old",
        "example.org/moved",
        "example.org~^/user/(.*)$",
        "example.org=/status",
        "example.org=/bare",
        "example.org~^/u/(?<id>[0-9]+)$",
        "example.org=/compressed",
        "example.org/static",
        "example.org/shop",
    ];
    assert_eq!(names, expected);
}

#[test]
fn redirecting_filters_arrive() {
    let filters = |text: &str| -> Vec<Value> {
        let model = model(text);
        let all = model.hosts[0].routes.iter().flat_map(|route| &route.filters);
        all.filter(|f| ["www-redirect", "app-root", "trailing-slash"].contains(&f.kind.name()))
            .map(|f| shown(&f.kind))
            .collect()
    };
    let text = "listeners: { http: { address: ':80' } }\n\
                hosts: [{ names: ['*'], routes: [{ path: /, respond: {}, \
                filters: [{ www-redirect: to-apex }, { app-root: /app }, { trailing-slash: remove }] }] }]\n";
    assert_eq!(
        [filters(FULL), filters(text)],
        [
            [
                json!({ "www-redirect": { "to": "www", "status": 301 } }),
                json!({ "app-root": { "path": "/app?first", "status": 307, "form": "relative" } }),
                json!({ "trailing-slash": { "spelling": "with", "status": 303, "form": "relative" } }),
            ],
            [
                json!({ "www-redirect": { "to": "apex", "status": 308 } }),
                json!({ "app-root": { "path": "/app", "status": 302, "form": "absolute" } }),
                json!({ "trailing-slash": { "spelling": "without", "status": 308, "form": "absolute" } }),
            ],
        ]
    );
}

#[test]
fn error_pages_arrive() {
    let text = "listeners: { http: { address: ':80' } }\nupstreams: { p: { endpoints: ['p:1'] } }\n\
                hosts: [{ names: ['*'], routes: [{ path: /, respond: {}, \
                filters: [{ error-pages: { pages: [{ status: 4xx, upstream: p }] } }] }] }]\n";
    let pages = |text: &str| {
        let model = model(text);
        let mut filters = model.hosts[0].routes.iter().flat_map(|route| &route.filters);
        shown(&filters.find(|filter| filter.kind.name() == "error-pages").unwrap().kind)
    };
    let file = |format: &str, file: &str| json!({ "format": format, "file": file });
    assert_eq!(
        [pages(FULL), pages(text)],
        [
            json!({ "error-pages": { "intercept": "all", "pages": [
                {
                    "statuses": [{ "from": 404, "to": 404 }, { "from": 500, "to": 599 }],
                    "source": { "files": [
                        file("html", "/etc/weir/errors/e.html"),
                        file("json", "/e.json"),
                        file("text", "/etc/weir/errors/e.txt"),
                    ] },
                    "answered": { "replaced": 200 },
                },
                {
                    "statuses": [{ "from": 401, "to": 403 }],
                    "source": { "upstream": { "name": "full", "path": "/errors?x", "told": [] } },
                    "answered": "of-the-page",
                },
            ] } }),
            json!({ "error-pages": { "intercept": "own", "pages": [{
                "statuses": [{ "from": 400, "to": 499 }],
                "source": { "upstream": { "name": "p", "path": "/", "told": [] } },
                "answered": "kept",
            }] } }),
        ]
    );
}

#[test]
fn filters_arrive() {
    let host = &model(FULL).hosts[0];
    let filters: Vec<_> = host.filters.iter().map(|filter| shown(&filter.kind)).collect();
    assert_eq!(
        filters[..3],
        [
            json!({ "allow": ["10.0.0.0/8"] }),
            json!({ "deny": ["10.1.0.0/16"] }),
            json!({ "max-body-size": "10000000B" }),
        ]
    );
    assert_eq!(
        filters[3],
        json!({ "security-headers": {
            "hsts": "max-age=1",
            "frame_options": "SAMEORIGIN",
            "content_type_options": null,
            "referrer_policy": "no-referrer",
            "permissions_policy": "camera=()",
            "content_security_policy": "default-src 'self'",
        } })
    );
    assert_eq!(
        shown(&host.routes[0].filters[0].kind),
        json!({ "headers": {
            "request": {
                "set": [["X-Client", [{ "variable": "client-ip" }]]],
                "add": [["Via", [{ "text": "weir" }]]],
                "append": [["Accept", [{ "text": "text/x" }]]],
                "remove": ["Cookie"],
            },
            "response": {
                "set": [],
                "add": [],
                "append": [["Vary", [{ "variable": { "header": "x-in" } }]]],
                "remove": ["Server"],
            },
            "statuses": "success",
        } })
    );
}

#[test]
fn limits_arrive() {
    let route = &model(FULL).hosts[0].routes[4];
    let filters: Vec<_> = route.filters.iter().map(|filter| shown(&filter.kind)).collect();
    let rate = json!({ "rate-limit": {
        "name": "sign-in",
        "rate": "5/m",
        "burst": 3,
        "delay": { "after": 2 },
        "scope": { "redis": { "on_failure": "refuse" } },
        "key": ["client-ip", { "header": "x-api-key" }, { "cookie": "Id" }, "path"],
        "ipv6_prefix": 56,
        "allow": ["10.0.0.0/8"],
        "status": 503,
        "mode": "dry-run",
    } });
    let concurrency = json!({ "concurrency-limit": {
        "name": "at-once",
        "max": 10,
        "key": ["host"],
        "ipv6_prefix": 48,
        "allow": ["10.1.0.0/16"],
        "status": 509,
        "mode": "dry-run",
    } });
    let bandwidth = json!({ "bandwidth": { "rate": "1000000B/s", "after": "10MiB", "request_rate": "300000B/s" } });
    let buffer = json!({ "max_memory": "128KiB", "max_size": "20000000B", "folder": "/etc/weir/spool" });
    let buffering = json!({ "request-buffering": { "on": buffer } });
    assert_eq!(filters, [rate, concurrency, bandwidth, buffering]);
}

#[test]
fn what_is_not_said_of_a_limit_has_its_default_and_its_place_for_a_name() {
    let text = "listeners: { http: { address: ':80', filters: [{ concurrency-limit: { max: 1 } }] } }\n\
                hosts:\n- names: [a.test]\n  listeners: [http]\n  filters: [{ rate-limit: { rate: 1/h } }]\n  routes:\n  \
                - path: /\n    respond: {}\n    filters: [{ rate-limit: { rate: 1/s } }, { rate-limit: { rate: 9/m, delay: all, burst: 1 } }]\n";
    let model = model(text);
    let names: Vec<_> = model
        .filters()
        .map(|filter| match &filter.kind {
            FilterKind::RateLimit(limit) => limit.name.to_string(),
            FilterKind::ConcurrencyLimit(limit) => limit.name.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["listener:http", "host:a.test@http", "route:a.test/", "route:a.test/#2"]);
    let FilterKind::RateLimit(limit) = &model.hosts[0].filters[0].kind else { panic!() };
    assert_eq!((limit.burst, limit.delay, limit.status), (Burst::NONE, Delay::None, 429));
    assert_eq!((limit.mode, &limit.counted.key[..]), (LimitMode::Enforce, &[LimitKey::ClientIp][..]));
    assert_eq!(limit.counted.ipv6_prefix, Ipv6Prefix::new(64));
    let FilterKind::RateLimit(limit) = &model.hosts[0].routes[0].filters[1].kind else { panic!() };
    assert_eq!(limit.delay, Delay::All);
}

#[test]
fn cache_and_stores_arrive() {
    let model = model(FULL);
    let cache = json!({ "cache": {
        "store": "big",
        "lifetimes": { "by_status": { "200": "5m", "404": "1m" }, "any": "1s" },
        "upstream": "ignore",
        "key": ["host", "path", "scheme", "target", { "header": "x-tenant" }, { "cookie": "Site" }, { "query": "page" }],
        "bypass": [{ "header": "x-anew" }, { "query": "anew" }],
        "no_store": [{ "cookie": "session" }],
        "stale_on": ["error", "timeout", "updating", { "status": 403 }, { "status": 500 }],
        "stale_for": "2h",
        "background_update": "off",
        "lock": "7s",
        "min_uses": 3,
        "max_object": "1MiB",
        "client": "heed",
        "status_fields": "omit",
    } });
    assert_eq!(shown(&model.hosts[0].filters[7].kind), cache);
    let stores = json!([
        { "name": "big", "memory": "1MiB", "disk": { "path": "/etc/weir/cache", "size": "1953125KiB" } },
        { "name": "default", "memory": "64MiB", "disk": null },
    ]);
    assert_eq!(shown(&model.cache_stores), stores);
    let one_time = FULL.replace("ttl: { 200: 5m, 404: 1m, any: 1s }", "ttl: 5m").replace("lock: 7s", "lock: off");
    let FilterKind::Cache(cache) = &super::model(&one_time).hosts[0].filters[7].kind else { panic!() };
    assert_eq!(cache.lifetimes.by_status, [200, 301, 302].map(|status| (status, seconds(300))).into());
    assert_eq!(cache.lock, None);
}

#[test]
fn cache_headers_arrive() {
    let rules = shown(&model(FULL).hosts[0].filters[5].kind);
    assert_eq!(
        rules,
        json!({ "cache-headers": [
            { "path": "/assets", "extensions": ["js", "css"], "types": [], "effect": { "set": {
                "cache_control": "public, immutable", "expires": { "after": "365d" }, "upstream": "keep",
            } } },
            { "path": null, "extensions": ["map"], "types": ["image/*", "font/woff2"], "effect": { "set": {
                "cache_control": "max-age=2592000", "expires": { "after": "30d" }, "upstream": "replace",
            } } },
            { "path": null, "extensions": [], "types": ["text/html"], "effect": "untouched" },
        ] })
    );
}

#[test]
fn compress_arrives() {
    assert_eq!(
        shown(&model(FULL).hosts[0].routes[7].filters[0].kind),
        json!({ "compress": {
            "gzip": 6, "brotli": null, "zstd": 7, "types": ["text/*", "application/json"], "min_size": "2KiB",
        } })
    );
    let text = "listeners: { http: { address: ':80' } }\n\
                hosts: [{ names: ['*'], filters: [compress], routes: [{ path: /, respond: {} }] }]\n";
    let FilterKind::Compress(compress) = model(text).hosts.remove(0).filters.remove(0).kind else { panic!() };
    assert_eq!((compress.gzip, compress.brotli, compress.zstd), (Some(5), Some(4), Some(3)));
    assert_eq!((compress.types.len(), compress.min_size), (defaults::COMPRESSED_TYPES.len(), ByteSize::kib(1)));
}

#[test]
fn files_arrive() {
    assert_eq!(
        shown(&model(FULL).hosts[0].routes[8].action),
        json!({ "files": {
            "root": "/etc/weir/www",
            "index": ["default.html", "index.htm"],
            "fallback": "app/index.html",
            "precompressed": ["brotli", "gzip"],
            "prefix": "strip",
            "hidden_files": "serve",
            "types": [["wgsl", "text/wgsl; charset=utf-8"]],
        } })
    );
    let files = |keys: &str| {
        let text = format!(
            "listeners: {{ http: {{ address: ':80' }} }}\n\
             hosts: [{{ names: ['*'], routes: [{{ path: /, files: {{ root: /srv{keys} }} }}] }}]\n"
        );
        let Action::Files(files) = model(&text).hosts.remove(0).routes.remove(0).action else { panic!() };
        files
    };
    let written = Files {
        root: "/srv".into(),
        index: vec!["index.html".into()],
        fallback: None,
        precompressed: Vec::new(),
        prefix: RoutePrefix::Keep,
        hidden_files: HiddenFiles::Deny,
        types: Vec::new(),
    };
    assert_eq!(files(""), written);
    assert_eq!(files(", precompressed: false, strip-prefix: false, hidden-files: deny, index: index.html"), written);
    assert_eq!(files(", precompressed: true").precompressed, Coding::BY_PREFERENCE);
}

#[test]
fn basic_auth_arrives() {
    let text = "listeners: { http: { address: ':80' } }\n\
                hosts: [{ names: ['*'], filters: [{ basic-auth: { file: /etc/users } }], routes: [{ path: /, respond: {} }] }]\n";
    assert_eq!(
        [FULL, text].map(|text| {
            let host = model(text).hosts.remove(0);
            let auth = host.filters.iter().find(|filter| filter.kind.name() == "basic-auth");
            shown(&auth.expect("it is there").kind)
        }),
        [
            json!({ "basic-auth": { "file": "/etc/weir/users.htpasswd", "realm": "The \"site\"", "forward": "send" } }),
            json!({ "basic-auth": { "file": "/etc/users", "realm": "Restricted", "forward": "omit" } }),
        ]
    );
}

/// The filter of that name, as `/config` would show it.
fn filter_of(text: &str, name: &str) -> Value {
    let host = model(text).hosts.remove(0);
    shown(&host.filters.iter().find(|filter| filter.kind.name() == name).expect("it is there").kind)[name].clone()
}

#[test]
fn forward_auth_arrives() {
    let expected = json!({
        "place": "host:example.org@secure",
        "service": { "upstream": "forward-auth:host:example.org@secure", "target": "/verify?x=1", "host": "outer.test" },
        "method": "POST",
        "timeout": "3s",
        "request_headers": { "listed": ["Cookie"] },
        "set_headers": [],
        "response_headers": ["X-User"],
        "set_cookie": "always",
        "sign_in": {
            "url": [{ "text": "https://login.test/?host=" }, { "variable": "host" }],
            "parameter": "back", "told": "url",
        },
        "refusal": "passed",
        "failure_status": 503,
        "cache": {
            "key": ["client-ip", "host", "method", "path", { "header": "x-key" }, { "cookie": "Id" }],
            "ttl": { "200": "5m", "401": "10s" },
            "max_entries": 50,
        },
    });
    assert_eq!(filter_of(FULL, "forward-auth"), expected);
    let place = "forward-auth:host:example.org@secure";
    let asked = model(FULL).upstreams.into_iter().find(|upstream| upstream.name.as_str() == place).unwrap();
    assert_eq!(asked.endpoints[0].address.to_string(), "auth.test:4180");
    let tls = asked.tls.clone().unwrap();
    assert_eq!((tls.verify, tls.server_name.as_deref()), (Verify::Full, Some("auth.test")));
    assert_eq!(tls.ca, Some("/etc/weir/certs/auth.pem".into()));
    let text = "listeners: { http: { address: ':80' } }\nupstreams: { a: { endpoints: ['a:80'] } }\n\
                hosts: [{ names: ['*'], filters: [{ forward-auth: { upstream: a, path: /x } }], routes: [{ path: /, respond: {} }] }]\n";
    let expected = json!({
        "place": "host:*",
        "service": { "upstream": "a", "target": "/x", "host": null },
        "method": "GET",
        "timeout": "5s",
        "request_headers": "all",
        "set_headers": [],
        "response_headers": [],
        "set_cookie": "on-success",
        "sign_in": null,
        "refusal": "own",
        "failure_status": 500,
        "cache": null,
    });
    assert_eq!(filter_of(text, "forward-auth"), expected);
}

#[test]
fn mirror_arrives() {
    let expected = json!({
        "place": "host:example.org@secure",
        "upstream": "full",
        "percentage": "7%",
        "request_body": "send",
        "host": "shadow.test:83",
        "timeout": "9s",
        "max_lag": "64KiB",
        "max_in_flight": 3,
    });
    assert_eq!(filter_of(FULL, "mirror"), expected);
    let text = "listeners: { http: { address: ':80' } }\nupstreams: { a: { endpoints: ['a:80'] } }\n\
                hosts: [{ names: ['*'], filters: [{ mirror: { upstream: a, request-body: off } }], routes: [{ path: /, respond: {} }] }]\n";
    let expected = json!({
        "place": "host:*",
        "upstream": "a",
        "percentage": "100%",
        "request_body": "omit",
        "host": null,
        "timeout": "30s",
        "max_lag": "1MiB",
        "max_in_flight": 128,
    });
    assert_eq!(filter_of(text, "mirror"), expected);
}

#[test]
fn jwt_arrives() {
    let expected = json!({
        "place": "host:example.org@secure",
        "keys": { "url": { "url": "https://issuer.test/keys", "ca": "/etc/weir/certs/issuer.pem", "refresh": "5m" } },
        "algorithms": ["ES256", "EdDSA"],
        "issuers": ["a", "b"],
        "audiences": ["api"],
        "leeway": "1s",
        "claims": [
            { "name": "scope", "one_of": ["read", "write"] },
            { "name": "level", "one_of": ["5"] },
        ],
        "from": { "cookie": "token" },
        "claims_to_headers": [["sub", "X-User"], ["realm.roles", "X-Roles"]],
        "forward": "omit",
        "presence": "optional",
        "realm": "The site",
    });
    assert_eq!(filter_of(FULL, "jwt"), expected);
    let with = |keys: &str| {
        format!(
            "listeners: {{ http: {{ address: ':80' }} }}\n\
             hosts: [{{ names: ['*'], filters: [{{ jwt: {{ {keys} }} }}], routes: [{{ path: /, respond: {{}} }}] }}]\n"
        )
    };
    let expected = json!({
        "place": "host:*",
        "keys": { "secret-file": "/etc/weir/secret" },
        "algorithms": ["HS256"],
        "issuers": [],
        "audiences": [],
        "leeway": "30s",
        "claims": [],
        "from": "authorization",
        "claims_to_headers": [],
        "forward": "send",
        "presence": "required",
        "realm": "Restricted",
    });
    assert_eq!(filter_of(&with("secret-file: secret"), "jwt"), expected);
    for (from, expected) in [
        ("{ header: X-Token }", json!({ "header": "x-token" })),
        ("{ query: token }", json!({ "query": "token" })),
        ("authorization", json!("authorization")),
    ] {
        let jwt = filter_of(&with(&format!("jwks: keys.json, from: {from}")), "jwt");
        assert_eq!((&jwt["from"], &jwt["keys"]), (&expected, &json!({ "file": "/etc/weir/keys.json" })));
        assert_eq!(jwt["algorithms"].as_array().map(Vec::len), Some(10));
    }
}

#[test]
fn cors_arrives() {
    let cors = shown(&model(FULL).hosts[0].filters[6].kind);
    assert_eq!(
        cors,
        json!({ "cors": {
            "origins": { "listed": [
                { "exact": "https://a.test" },
                { "below": { "scheme": "https", "parent": "a.test:8443" } },
                { "regex": "^(?:https://[a-z]+[.]b[.]test)$" },
            ] },
            "methods": ["GET", "PURGE"],
            "headers": ["X-Token"],
            "expose": ["X-Total", "X-Page"],
            "credentials": "allow",
            "max_age": "1h",
        } })
    );
    let text = "listeners: { http: { address: ':80' } }\n\
                hosts: [{ names: ['*'], filters: [{ cors: { origins: ['*'] } }], routes: [{ path: /, respond: {} }] }]\n";
    let cors = model(text).hosts.remove(0).filters.remove(0).kind;
    let FilterKind::Cors(cors) = cors else { panic!("{cors:?}") };
    assert_eq!((cors.origins, cors.credentials), (CorsOrigins::Any, Credentials::Omit));
    assert_eq!((cors.methods.len(), cors.headers.len(), cors.expose.len()), (6, 9, 0));
    assert_eq!(cors.max_age, seconds(1_728_000));
}

/// A model with one upstream that has these keys.
fn upstream(keys: &str) -> Upstream {
    let text = format!(
        "listeners: {{ http: {{ address: ':80' }} }}\nupstreams: {{ a: {{ endpoints: ['a:1'], {keys} }} }}\n\
         hosts: [{{ names: ['*'], routes: [{{ path: /, upstream: a }}] }}]\n"
    );
    Upstream::clone(&model(&text).upstreams[0])
}

#[test]
fn every_policy_arrives() {
    let policies = [
        ("round-robin", LbPolicy::RoundRobin),
        ("least-connections", LbPolicy::LeastConnections),
        ("peak-ewma", LbPolicy::PeakEwma),
        ("random", LbPolicy::Random),
        ("{ hash: client-ip }", LbPolicy::Hash(HashKey::ClientIp)),
        ("{ hash: path }", LbPolicy::Hash(HashKey::Path)),
        ("{ hash: { header: X-Key } }", LbPolicy::Hash(HashKey::Header("x-key".into()))),
        ("{ hash: { cookie: Id } }", LbPolicy::Hash(HashKey::Cookie("Id".into()))),
        ("{ hash: { query: Q } }", LbPolicy::Hash(HashKey::Query("Q".into()))),
    ];
    for (text, policy) in policies {
        assert_eq!(upstream(&format!("balance: {text}")).balance, policy);
    }
}

#[test]
fn short_forms_arrive() {
    assert_eq!(upstream("keepalive: 0").keepalive.connections, 0);
    assert_eq!(upstream("outlier-detection: off").outlier_detection, None);
    assert_eq!(upstream("slow-start: 0s").slow_start, None);
    let probe = |keys: &str| upstream(keys).health_check.unwrap().probe;
    assert_eq!(probe("health-check: { tcp: {} }"), Probe::Tcp);
    let grpc = probe("protocol: http2, health-check: { grpc: { service: s } }");
    assert_eq!(grpc, Probe::Grpc { service: "s".into() });
}

#[test]
fn what_is_not_written_has_its_default() {
    use crate::defaults;
    let upstream = upstream("limits: {}");
    assert_eq!(upstream.timeouts.connect, defaults::CONNECT_TIMEOUT);
    assert_eq!(upstream.retry.attempts, defaults::RETRY_ATTEMPTS);
    assert_eq!(upstream.outlier_detection.unwrap().failures, count(3));
    assert_eq!(upstream.limits.max_connections, None);
    let text = "listeners: { http: { address: ':80' } }\nadmin: off\naccess-log: off\n\
                hosts: [{ names: ['*'], filters: [security-headers], routes: [{ path: /, respond: {} }] }]\n";
    let model = model(text);
    assert_eq!((model.process.threads, model.process.admin), (Threads::Auto, None));
    assert_eq!(model.listeners[0].limits.idle_timeout, seconds(75));
    let FilterKind::SecurityHeaders(headers) = &model.hosts[0].filters[0].kind else { panic!() };
    assert_eq!(headers.hsts.as_deref(), Some(defaults::HSTS));
}

#[test]
fn routes_of_one_match_have_names_of_their_own() {
    let text = "listeners: { http: { address: ':80' } }\n\
                hosts:\n- names: [a.test]\n  routes:\n  - { path: /, methods: [GET], respond: {} }\n  \
                - { path: /, respond: {} }\n  - { name: 'a.test/#2', path: /x, respond: {} }\n";
    let names: Vec<_> = model(text).hosts[0].routes.iter().map(|route| route.name.to_string()).collect();
    assert_eq!(names, ["a.test/", "a.test/#3", "a.test/#2"]);
}

#[test]
fn an_alias_stands_for_what_it_names() {
    let text = "listeners: { http: { address: ':80' } }\ntrusted-proxies: &inside [10.0.0.0/8]\n\
                hosts: [{ names: ['*'], filters: [{ allow: *inside }], routes: [{ path: /, respond: {} }] }]\n";
    assert_eq!(shown(&model(text).hosts[0].filters[0].kind), json!({ "allow": ["10.0.0.0/8"] }));
}

#[test]
fn one_name_may_stand_on_two_listeners_by_two_hosts() {
    let text = "listeners: { a: { address: ':80' }, b: { address: ':81' } }\nhosts:\n\
                - { names: [x], listeners: [a], routes: [{ path: /, respond: {} }] }\n\
                - { names: [x], listeners: [b], routes: [{ path: /, respond: {} }] }\n";
    assert_eq!(model(text).hosts.len(), 2);
}
