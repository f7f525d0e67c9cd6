//! Endpoints that change without a translation.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::{of_objects, settings, simple};
use crate::sources::kube::state::{ClusterState, ObjectKey};
use crate::sources::kube::translate::{Translation, translate};

/// Two Ingresses; the second one's Service has these addresses.
fn state(annotation: Option<&str>, addresses: &[&str]) -> ClusterState {
    let [mut ingress, service, mut slice] = simple(1);
    if let Some(backend) = annotation {
        ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/default-backend"] = backend.into();
    }
    slice["endpoints"] = addresses.iter().map(|address| json!({ "addresses": [address] })).collect::<Value>();
    of_objects(simple(0).into_iter().chain([ingress, service, slice]))
}

fn services() -> BTreeSet<ObjectKey> {
    [ObjectKey::new("default", "app-1")].into()
}

fn listed(translation: &Translation) -> Vec<String> {
    translation.listings.lists()["default/app-1:80"].iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn slices_alone_change_lists_and_not_the_model() {
    let settings = settings();
    let before = translate(&state(None, &["10.9.0.1"]), &settings);
    for addresses in [&["10.9.0.2", "10.9.0.1"][..], &[]] {
        let after = state(None, addresses);
        let again = before.listings.again(&after, &services()).expect("nothing else follows");
        let translated = translate(&after, &settings);
        assert_eq!(translated.model, before.model);
        assert_eq!(again.len(), 1, "the other Service's list is as it was");
        assert_eq!(again["default/app-1:80"], translated.listings.lists()["default/app-1:80"]);
        assert_eq!(listed(&translated).len(), addresses.len());
    }
}

#[test]
fn what_hangs_on_there_being_an_endpoint_is_translated_anew() {
    let settings = settings();
    let some = translate(&state(Some("app-0"), &["10.9.0.1"]), &settings);
    assert!(some.listings.again(&state(Some("app-0"), &["10.9.0.2"]), &services()).is_some());
    let none = state(Some("app-0"), &[]);
    assert!(some.listings.again(&none, &services()).is_none());
    assert_ne!(translate(&none, &settings).model, some.model);
}
