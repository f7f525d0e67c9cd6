//! `weir ingress` on a real API server: what the cluster says is what is served.

#[path = "support/kube.rs"]
mod cluster;
mod support;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use cluster::{ADMIN, Cluster, Ingress, LIMITED, endpoint_address, ingress, service, slice, tls_secret};
use support::{Answer, Authority, Connection, Identity, Origin, Request, Signal, TlsClient, eventually, holds_for};

/// A Service `name` with one endpoint that says `says`; its port is called `web`, and is 80.
fn backend(cluster: &Cluster, namespace: &str, name: &str, says: &'static str) -> Origin {
    let address = endpoint_address();
    let origin = Origin::named_at(address, says);
    cluster.apply(service(namespace, name, &[("web", 80)]));
    cluster.apply(slice(namespace, name, ("web", address.port()), &[address.ip()]));
    origin
}

/// The same, and an Ingress that leads there from `host`.
fn site(cluster: &Cluster, namespace: &str, name: &str, host: &str, says: &'static str) -> Origin {
    let origin = backend(cluster, namespace, name, says);
    cluster.apply(ingress(namespace, name, host, &[("/", name, json!(80))]));
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

    let mut shop = ingress("routes", "shop", "shop.test", &[("/", "site", json!(80)), ("/api", "api", json!("web"))]);
    cluster.apply(shop.clone());
    weir.shows("shop.test", "/", "site");
    weir.shows("shop.test", "/api/users", "api");
    assert_eq!(weir.get("other.test", "/").status, 404);

    shop["spec"]["rules"][0]["host"] = json!("other.test");
    cluster.apply(shop.clone());
    weir.shows("other.test", "/api", "api");
    assert_eq!(weir.get("shop.test", "/").status, 404);
    cluster.delete(&shop);
    weir.answers("other.test", "/", 404);
}

#[test]
fn a_class_is_ours_by_its_controller_or_by_the_annotation() {
    let cluster = Cluster::shared();
    cluster.prepare("classes");
    cluster.prepare("classes-of-others");
    let _site = backend(cluster, "classes", "site", "site");
    let make = |name: &str, class: Option<&str>, annotation: Option<&str>| {
        let mut object = ingress("classes", name, &format!("{name}.test"), &[("/", "site", json!(80))]);
        object["spec"]["ingressClassName"] = json!(class);
        object["metadata"]["annotations"] =
            annotation.map_or(Value::Null, |class| json!({ "kubernetes.io/ingress.class": class }));
        cluster.apply(object);
    };
    make("by-class", Some("classes"), None);
    make("by-annotation", None, Some("classes"));
    make("of-another-class", Some("classes-of-others"), None);
    make("of-another-annotation", None, Some("nginx"));
    make("without", None, None);

    let weir = Ingress::start(cluster, "classes", &[]);
    for (name, status) in [
        ("by-class", 200),
        ("by-annotation", 200),
        ("of-another-class", 404),
        ("of-another-annotation", 404),
        ("without", 404),
    ] {
        assert_eq!(weir.get(&format!("{name}.test"), "/").status, status, "{name}");
    }
    drop(weir);
    let weir = Ingress::start(cluster, "classes", &["--watch-ingress-without-class", "--watch-namespace=classes"]);
    assert_eq!(weir.get("without.test", "/").status, 200);
    assert_eq!(weir.get("of-another-class.test", "/").status, 404);
}

