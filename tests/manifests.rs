//! What is laid out in `k8s/` is what a real API server takes, and grants what Weir needs and no more.
//!
//! ```text
//! k8s/ ──kubectl kustomize──► kube-apiserver, asked and not told ──► objects with their defaults
//! ```

// Each has a part of them.
#[allow(dead_code)]
#[path = "support/kube.rs"]
mod kube;
#[allow(dead_code)]
#[path = "support/kubectl.rs"]
mod kubectl;
mod support;

use std::path::PathBuf;
use std::process::Command;

use kube::{Cluster, Ingress, endpoint_address, ingress, service, slice};
use kubectl::{Apply, Asked, Kubectl, arguments_of, chart, in_root, kustomize, of_kind};
use serde_json::{Value, json};
use support::{Origin, eventually, weir_command};

/// Everything that can be applied, found by its `kustomization.yaml`.
fn kustomizations() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![in_root("k8s"), in_root(".github")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        folders.extend(entries.filter(|path| path.is_dir()));
        if let Ok(text) = std::fs::read_to_string(folder.join("kustomization.yaml"))
            && text.contains("kind: Kustomization")
        {
            found.push(folder);
        }
    }
    found.sort();
    found
}

/// An overlay with components on top.
fn on_top_of(overlay: &str, components: &[&str]) -> String {
    let components: Vec<String> = components.iter().map(|name| format!("../k8s/components/{name}")).collect();
    rendered(&json!({ "resources": [format!("../k8s/{overlay}")], "components": components }).to_string())
}

/// What a kustomization of a user's, in a folder beside `k8s`, becomes.
fn rendered(kustomization: &str) -> String {
    let folder = tempfile::tempdir_in(in_root("target")).expect("a folder");
    let text = kustomization.replace("../k8s/", "../../k8s/");
    std::fs::write(folder.path().join("kustomization.yaml"), text).expect("it can be written");
    kustomize(folder.path())
}

#[test]
fn the_api_server_takes_every_overlay_without_a_warning() {
    let folders = kustomizations();
    assert!(folders.len() >= 7, "{folders:?}");
    for folder in folders {
        let objects = Kubectl::shared().apply(&kustomize(&folder), Apply::OnlyAsk);
        assert!(!objects.is_empty(), "{}", folder.display());
    }
}

