//! An Ingress is edited into something that cannot be used.

// It has a part of it.
#[allow(dead_code)]
#[path = "support/kube.rs"]
mod cluster;
mod support;

use serde_json::json;

use cluster::{Cluster, Ingress, endpoint_address, ingress, service, slice};
use support::{Origin, eventually};

#[test]
fn an_update_that_cannot_be_used_leaves_what_was_served_and_is_told() {
    let cluster = Cluster::shared();
    cluster.prepare("updates");
    let address = endpoint_address();
    let _site = Origin::named_at(address, "site");
    cluster.apply(service("updates", "site", &[("web", 80)]));
    cluster.apply(slice("updates", "site", ("web", address.port()), &[address.ip()]));
    let site = |pattern: &str| {
        let mut object = ingress("updates", "site", "site.test", &[(pattern, "site", json!(80))]);
        object["metadata"]["annotations"] = json!({ "nginx.ingress.kubernetes.io/use-regex": "true" });
        object["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "ImplementationSpecific".into();
        object
    };
    cluster.apply(site("/old/[0-9]+"));
    let weir = Ingress::start(cluster, "updates", &[]);
    weir.shows("site.test", "/old/1", "site");

    cluster.apply(site("/new/([0-9]+"));
    eventually("it is told that the update is not used", || {
        let events = cluster.get("/apis/events.k8s.io/v1/namespaces/updates/events");
        let mut events = events["items"].as_array().expect("a list").iter();
        let told = events.find(|event| event["reason"] == "UpdateNotUsed")?;
        let note = told["note"].as_str().expect("a note");
        assert!(note.contains("spec.rules[0].http.paths[0]") && note.contains("is served on"), "{note}");
        assert_eq!((&told["type"], &told["regarding"]["name"]), (&json!("Warning"), &json!("site")));
        Some(())
    });
    weir.shows("site.test", "/old/1", "site");

    cluster.apply(site("/new/[0-9]+"));
    weir.shows("site.test", "/new/1", "site");
    weir.answers("site.test", "/old/1", 404);
}