#[test]
fn endpoints_come_and_go_without_an_error() {
    let cluster = Cluster::shared();
    cluster.prepare("endpoints");
    let first = endpoint_address();
    let second: IpAddr = [10, 99, 0, 2].into();
    let _first = Origin::named_at(first, "first");
    let _second = Origin::named_at((second, first.port()).into(), "second");
    cluster.apply(service("endpoints", "site", &[("web", 80)]));
    cluster.apply(ingress("endpoints", "site", "site.test", &[("/", "site", json!(80))]));
    let weir = Ingress::start(cluster, "endpoints", &[]);
    let show = |addresses: &[IpAddr]| cluster.apply(slice("endpoints", "site", ("web", first.port()), addresses));
    assert_eq!(weir.get("site.test", "/").status, 503, "no endpoint is known");

    show(&[first.ip()]);
    weir.shows("site.test", "/", "first");
    show(&[first.ip(), second]);
    weir.shows("site.test", "/", "second");
    weir.shows("site.test", "/", "first");
    // Requests that are under way when an endpoint goes meet no error.
    let mut leaving = slice("endpoints", "site", ("web", first.port()), &[first.ip(), second]);
    leaving["endpoints"][0]["conditions"] = json!({ "ready": false, "serving": true, "terminating": true });
    cluster.apply(leaving);
    let mut in_a_row = 0;
    eventually("the endpoint that leaves is not asked any more", || {
        let answer = weir.get("site.test", "/");
        assert_eq!(answer.status, 200);
        in_a_row = if answer.text() == "second" { in_a_row + 1 } else { 0 };
        (in_a_row == 20).then_some(())
    });
    show(&[]);
    weir.answers("site.test", "/", 503);
    // No route was made anew for any of it.
    assert_eq!(generation(&weir), 2);
}

/// How often a model was applied: once with nothing in it, and then with what the cluster held.
fn generation(weir: &Ingress) -> u64 {
    weir.admin("/metrics")
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("weir_config_generation ")?.parse().ok())
        .expect("a generation")
}

#[test]
fn it_is_not_ready_before_every_object_is_served_and_listens_nowhere() {
    let mut cluster = Cluster::start();
    cluster.prepare("late");
    let _site = site(&cluster, "late", "site", "site.test", "site");
    cluster.kill_api();
    let mut weir = Ingress::spawn(&cluster, "late", &[]);
    eventually("the probes are answered", || Request::try_get(weir.admin, "/healthz").ok());
    holds_for(Duration::from_millis(500), "it is not ready, and nobody is told of hosts that are not known", || {
        weir.admin("/readyz").status == 503 && Connection::try_open(weir.http).is_err()
    });
    assert!(weir.admin("/readyz").text().contains("the cluster's objects are not served yet"));

    cluster.restart_api();
    weir.wait_until_ready();
    assert_eq!(weir.get("site.test", "/").text(), "site");
}

#[test]
fn an_api_server_that_goes_and_comes_back_is_followed_and_nothing_is_lost() {
    let mut cluster = Cluster::start();
    cluster.prepare("outage");
    let _site = site(&cluster, "outage", "site", "site.test", "site");
    let _other = backend(&cluster, "outage", "other", "other");
    let weir = Ingress::start(&cluster, "outage", &[]);
    let fine = || weir.get("site.test", "/").text() == "site" && weir.admin("/readyz").status == 200;
    cluster.kill_api();
    holds_for(Duration::from_secs(2), "the last state is served", fine);

    cluster.restart_api();
    cluster.apply(ingress("outage", "other", "other.test", &[("/", "other", json!(80))]));
    eventually("what changed meanwhile is served", || {
        assert!(fine());
        (weir.get("other.test", "/").status == 200).then_some(())
    });
}

