//! Endpoints that change without a translation.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::{of_objects, settings, simple};
use crate::sources::kube::state::{ClusterState, ObjectKey};
use crate::sources::kube::translate::{Translation, Translator, translate};

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
    translation.lists["default/app-1:80"].iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn slices_alone_change_lists_and_not_the_model() {
    let settings = settings();
    let mut translator = Translator::new(settings.clone().into());
    let before = translator.follow(&state(None, &["10.9.0.1"]));
    for addresses in [&["10.9.0.2", "10.9.0.1"][..], &[]] {
        let after = state(None, addresses);
        let again = translator.lists_again(&after, &services()).expect("nothing else follows");
        let translated = translate(&after, &settings);
        assert_eq!(translated.model, before.model);
        assert_eq!(again.len(), 1, "the other Service's list is as it was");
        assert_eq!(again["default/app-1:80"], translated.lists["default/app-1:80"]);
        assert_eq!(listed(&translated).len(), addresses.len());
    }
}

#[test]
fn what_hangs_on_there_being_an_endpoint_is_translated_anew() {
    let settings = settings();
    let mut translator = Translator::new(settings.clone().into());
    let some = translator.follow(&state(Some("app-0"), &["10.9.0.1"]));
    assert!(translator.lists_again(&state(Some("app-0"), &["10.9.0.2"]), &services()).is_some());
    let none = state(Some("app-0"), &[]);
    assert!(translator.lists_again(&none, &services()).is_none());
    let translated = translator.follow(&none);
    assert_ne!(translated.model, some.model);
    assert_eq!(translated.model, translate(&none, &settings).model);
}