#[test]
fn a_component_changes_what_it_says() {
    let objects = Kubectl::shared().apply(&on_top_of("overlays/gke", &["default-class"]), Apply::OnlyAsk);
    let class = of_kind(&objects, "IngressClass");
    assert_eq!(class["metadata"]["name"], "nginx");
    assert_eq!(class["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"], "true");

    let objects = Kubectl::shared().apply(&on_top_of("overlays/gke-deployment", &["own-class"]), Apply::OnlyAsk);
    let class = of_kind(&objects, "IngressClass");
    assert_eq!((&class["metadata"]["name"], &class["spec"]["controller"]), (&json!("weir"), &json!("weir/ingress")));
    let arguments = arguments_of(of_kind(&objects, "Deployment"));
    for argument in
        ["--ingress-class=weir", "--controller-class=weir/ingress", "--publish-service=$(POD_NAMESPACE)/weir"]
    {
        assert!(arguments.iter().any(|given| given == argument), "{arguments:?}");
    }
    assert!(!objects.iter().any(|object| object["kind"] == "DaemonSet"));
    assert_eq!(of_kind(&objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
}

#[test]
fn behind_a_load_balancer_the_pods_are_restricted_and_else_a_host_port_alone_is_in_the_way() {
    let workload_of = |overlay: &str, kind: &str| {
        let objects = Kubectl::shared().apply(&kustomize(&in_root(overlay)), Apply::OnlyAsk);
        of_kind(&objects, kind).clone()
    };
    for (overlay, kind) in [("k8s/overlays/gke", "DaemonSet"), ("k8s/overlays/gke-deployment", "Deployment")] {
        let refused = Kubectl::shared().refused_as_restricted(&workload_of(overlay, kind));
        assert_eq!(refused, None, "{overlay}");
    }
    let chart = Kubectl::shared().apply(&chart("chart", &json!({})), Apply::OnlyAsk);
    assert_eq!(Kubectl::shared().refused_as_restricted(of_kind(&chart, "Deployment")), None);

    let refused =
        Kubectl::shared().refused_as_restricted(&workload_of("k8s/base", "DaemonSet")).expect("it is refused");
    let (_, reasons) = refused.split_once("\"restricted:latest\": ").expect("it says why");
    assert_eq!(reasons.trim(), "hostPort (container \"weir\" uses hostPorts 443, 80)");
}

const NEEDED: &[Asked] = &[
    ("list", "ingresses.networking.k8s.io", ""),
    ("watch", "ingresses.networking.k8s.io", ""),
    ("patch", "ingresses.networking.k8s.io/status", "shop"),
    ("watch", "ingressclasses.networking.k8s.io", ""),
    ("watch", "services", ""),
    ("watch", "endpointslices.discovery.k8s.io", ""),
    ("list", "secrets", ""),
    ("watch", "secrets", ""),
    ("watch", "configmaps", ""),
    ("get", "nodes", ""),
    ("create", "events.events.k8s.io", "shop"),
    ("patch", "events.events.k8s.io", "shop"),
    ("list", "pods", "weir"),
    ("create", "leases.coordination.k8s.io", "weir"),
    ("get", "leases.coordination.k8s.io=ingress-controller-leader", "weir"),
    ("update", "leases.coordination.k8s.io=ingress-controller-leader", "weir"),
];

const REFUSED: &[Asked] = &[
    ("create", "ingresses.networking.k8s.io", "shop"),
    ("patch", "ingresses.networking.k8s.io", "shop"),
    ("update", "ingresses.networking.k8s.io/status", "shop"),
    ("delete", "ingresses.networking.k8s.io", "shop"),
    ("create", "secrets", "weir"),
    ("update", "secrets", "shop"),
    ("delete", "secrets", "shop"),
    ("patch", "configmaps", "weir"),
    ("patch", "services", "shop"),
    ("list", "nodes", ""),
    ("patch", "nodes", ""),
    ("list", "pods", "shop"),
    ("create", "pods", "weir"),
    ("create", "pods/exec", "weir"),
    ("get", "pods/log", "weir"),
    ("create", "serviceaccounts/token", "weir"),
    ("delete", "events", "shop"),
    ("create", "leases.coordination.k8s.io", "kube-system"),
    ("update", "leases.coordination.k8s.io=another", "weir"),
    ("delete", "leases.coordination.k8s.io=ingress-controller-leader", "weir"),
    ("list", "namespaces", ""),
    ("patch", "clusterroles.rbac.authorization.k8s.io", ""),
    ("impersonate", "users", ""),
    ("*", "*", ""),
];

#[test]
fn the_service_account_may_do_what_is_needed_and_nothing_else() {
    Kubectl::shared().assert_may("weir:weir", NEEDED, REFUSED);
    // Another account of the namespace is given nothing.
    Kubectl::shared().assert_may("weir:default", &[], NEEDED);
}

/// What a component adds for Weir's account, for another account of the namespace.
fn grant(component: &str, account: &str) {
    let rules = std::fs::read_to_string(in_root(&format!("k8s/components/{component}/rbac.yaml"))).expect("rules");
    let subject = "    name: weir\n    namespace: weir";
    assert!(rules.contains(subject), "{rules}");
    let rules = rules.replace(subject, &subject.replacen("name: weir", &format!("name: {account}"), 1));
    let name = format!("weir-{component}").replace("admission-", "");
    Kubectl::shared().apply(&rules.replace(&format!("  name: {name}"), &format!("  name: {account}")), Apply::ForGood);
    let account = json!({ "name": account, "namespace": "weir" });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": account });
    Kubectl::shared().apply(&account.to_string(), Apply::ForGood);
}

#[test]
fn a_component_grants_what_it_needs_and_nothing_else() {
    grant("acme", "issues");
    let needed = [
        ("get", "secrets", "shop"),
        ("create", "secrets", "shop"),
        ("update", "secrets", "shop"),
        ("create", "secrets", "weir"),
        ("update", "secrets", "weir"),
    ];
    let refused = [
        ("delete", "secrets", "shop"),
        ("patch", "secrets", "shop"),
        ("update", "ingresses.networking.k8s.io", "shop"),
        ("update", "configmaps", "weir"),
    ];
    Kubectl::shared().assert_may("weir:issues", &needed, &refused);

    grant("admission-webhook", "judges");
    let webhooks = "validatingwebhookconfigurations.admissionregistration.k8s.io";
    let needed = [
        ("watch", "validatingwebhookconfigurations.admissionregistration.k8s.io=weir", ""),
        ("update", "validatingwebhookconfigurations.admissionregistration.k8s.io=weir", ""),
        ("get", "secrets=weir-webhook", "weir"),
        ("watch", "secrets=weir-webhook", "weir"),
        ("update", "secrets=weir-webhook", "weir"),
        ("create", "secrets", "weir"),
    ];
    let refused = [
        ("list", webhooks, ""),
        ("create", webhooks, ""),
        ("update", "validatingwebhookconfigurations.admissionregistration.k8s.io=another", ""),
        ("delete", "validatingwebhookconfigurations.admissionregistration.k8s.io=weir", ""),
        ("update", "secrets=another", "weir"),
        ("create", "secrets", "shop"),
        ("update", "ingresses.networking.k8s.io", "shop"),
    ];
    Kubectl::shared().assert_may("weir:judges", &needed, &refused);
}

#[test]
fn with_the_webhooks_component_the_api_server_is_led_to_the_pods() {
    for overlay in ["overlays/gke", "overlays/gke-deployment", "base"] {
        let objects = Kubectl::shared().apply(&on_top_of(overlay, &["acme", "admission-webhook"]), Apply::OnlyAsk);
        let workload = objects.iter().find(|object| is_workload(object)).expect("a workload");
        let arguments = arguments_of(workload);
        assert_takes(&arguments);
        for argument in ["--validating-webhook=:8443", "--validating-webhook-configuration=weir"] {
            assert!(arguments.iter().any(|given| given == argument), "{overlay}: {arguments:?}");
        }
        let config = &of_kind(&objects, "ValidatingWebhookConfiguration")["webhooks"][0]["clientConfig"]["service"];
        let named = |object: &&Value| object["kind"] == "Service" && object["metadata"]["name"] == config["name"];
        let service = objects.iter().find(named).expect("the Service that the API server is led to");
        assert_eq!(service["spec"]["ports"][0]["port"], config["port"]);
        let policy = |object: &&Value| object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == "weir";
        let policy = objects.iter().find(policy).expect("a NetworkPolicy");
        let let_in = policy["spec"]["ingress"].as_array().expect("rules").last().expect("a rule");
        assert_eq!((&let_in["ports"][0]["port"], &let_in["from"]), (&json!(8443), &Value::Null), "{overlay}");
    }
}

/// The account's own token, no more: whoever the rights fall short of is told "forbidden".
#[test]
fn with_the_rights_of_its_service_account_weir_serves_and_reports() {
    let kubectl = Kubectl::shared();
    let cluster = kubectl.cluster();
    // The Lease that the Role names is found by this class.
    let class = "ingress-controller-leader";
    cluster.prepare(class);
    let address = endpoint_address();
    let _origin = Origin::named_at(address, "hello");
    cluster.apply(service(class, "hello", &[("web", 80)]));
    cluster.apply(slice(class, "hello", ("web", address.port()), &[address.ip()]));
    cluster.apply(ingress(class, "good", "hello.test", &[("/", "hello", json!(80))]));
    cluster.apply(ingress(class, "bad", "bad.test", &[("/", "nowhere", json!(80))]));
    stand_in_for_a_pod(cluster);

    let base = kubectl.apply(&kustomize(&in_root("k8s/base")), Apply::OnlyAsk);
    let arguments = arguments_of(of_kind(&base, "DaemonSet"));
    let arguments: Vec<String> =
        arguments.iter().skip(1).map(|flag| flag.replace("$(POD_NAMESPACE)", "weir")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|flag| flag.starts_with("--")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = kubectl.kubeconfig_of("weir:weir", folder.path());
    let pod = [("POD_NAMESPACE", "weir"), ("POD_NAME", "weir-x")];
    let mut weir = Ingress::spawn_as(&kubeconfig, class, &arguments, &pod);
    weir.wait_until_ready();
    weir.shows("hello.test", "/", "hello");

    eventually("the status shows the node's address", || {
        let good = cluster.get(&format!("/apis/networking.k8s.io/v1/namespaces/{class}/ingresses/good"));
        (good["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.7").then_some(())
    });
    eventually("an Event tells of the missing Service", || {
        let events = cluster.get(&format!("/apis/events.k8s.io/v1/namespaces/{class}/events"));
        let of_bad = |event: &Value| event["regarding"]["name"] == "bad" && event["type"] == "Warning";
        events["items"].as_array()?.iter().any(of_bad).then_some(())
    });
    let log = weir.log();
    assert!(!log.contains("forbidden") && !log.contains("403"), "{log}");
}

/// One that runs on a node, as its siblings find it.
fn stand_in_for_a_pod(cluster: &Cluster) {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node-x" } });
    cluster.apply(node.clone());
    cluster.set_status(&node, json!({ "addresses": [{ "type": "ExternalIP", "address": "192.0.2.7" }] }));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "weir", "name": "weir-x", "labels": { "app.kubernetes.io/name": "weir" } },
        "spec": {
            "nodeName": "node-x",
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "weir", "image": "weir",
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    });
    cluster.apply(pod.clone());
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    cluster.set_status(&pod, json!({ "phase": "Running", "conditions": ready }));
}

#[test]
fn every_flag_of_the_manifests_is_one_of_the_program() {
    for folder in kustomizations() {
        let objects = Kubectl::shared().apply(&kustomize(&folder), Apply::OnlyAsk);
        for workload in objects.iter().filter(|object| object["metadata"]["name"] == "weir" && is_workload(object)) {
            assert_takes(&arguments_of(workload));
        }
    }
    let values = json!({ "controller": {
        "scope": { "namespaceSelector": "team=edge" },
        "metrics": { "port": 10300 },
        "electionID": "edge",
    } });
    let scoped =
        json!({ "controller": { "scope": { "enabled": true }, "publishService": { "pathOverride": "edge/weir" } } });
    for values in [values, scoped] {
        let objects = Kubectl::shared().apply(&chart("chart", &values), Apply::OnlyAsk);
        assert_takes(&arguments_of(of_kind(&objects, "Deployment")));
    }
}

fn is_workload(object: &Value) -> bool {
    object["kind"] == "DaemonSet" || object["kind"] == "Deployment"
}

/// Help is given when everything before it was understood.
#[track_caller]
fn assert_takes(arguments: &[String]) {
    let expanded = arguments.iter().map(|argument| argument.replace("$(POD_NAMESPACE)", "weir"));
    let output = weir_command().args(expanded).arg("--help").output().expect("weir starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("--configmap"), "{arguments:?}: {said}");
}

#[test]
fn what_the_guide_shows_can_be_applied() {
    let guide = std::fs::read_to_string(in_root("k8s/README.md")).expect("the guide");
    let blocks: Vec<&str> = guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 5, "{}", blocks.len());
    for block in blocks {
        let manifests = if block.contains("kind: Kustomization") { rendered(block) } else { block.to_owned() };
        Kubectl::shared().apply(&manifests, Apply::OnlyAsk);
    }
    let shell = guide.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    for block in shell {
        let output = Command::new("bash").args(["-n", "-c", block]).output().expect("bash is there");
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