#[test]
fn a_list_that_begins_anew_drops_no_route() {
    let mut cluster = Cluster::start();
    cluster.prepare("gone");
    let _site = site(&cluster, "gone", "site", "site.test", "site");
    let _other = backend(&cluster, "gone", "other", "other");
    let weir = Ingress::start(&cluster, "gone", &[]);
    // It sees nothing while the API server moves on and forgets where it stood.
    weir.signal(Signal::Pause);
    let doomed = ingress("gone", "doomed", "doomed.test", &[("/", "other", json!(80))]);
    cluster.apply(doomed.clone());
    cluster.apply(ingress("gone", "other", "other.test", &[("/", "other", json!(80))]));
    cluster.delete(&doomed);
    cluster.kill_api();
    cluster.compact();
    cluster.restart_api();
    weir.signal(Signal::Resume);
    eventually("what changed meanwhile is served", || {
        assert_eq!(weir.get("site.test", "/").text(), "site");
        (weir.get("other.test", "/").status == 200).then_some(())
    });
    // It may have read of the doomed one, on a connection that was cut before its end was told.
    eventually("what went meanwhile is not served", || {
        assert_eq!(weir.get("other.test", "/").status, 200);
        (weir.get("doomed.test", "/").status == 404).then_some(())
    });
}

/// What an Ingress's status shows.
fn shown(cluster: &Cluster, object: &Value) -> Vec<String> {
    let object = cluster.get_object(object);
    let shown = object["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    let address = |entry: &Value| entry["ip"].as_str().or(entry["hostname"].as_str()).map(str::to_owned);
    shown.iter().filter_map(address).collect()
}

/// Who holds the Lease, as its pod is called.
fn leader(cluster: &Cluster, lease: &str) -> Option<String> {
    let leases = cluster.get(&format!("/apis/coordination.k8s.io/v1/namespaces/{lease}/leases"));
    let lease = leases["items"].as_array()?.iter().find(|found| found["metadata"]["name"] == lease)?.clone();
    let (pod, _) = lease["spec"]["holderIdentity"].as_str()?.split_once('_')?;
    Some(pod.to_owned())
}

/// A pod that runs, in the eyes of the API.
fn pod(cluster: &Cluster, namespace: &str, name: &str, node: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": namespace, "name": name, "labels": { "app": "weir" } },
        "spec": { "nodeName": node, "containers": [{ "name": "weir", "image": "weir" }] },
    });
    cluster.apply(pod.clone());
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    cluster.set_status(&pod, json!({ "phase": "Running", "conditions": ready }));
}

fn replica(cluster: &Cluster, class: &str, name: &str, arguments: &[&str]) -> Ingress {
    let environment = [("POD_NAME", name), ("POD_NAMESPACE", class)];
    let mut weir = Ingress::spawn_as(&cluster.kubeconfig(ADMIN), class, arguments, &environment);
    weir.wait_until_ready();
    weir
}

#[test]
fn one_replica_writes_the_statuses_and_another_takes_over() {
    let cluster = Cluster::shared();
    cluster.prepare("statuses");
    let _site = site(cluster, "statuses", "site", "site.test", "site");
    let object = ingress("statuses", "site", "site.test", &[]);
    let names = ["one", "two", "three"];
    let arguments = ["--publish-status-address=203.0.113.7,lb.test", "--election-ttl=3s"];
    let mut replicas: Vec<Option<Ingress>> = names
        .iter()
        .map(|name| {
            pod(cluster, "statuses", name, "node-1");
            Some(replica(cluster, "statuses", name, &arguments))
        })
        .collect();
    eventually("the addresses are shown", || (shown(cluster, &object) == ["203.0.113.7", "lb.test"]).then_some(()));
    let first = leader(cluster, "statuses").expect("somebody leads");
    let place = |name: &str| names.iter().position(|known| *known == name).expect("it is one of ours");
    let killed = replicas[place(&first)].take().expect("it runs");
    killed.signal(Signal::Kill);
    drop(killed);
    cluster.set_status(&object, json!({ "loadBalancer": { "ingress": null } }));
    let second = eventually("another one leads", || leader(cluster, "statuses").filter(|name| *name != first));
    eventually("the new leader shows the addresses", || (!shown(cluster, &object).is_empty()).then_some(()));

    // One that ends in order leaves the lead, and the addresses, to the last one; that one takes them back.
    let end = |replicas: &mut Vec<Option<Ingress>>, name: &str| {
        let mut ending = replicas[place(name)].take().expect("it runs");
        ending.signal(Signal::Terminate);
        assert!(ending.wait_for_exit().success());
    };
    end(&mut replicas, &second);
    assert_eq!(shown(cluster, &object).len(), 2, "another replica goes on");
    let third = eventually("the last one leads", || {
        leader(cluster, "statuses").filter(|name| *name != first && *name != second)
    });
    for gone in [&first, &second] {
        cluster.delete_pod("statuses", gone);
    }
    end(&mut replicas, &third);
    assert_eq!(shown(cluster, &object), Vec::<String>::new());
}

