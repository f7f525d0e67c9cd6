//! What is said to whoever writes an Ingress, beside those that are there.

use super::cluster::cluster;
use crate::sources::kube::state::{ClusterState, IngressClass, ObjectKey};
use crate::sources::kube::translate::{Claims, Review, Settings, review};

/// One rule of `a.test/`, with more metadata; `created` is none for one that is only about to be.
fn ingress(name: &str, created: Option<u32>, metadata: &str) -> String {
    let created =
        created.map(|second| format!(", creationTimestamp: \"2026-01-01T00:00:{second:02}Z\"")).unwrap_or_default();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{ namespace: ns, name: {name}{created}{metadata} }}\n\
         spec: {{ rules: [{{ host: a.test, http: {{ paths: [{{ path: /, pathType: Prefix, backend: {{ service: \
         {{ name: site, port: {{ number: 80 }} }} }} }}] }} }}] }}"
    )
}

const SERVICE: &str =
    "apiVersion: v1\nkind: Service\nmetadata: { namespace: ns, name: site }\nspec: { ports: [{ port: 80 }] }";

fn known(documents: &[String]) -> (ClusterState, Settings) {
    let all: Vec<&str> = [SERVICE].into_iter().chain(documents.iter().map(String::as_str)).collect();
    cluster(&all.join("\n---\n"))
}

fn said(state: &ClusterState, settings: &Settings, claims: &Claims, asked: &str) -> Review {
    let (other, _) = cluster(asked);
    let (_, ingress) = other.ingresses.iter().next().expect("an Ingress");
    review(state, settings, ingress, |ingress| claims.conflicts(ingress))
}

fn follow(claims: &mut Claims, state: &ClusterState, settings: &Settings) {
    claims.follow(state, &settings.class, &settings.annotations_prefix);
}

fn annotated(annotations: &str) -> String {
    ingress("new", None, &format!(", annotations: {{ {annotations} }}"))
}

#[test]
fn what_cannot_be_served_is_refused_and_what_may_come_or_does_no_harm_is_a_warning() {
    let (state, settings) = known(&[]);
    let said = |annotations: &str| said(&state, &settings, &Claims::default(), &annotated(annotations));
    assert_eq!(said(""), Review::default());
    for (annotation, refused) in [
        ("proxy-body-size: lots", "nginx.ingress.kubernetes.io/proxy-body-size: "),
        ("enable-modsecurity: 'true'", "nginx.ingress.kubernetes.io/enable-modsecurity: there is no ModSecurity here"),
        ("stream-snippet: x", "nginx.ingress.kubernetes.io/stream-snippet: "),
        (
            "server-snippet: deny all;",
            "metadata.annotations[nginx.ingress.kubernetes.io/server-snippet]: snippets are not",
        ),
    ] {
        let review = said(&format!("nginx.ingress.kubernetes.io/{annotation}"));
        assert_eq!(review.refusals.len(), 1, "{review:?}");
        assert!(review.refusals[0].starts_with(refused), "{review:?}");
    }
    for (annotations, warned) in [
        ("nginx.ingress.kubernetes.io/enable-opentelemetry: 'true'", "traces are not written yet"),
        ("nginx.ingress.kubernetes.io/proxy-body-sizes: 1m", "did you mean \"proxy-body-size\"?"),
        (
            "nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: users",
            "there is no Secret ns/users",
        ),
    ] {
        let review = said(annotations);
        assert!(review.refusals.is_empty() && review.warnings.len() == 1, "{review:?}");
        assert!(review.warnings[0].contains(warned), "{review:?}");
    }
}

#[test]
fn what_an_older_one_has_is_refused_until_it_is_gone() {
    let own = "ns/two comes first";
    let reason = |owner: &str| {
        format!("spec.rules[0].http.paths[0]: a.test/ belongs to the Ingress ns/{owner}, which comes first")
    };
    let (mut state, settings) = known(&[ingress("one", Some(1), ""), ingress("two", Some(2), "")]);
    let mut claims = Claims::default();
    follow(&mut claims, &state, &settings);
    let refusals = |claims: &Claims, state: &ClusterState, asked: &str| said(state, &settings, claims, asked).refusals;
    assert_eq!(refusals(&claims, &state, &ingress("new", None, "")), [reason("one")]);
    // Even where the clock says the same.
    assert_eq!(refusals(&claims, &state, &ingress("zzz", Some(1), "")), [reason("one")]);
    assert_eq!(refusals(&claims, &state, &ingress("two", Some(2), "")), [reason("one")], "{own}");
    assert!(refusals(&claims, &state, &ingress("one", Some(1), "")).is_empty(), "its own place");
    let canary = ", annotations: { nginx.ingress.kubernetes.io/canary: 'true' }";
    assert!(refusals(&claims, &state, &ingress("new", None, canary)).is_empty());

    state.ingresses.remove(&ObjectKey::new("ns", "one"));
    follow(&mut claims, &state, &settings);
    assert_eq!(refusals(&claims, &state, &ingress("new", None, "")), [reason("two")]);
    assert!(refusals(&claims, &state, &ingress("two", Some(2), "")).is_empty());
    state.ingresses.remove(&ObjectKey::new("ns", "two"));
    follow(&mut claims, &state, &settings);
    assert!(refusals(&claims, &state, &ingress("new", None, "")).is_empty());
}

#[test]
fn canaries_and_other_classes_have_no_place_and_a_class_may_change_hands() {
    let other = ingress("other", Some(1), "").replace("spec: {", "spec: { ingressClassName: theirs,");
    let canary = ingress("canary", Some(1), ", annotations: { nginx.ingress.kubernetes.io/canary: 'true' }");
    let (mut state, settings) = known(&[other.clone(), canary]);
    let mut claims = Claims::default();
    follow(&mut claims, &state, &settings);
    let new = ingress("new", None, "");
    assert!(said(&state, &settings, &claims, &new).refusals.is_empty());
    // Another controller's is let in, whatever it says.
    let broken = other
        .replace("name: other", "name: broken, annotations: { nginx.ingress.kubernetes.io/proxy-body-size: lots }");
    assert_eq!(said(&state, &settings, &claims, &broken), Review::default());
    let class = IngressClass { name: "theirs".into(), controller: settings.class.controller.clone() };
    state.classes.insert("theirs".into(), class);
    follow(&mut claims, &state, &settings);
    assert_eq!(said(&state, &settings, &claims, &new).refusals.len(), 1, "it is ours now");
    assert_eq!(said(&state, &settings, &claims, &broken).refusals.len(), 2);
}
