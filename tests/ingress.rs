//! `weir ingress` on a real API server: what the cluster says is what is served.

#[path = "support/kube.rs"]
mod cluster;
mod support;

use serde_json::json;

use cluster::{Cluster, Ingress, endpoint_address, ingress, service, slice};
use support::{Origin, request};

/// A Service `name` with one endpoint that says `says`; its port is called `web`, and is 80.
fn backend(cluster: &Cluster, namespace: &str, name: &str, says: &'static str) -> Origin {
    let address = endpoint_address();
    let origin = Origin::named_at(address, says);
    cluster.apply(service(namespace, name, &[("web", 80)]));
    cluster.apply(slice(namespace, name, ("web", address.port()), &[address.ip()]));
    origin
}

#[test]
fn an_ingress_is_served_by_host_and_path_and_ports_by_name_and_number() {
    let cluster = Cluster::shared();
    cluster.prepare("routes");
    let _site = backend(cluster, "routes", "site", "site");
    let _api = backend(cluster, "routes", "api", "api");
    let weir = Ingress::start(cluster, "routes", &[]);
    assert_eq!(weir.get("shop.test", "/").status, 404);

    cluster.apply(ingress("routes", "shop", "shop.test", &[("/", "site", json!(80)), ("/api", "api", json!("web"))]));
    weir.shows("shop.test", "/", "site");
    weir.shows("shop.test", "/api/users", "api");
    assert_eq!(request(weir.http, "GET", "/").host("other.test").send().status, 404);
}