#[test]
fn statuses_show_a_service_or_the_nodes() {
    let cluster = Cluster::shared();
    cluster.prepare("published");
    let _site = site(cluster, "published", "site", "site.test", "site");
    let object = ingress("published", "site", "site.test", &[]);
    let mut balancer = service("published", "balancer", &[("web", 80)]);
    balancer["spec"]["type"] = json!("LoadBalancer");
    cluster.apply(balancer.clone());
    cluster.set_status(&balancer, json!({ "loadBalancer": { "ingress": [{ "ip": "203.0.113.1" }] } }));
    let weir = Ingress::start(
        cluster,
        "published",
        &["--publish-service=published/balancer", "--update-status-on-shutdown=false"],
    );
    eventually("the Service's address is shown", || (shown(cluster, &object) == ["203.0.113.1"]).then_some(()));
    cluster.set_status(&balancer, json!({ "loadBalancer": { "ingress": [{ "hostname": "lb.test" }] } }));
    eventually("its new one is shown", || (shown(cluster, &object) == ["lb.test"]).then_some(()));
    let mut weir = weir;
    weir.signal(Signal::Terminate);
    assert!(weir.wait_for_exit().success());
    assert_eq!(shown(cluster, &object), ["lb.test"], "it was to be left");

    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node-2" } });
    cluster.apply(node.clone());
    let addresses =
        json!([{ "type": "InternalIP", "address": "10.0.0.9" }, { "type": "ExternalIP", "address": "203.0.113.9" }]);
    cluster.set_status(&node, json!({ "addresses": addresses }));
    pod(cluster, "published", "nodes", "node-2");
    let weir = replica(cluster, "published", "nodes", &["--election-id=nodes"]);
    eventually("the node's address is shown", || (shown(cluster, &object) == ["203.0.113.9"]).then_some(()));
    drop(weir);
    let arguments = ["--election-id=internal", "--report-node-internal-ip-address"];
    let _weir = replica(cluster, "published", "nodes", &arguments);
    eventually("the node's internal address is shown", || (shown(cluster, &object) == ["10.0.0.9"]).then_some(()));
}

#[test]
fn what_is_wrong_is_told_once_by_an_event() {
    let cluster = Cluster::shared();
    cluster.prepare("told");
    let _site = site(cluster, "told", "older", "site.test", "older");
    let weir = Ingress::start(cluster, "told", &[]);
    cluster.apply(ingress(
        "told",
        "younger",
        "site.test",
        &[("/", "nowhere", json!(80)), ("/other", "nowhere", json!(80))],
    ));
    let events = || -> Vec<Value> {
        let listed = cluster.get("/apis/events.k8s.io/v1/namespaces/told/events");
        let of = |event: &&Value| event["regarding"]["name"] == "younger";
        listed["items"].as_array().expect("a list").iter().filter(of).cloned().collect()
    };
    let found = eventually("both Events are there", || Some(events()).filter(|events| events.len() >= 2));
    assert!(
        found.iter().all(|event| event["type"] == "Warning" && event["regarding"]["kind"] == "Ingress"),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|event| event["note"].as_str().is_some_and(|note| note.contains("there is no Service told/nowhere")))
    );
    // Other changes do not tell it again.
    for n in 0..5 {
        cluster.apply(ingress("told", "more", &format!("more-{n}.test"), &[("/", "older", json!(80))]));
        weir.shows(&format!("more-{n}.test"), "/", "older");
    }
    holds_for(Duration::from_secs(2), "each Event is there once", || {
        events().len() == found.len() && events().iter().all(|event| event["series"].is_null())
    });
}

