use super::*;
use crate::sources::kube::manifests;
use crate::sources::kube::state::ObjectKey;
use crate::sources::kube::tests::settings;

const MANIFESTS: &str = r#"
kind: Ingress
metadata:
  name: shop
  annotations:
    nginx.ingress.kubernetes.io/ssl-redirect: "true"
    nginx.ingress.kubernetes.io/affinity: cookie
    cert-manager.io/cluster-issuer: letsencrypt
spec: &spec
  ingressClassName: nginx
  rules:
  - host: shop.test
    http: { paths: [ { path: /, pathType: Prefix, backend: { service: { name: shop, port: { number: 80 } } } } ] }
---
kind: Ingress
metadata:
  name: waf
  annotations: { nginx.ingress.kubernetes.io/enable-modsecurity: "true", nginx.ingress.kubernetes.io/proxy-body-size: 8x }
spec: { ingressClassName: nginx, rules: [ { host: waf.test } ] }
---
kind: Ingress
metadata: { name: plain, annotations: { kubernetes.io/ingress.class: nginx } }
spec: { rules: [ { host: plain.test } ] }
---
kind: Ingress
metadata: { name: foreign }
spec: { ingressClassName: traefik }
---
kind: ConfigMap
metadata: { name: options, namespace: ingress }
data: { hsts: "false", kep-alive: "75" }
"#;

fn assessed() -> Assessment {
    let mut state = ClusterState::default();
    manifests::read_into(&mut state, MANIFESTS).unwrap();
    let config_map = ObjectKey::parse("ingress/options");
    assess(&state, &Settings { config_map, ..settings() })
}

#[test]
fn every_ingress_has_the_worst_verdict_of_its_parts() {
    let assessment = assessed();
    let verdicts: Vec<_> =
        assessment.ingresses.iter().map(|ingress| (ingress.ingress.as_str(), ingress.verdict)).collect();
    assert_eq!(
        verdicts,
        [("default/plain", Verdict::Identical), ("default/shop", Verdict::Differs), ("default/waf", Verdict::Refused),]
    );
    assert_eq!(assessment.others, ["default/foreign"]);
    assert_eq!(assessment.totals["refused"].annotations, 2);
    assert_eq!(assessment.totals["identical"].ingresses, 1);
}

#[test]
fn what_differs_or_is_refused_is_explained_and_the_rest_is_not() {
    let assessment = assessed();
    let shown: Vec<_> = assessment
        .ingresses
        .iter()
        .flat_map(|ingress| &ingress.annotations)
        .map(|item| (item.name.as_str(), item.verdict, item.detail.is_some()))
        .collect();
    assert_eq!(
        shown,
        [
            ("affinity", Verdict::Differs, true),
            ("ssl-redirect", Verdict::Identical, false),
            ("enable-modsecurity", Verdict::Refused, true),
            ("proxy-body-size", Verdict::Refused, true),
        ]
    );
    // Nobody gave the Services: that they are missing says nothing.
    assert!(assessment.ingresses.iter().all(|ingress| ingress.findings.is_empty()), "{assessment:#?}");
    let options: Vec<_> = assessment.options.iter().map(|item| (item.name.as_str(), item.verdict)).collect();
    assert_eq!(options, [("hsts", Verdict::Identical), ("kep-alive", Verdict::Refused)]);
}

#[test]
fn services_of_connections_have_a_verdict_each_and_passthrough_goes_by_its_flag() {
    let manifests = r#"
kind: ConfigMap
metadata: { name: tcp, namespace: ingress }
data: { "5432": "shop/db:5432", "5433": "nonsense", "5434": "shop/nothing:1" }
---
kind: Service
metadata: { name: db, namespace: shop }
spec: { clusterIP: 10.0.0.1, ports: [ { port: 5432 } ] }
---
kind: Ingress
metadata: { name: db, namespace: shop, annotations: { nginx.ingress.kubernetes.io/ssl-passthrough: "true" } }
spec:
  ingressClassName: nginx
  rules:
  - host: db.test
    http: { paths: [ { path: /, pathType: Prefix, backend: { service: { name: db, port: { number: 5432 } } } } ] }
"#;
    let mut state = ClusterState::default();
    manifests::read_into(&mut state, manifests).unwrap();
    let with = |ssl_passthrough| {
        assess(&state, &Settings { tcp_services: ObjectKey::parse("ingress/tcp"), ssl_passthrough, ..settings() })
    };
    let assessment = with(translate::SslPassthrough::Honour);
    let shown: Vec<_> = assessment.services.iter().map(|item| (item.name.as_str(), item.verdict)).collect();
    assert_eq!(
        shown,
        [
            ("tcp 5432: shop/db:5432", Verdict::Identical),
            ("tcp 5433: nonsense", Verdict::Refused),
            ("tcp 5434: shop/nothing:1", Verdict::Differs),
        ]
    );
    assert_eq!(assessment.ingresses[0].verdict, Verdict::Identical);
    assert_eq!(with(translate::SslPassthrough::Refuse).ingresses[0].verdict, Verdict::Refused);
}
