//! Flags that no other suite has set.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{ADMIN, Cluster, Ingress, controller};
use crate::stage::{Draft, ECHO, Site, echo, origin};
use crate::support::{Connection, Origin, Request, Signal, eventually, holds_for, request};

/// A namespace and a class of this name, and an echo.
fn prepared(name: &str) -> (&'static Cluster, Origin) {
    let cluster = Cluster::shared();
    cluster.prepare(name);
    (cluster, origin(cluster, name, ECHO, echo))
}

#[test]
fn the_api_server_and_its_authority_may_be_named_by_flags() {
    let (cluster, _echo) = prepared("flag-server");
    let written = std::fs::read_to_string(cluster.kubeconfig(ADMIN)).expect("a kubeconfig");
    let mut kubeconfig: Value = serde_json::from_str(&written).expect("it is JSON");
    let named = kubeconfig["clusters"][0]["cluster"].take();
    let text = |key: &str| named[key].as_str().expect("it is named").to_owned();
    // Nobody listens there, and nobody could be verified.
    kubeconfig["clusters"][0]["cluster"] = json!({ "server": "https://127.0.0.1:1" });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).expect("the file can be written");
    let arguments = [
        format!("--apiserver-host={}", text("server")),
        format!("--certificate-authority={}", text("certificate-authority")),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut weir = Ingress::spawn_as(&path, "flag-server", &arguments, &[]);
    weir.wait_until_ready();
    let site = Draft::new("flag-server", "found").serve_on(cluster, &weir);
    assert_eq!(site.echo("/a").target, "/a");
}

#[test]
fn probes_are_answered_at_the_address_that_is_named() {
    let (cluster, _echo) = prepared("flag-probes");
    let address: IpAddr = [127, 0, 40, 1].into();
    let mut weir = Ingress::spawn(cluster, "flag-probes", &["--healthz-host=127.0.40.1"]);
    weir.admin.set_ip(address);
    weir.wait_until_ready();
    let elsewhere = (IpAddr::from([127, 0, 0, 1]), weir.admin.port()).into();
    assert!(Request::try_get(elsewhere, "/healthz").is_err());
    assert_eq!(weir.admin("/healthz").status, 200);
}

#[test]
fn a_class_may_be_ours_by_its_name() {
    let cluster = Cluster::shared();
    cluster.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "flag-class" } }));
    let _echo = origin(cluster, "flag-class", ECHO, echo);
    cluster.apply(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "flag-class" },
        "spec": { "controller": "another.test/controller" },
    }));
    assert_ne!(controller("flag-class"), "another.test/controller");
    Draft::new("flag-class", "by-name").apply(cluster);
    let status = |arguments: &[&str]| {
        let weir = Ingress::start(cluster, "flag-class", arguments);
        weir.get("by-name.test", "/").status
    };
    assert_eq!((status(&[]), status(&["--ingress-class-by-name"])), (404, 200));
}

#[test]
fn annotations_may_begin_otherwise() {
    let (cluster, _echo) = prepared("flag-prefix");
    let weir = Ingress::start(cluster, "flag-prefix", &["--annotations-prefix=ingress.example.org"]);
    let mut object = Draft::new("flag-prefix", "prefixed").with("app-root", "/not-this").apply(cluster);
    object["metadata"]["annotations"]["ingress.example.org/app-root"] = json!("/app");
    cluster.apply(object);
    let answer = weir.answers("prefixed.test", "/", 302);
    assert_eq!(answer.header("location"), Some("http://prefixed.test/app"));
}

/// The addresses that an Ingress's status shows.
fn shown(cluster: &Cluster, object: &Value) -> Value {
    cluster.get_object(object)["status"]["loadBalancer"]["ingress"].clone()
}

#[test]
fn statuses_are_left_alone_or_written_by_every_replica() {
    let (cluster, _echo) = prepared("flag-status");
    let object = Draft::new("flag-status", "shown").apply(cluster);
    let address = "--publish-status-address=203.0.113.20";
    let weir = Ingress::start(cluster, "flag-status", &[address, "--update-status=false", "--election-ttl=1s"]);
    assert_eq!(weir.get("shown.test", "/").status, 200);
    holds_for(Duration::from_secs(2), "nothing is shown", || shown(cluster, &object).is_null());
    drop(weir);
    // Somebody else has the Lease, and it does not matter.
    cluster.apply(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "namespace": "flag-status", "name": "flag-status" },
        "spec": {
            "holderIdentity": "somebody", "leaseDurationSeconds": 3600,
            "acquireTime": "2100-01-01T00:00:00.000000Z", "renewTime": "2100-01-01T00:00:00.000000Z",
        },
    }));
    let environment = [("POD_NAMESPACE", "flag-status")];
    let arguments = [address, "--disable-leader-election"];
    let mut weir = Ingress::spawn_as(&cluster.kubeconfig(ADMIN), "flag-status", &arguments, &environment);
    weir.wait_until_ready();
    eventually("it writes all the same", || (shown(cluster, &object)[0]["ip"] == "203.0.113.20").then_some(()));
}

#[test]
fn asked_to_stop_it_serves_on_for_as_long_as_the_flag_says() {
    let (cluster, _echo) = prepared("flag-grace");
    let mut weir = Ingress::start(cluster, "flag-grace", &["--shutdown-grace-period=3"]);
    let host = Draft::new("flag-grace", "served-on").serve_on(cluster, &weir).host;
    weir.signal(Signal::Terminate);
    eventually("it is not ready any more", || (weir.admin("/readyz").status == 503).then_some(()));
    assert_eq!(request(weir.http, "GET", "/").host(&host).send().status, 200);
    eventually("then nobody is let in", || Connection::try_open(weir.http).is_err().then_some(()));
    assert!(weir.wait_for_exit().success());
    let gone = Site { weir: &weir, host };
    assert!(gone.ask("GET", "/").try_send().is_err());
}