#[test]
fn a_role_in_one_namespace_is_enough_to_serve_it() {
    let cluster = Cluster::shared();
    cluster.prepare("narrow");
    let _site = backend(cluster, "narrow", "site", "site");
    let mut object = ingress("narrow", "site", "site.test", &[("/", "site", json!(80))]);
    object["spec"]["ingressClassName"] = Value::Null;
    object["metadata"]["annotations"] = json!({ "kubernetes.io/ingress.class": "narrow" });
    cluster.apply(object.clone());
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let watch = ["get", "list", "watch"];
    cluster.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "namespace": "narrow", "name": "weir" },
        "rules": [
            rule("", &["services", "secrets", "configmaps"], &watch),
            rule("discovery.k8s.io", &["endpointslices"], &watch),
            rule("networking.k8s.io", &["ingresses"], &watch),
            rule("networking.k8s.io", &["ingresses/status"], &["patch"]),
            rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
            rule("events.k8s.io", &["events"], &["create", "get", "patch"]),
        ],
    }));
    cluster.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "namespace": "narrow", "name": "weir" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "weir" },
        "subjects": [{ "kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io" }],
    }));
    let arguments = ["--watch-namespace=narrow", "--publish-status-address=203.0.113.5"];
    let environment = [("POD_NAMESPACE", "narrow")];
    let mut weir = Ingress::spawn_as(&cluster.kubeconfig(LIMITED), "narrow", &arguments, &environment);
    weir.wait_until_ready();
    assert_eq!(weir.get("site.test", "/").text(), "site");
    eventually("the address is shown", || (shown(cluster, &object) == ["203.0.113.5"]).then_some(()));
}

#[test]
fn namespaces_count_by_their_labels_as_they_are() {
    let cluster = Cluster::shared();
    let label = |name: &str, serves: &str| {
        cluster.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "serves": serves } } }));
    };
    cluster.prepare("labels");
    label("labels", "yes");
    label("labels-other", "no");
    let _one = site(cluster, "labels", "site", "one.test", "one");
    let _two = backend(cluster, "labels-other", "site", "two");
    let mut object = ingress("labels-other", "site", "two.test", &[("/", "site", json!(80))]);
    object["spec"]["ingressClassName"] = json!("labels");
    cluster.apply(object);
    let weir = Ingress::start(cluster, "labels", &["--watch-namespace-selector=serves=yes"]);
    assert_eq!(weir.get("one.test", "/").text(), "one");
    assert_eq!(weir.get("two.test", "/").status, 404);
    label("labels-other", "yes");
    weir.shows("two.test", "/", "two");
    label("labels", "no");
    weir.answers("one.test", "/", 404);
}

#[test]
fn asked_to_stop_it_finishes_what_is_under_way() {
    let cluster = Cluster::shared();
    cluster.prepare("drain");
    let address = endpoint_address();
    let slow = Origin::start_at(address, |_| {
        Answer::drive(|stream| {
            std::thread::sleep(Duration::from_secs(1));
            let _ = std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow");
        })
    });
    cluster.apply(service("drain", "slow", &[("web", 80)]));
    cluster.apply(slice("drain", "slow", ("web", address.port()), &[address.ip()]));
    cluster.apply(ingress("drain", "slow", "slow.test", &[("/", "slow", json!(80))]));
    let mut weir = Ingress::start(cluster, "drain", &[]);
    let mut connection = Connection::open(weir.http);
    connection.write("GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n");
    slow.wait_for_requests(1);
    weir.signal(Signal::Terminate);
    eventually("nobody is let in any more", || Connection::try_open(weir.http).is_err().then_some(()));
    assert_eq!(connection.read_response().text(), "slow");
    assert!(weir.wait_for_exit().success());
}

#[test]
fn a_port_that_is_taken_ends_it_with_the_reason() {
    let cluster = Cluster::shared();
    cluster.prepare("taken");
    let weir = Ingress::start(cluster, "taken", &[]);
    let port = format!("--http-port={}", weir.http.port());
    let mut second = Ingress::spawn(cluster, "taken", &[&port]);
    let status = second.wait_for_exit();
    assert_eq!(status.code(), Some(3), "{}", second.log());
    assert!(second.log().contains("another process listens there"), "{}", second.log());
}

#[test]
fn an_upgrade_hands_the_listeners_over_when_the_successor_knows_the_cluster() {
    let cluster = Cluster::shared();
    cluster.prepare("upgrade");
    let _site = site(cluster, "upgrade", "site", "site.test", "site");
    let object = ingress("upgrade", "site", "site.test", &[]);
    let mut weir = Ingress::start(cluster, "upgrade", &["--publish-status-address=203.0.113.8", "--election-ttl=3s"]);
    eventually("the address is shown", || (shown(cluster, &object).len() == 1).then_some(()));
    weir.signal(Signal::Upgrade);
    eventually("the predecessor has ended", || {
        assert_eq!(weir.get("site.test", "/").text(), "site");
        weir.exit_status()
    });
    assert_eq!(weir.get("site.test", "/").text(), "site");
    assert_eq!(shown(cluster, &object), ["203.0.113.8"], "the successor goes on");
}

#[test]
fn a_cluster_gets_its_verdicts_and_is_only_read() {
    let cluster = Cluster::shared();
    cluster.prepare("leaving");
    let mut shop = ingress("leaving", "shop", "shop.test", &[("/", "shop", json!(80))]);
    shop["metadata"]["annotations"] = json!({ "nginx.ingress.kubernetes.io/enable-modsecurity": "true" });
    cluster.apply(shop.clone());
    cluster.apply(ingress("leaving", "lost", "lost.test", &[("/", "nowhere", json!(80))]));
    let before = cluster.get_object(&shop);
    let checked = |arguments: &[&str]| {
        let kubeconfig = cluster.kubeconfig(ADMIN);
        let mut command = support::weir_command();
        command.args(["migrate", "check", "--controller-class", &cluster::controller("leaving")]).args(arguments);
        let output = command.arg("--kubeconfig").arg(kubeconfig).output().expect("weir starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = checked(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("leaving/shop (shop.test): refused\n  refused    enable-modsecurity: "), "{text}");
    assert!(text.contains("leaving/lost (lost.test): differs\n  differs    ServiceNotFound: "), "{text}");
    assert_eq!(cluster.get_object(&shop), before);
    let (code, text) = checked(&["--context", "no-such"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("no-such"), "{text}");
}

/// An Ingress with TLS of its own, from the Secret `secret`.
fn tls_site(namespace: &str, name: &str, host: &str, secret: &str) -> Value {
    let mut object = ingress(namespace, name, host, &[("/", "site", json!(80))]);
    object["spec"]["tls"] = json!([{ "hosts": [host], "secretName": secret }]);
    object
}

#[test]
fn a_secret_is_swapped_broken_deleted_and_made_again_without_a_word_to_others() {
    let cluster = Cluster::shared();
    cluster.prepare("secrets");
    let _site = backend(cluster, "secrets", "site", "site");
    let authority = Authority::new("secrets");
    let [first, second, other] = ["tls.test", "tls.test", "other.test"].map(|name| authority.issue(&[name]));
    let show = |name: &str, identity: &Identity| {
        cluster.apply(tls_secret("secrets", name, &identity.cert, &identity.key));
    };
    show("swapped", &first);
    show("steady", &other);
    cluster.apply(tls_site("secrets", "swapped", "tls.test", "swapped"));
    cluster.apply(tls_site("secrets", "steady", "other.test", "steady"));
    let weir = Ingress::start(cluster, "secrets", &[]);
    let client = TlsClient::trusting_anyone(&[b"http/1.1"]);
    let shown = |host: &str| {
        assert_eq!(client.certificate_for(weir.https, "other.test"), other.der(), "another host is as it was");
        client.certificate_for(weir.https, host)
    };
    assert_eq!(shown("tls.test"), first.der());
    assert_eq!(weir.get("tls.test", "/").status, 308);
    let mut kept = client.connect(weir.https, "tls.test").expect("a connection");
    let mut still_answers = || {
        kept.write("GET / HTTP/1.1\r\nHost: tls.test\r\n\r\n");
        assert_eq!(kept.read_response().text(), "site", "a connection outlives every change");
    };
    still_answers();
    let becomes = |what: &str, is: &dyn Fn(Vec<u8>) -> bool| eventually(what, || is(shown("tls.test")).then_some(()));

    show("swapped", &second);
    becomes("the new certificate is shown", &|der| der == second.der());
    still_answers();
    cluster.apply(tls_secret("secrets", "swapped", "broken", &second.key));
    eventually("it is told that the Secret is broken", || {
        let events = cluster.get("/apis/events.k8s.io/v1/namespaces/secrets/events");
        let mut events = events["items"].as_array().expect("a list").iter();
        events.any(|event| event["reason"] == "UpdateNotUsed" && event["regarding"]["kind"] == "Secret").then_some(())
    });
    assert_eq!(shown("tls.test"), second.der(), "a broken Secret leaves the certificate that there was");
    show("swapped", &first);
    becomes("a mended Secret is shown", &|der| der == first.der());
    let secret = tls_secret("secrets", "swapped", "", "");
    cluster.delete(&secret);
    becomes("a missing Secret gives way to the default", &|der| der != first.der());
    still_answers();
    show("swapped", &second);
    becomes("a Secret that is made again is shown", &|der| der == second.der());
    still_answers();
}

#[test]
fn the_default_certificate_and_the_default_backend_may_stand_in_other_namespaces() {
    let cluster = Cluster::shared();
    cluster.prepare("defaults");
    cluster.prepare("defaults-elsewhere");
    let _site = site(cluster, "defaults", "site", "site.test", "site");
    let _rest = backend(cluster, "defaults-elsewhere", "rest", "rest");
    let authority = Authority::new("defaults");
    let identity = authority.issue(&["nobody.test"]);
    cluster.apply(tls_secret("defaults-elsewhere", "default", &identity.cert, &identity.key));
    let arguments = [
        "--watch-namespace=defaults",
        "--default-ssl-certificate=defaults-elsewhere/default",
        "--default-backend-service=defaults-elsewhere/rest",
    ];
    let weir = Ingress::start(cluster, "defaults", &arguments);
    let client = TlsClient::trusting_anyone(&[b"http/1.1"]);
    assert_eq!(client.certificate_for(weir.https, "site.test"), identity.der());
    assert_eq!(weir.get("site.test", "/").text(), "site");
    weir.shows("unknown.test", "/", "rest");
}

#[test]
fn the_config_map_is_followed() {
    let cluster = Cluster::shared();
    cluster.prepare("options");
    cluster.prepare("options-elsewhere");
    let _site = backend(cluster, "options", "site", "site");
    let identity = Authority::new("options").issue(&["tls.test"]);
    cluster.apply(tls_secret("options", "tls", &identity.cert, &identity.key));
    cluster.apply(tls_site("options", "site", "tls.test", "tls"));
    let set = |data: Value| {
        let meta = json!({ "namespace": "options-elsewhere", "name": "weir" });
        cluster.apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data }));
    };
    set(json!({ "ssl-redirect": "false" }));
    let arguments = ["--watch-namespace=options", "--configmap=options-elsewhere/weir"];
    let weir = Ingress::start(cluster, "options", &arguments);
    assert_eq!(weir.get("tls.test", "/").text(), "site");
    set(json!({ "ssl-redirect": "true" }));
    weir.answers("tls.test", "/", 308);
}

#[test]
fn services_that_lead_out_of_the_cluster_may_be_ruled_out() {
    let cluster = Cluster::shared();
    cluster.prepare("outside");
    let address = endpoint_address();
    let _elsewhere = Origin::named_at(address, "elsewhere");
    let name = address.ip().to_string();
    cluster.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "outside", "name": "elsewhere" },
        "spec": { "type": "ExternalName", "externalName": name, "ports": [{ "name": "web", "port": address.port() }] },
    }));
    cluster.apply(ingress("outside", "site", "site.test", &[("/", "elsewhere", json!(address.port()))]));
    let weir = Ingress::start(cluster, "outside", &[]);
    assert_eq!(weir.get("site.test", "/").text(), "elsewhere");
    drop(weir);
    let weir = Ingress::start(cluster, "outside", &["--disable-svc-external-name"]);
    assert_eq!(weir.get("site.test", "/").status, 503);
}

#[test]
fn what_means_nothing_here_is_named_and_passed_over() {
    let cluster = Cluster::shared();
    cluster.prepare("carried");
    let weir = Ingress::start(cluster, "carried", &["--sync-period=1h", "--v=2", "--enable-metrics=false"]);
    for flag in ["--sync-period", "--v", "--enable-metrics"] {
        assert!(weir.log().contains(&format!("{flag} changes nothing")), "{}", weir.log());
    }
}

/// As many Ingresses as `WEIR_SCALE` says (2,000), each with a Service and a slice of its own.
#[test]
fn many_ingresses_are_served_soon_and_changed_at_once() {
    let count: usize = std::env::var("WEIR_SCALE").map_or(2_000, |count| count.parse().expect("a number"));
    let cluster = Cluster::start();
    cluster.prepare("many");
    let address = endpoint_address();
    let _origin = Origin::named_at(address, "origin");
    let objects = |n: usize| {
        let name = format!("site-{n}");
        let made = slice("many", &name, ("web", address.port()), &[address.ip()]);
        let host = format!("{name}.test");
        [service("many", &name, &[("web", 80)]), made, ingress("many", &name, &host, &[("/", &name, json!(80))])]
    };
    cluster.apply_all((0..count).flat_map(objects).collect());

    let begun = Instant::now();
    let weir = Ingress::start_slowly(&cluster, "many", &[], Duration::from_secs(120));
    println!("{count} Ingresses: ready after {:?}, {} KiB", begun.elapsed(), weir.resident_kib());
    assert_eq!(weir.get(&format!("site-{}.test", count - 1), "/").text(), "origin");

    let mut routes: Vec<Duration> = Vec::new();
    let mut endpoints: Vec<Duration> = Vec::new();
    let second: IpAddr = [10, 99, 0, 9].into();
    let _second = Origin::named_at((second, address.port()).into(), "second");
    for n in 0..10 {
        let (name, host) = (format!("site-{n}"), format!("new-{n}.test"));
        cluster.apply(ingress("many", &name, &host, &[("/", &name, json!(80))]));
        let begun = Instant::now();
        weir.answers(&host, "/", 200);
        routes.push(begun.elapsed());
        cluster.apply(slice("many", &name, ("web", address.port()), &[second]));
        let begun = Instant::now();
        weir.shows(&host, "/", "second");
        endpoints.push(begun.elapsed());
    }
    routes.sort();
    endpoints.sort();
    println!("a route is live after {:?} (half), {:?} (all)", routes[5], routes[9]);
    println!(
        "an endpoint is live after {:?} (half), {:?} (all); {} KiB",
        endpoints[5],
        endpoints[9],
        weir.resident_kib()
    );
}
