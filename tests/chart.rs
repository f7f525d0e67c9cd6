//! The Helm chart lays out what the manifests do, takes the values of ingress-nginx's, and refuses what it would not heed.
//!
//! ```text
//! values ──► k8s/chart ──Helm──► kube-apiserver, asked and not told ──► objects with their defaults
//! ```

// Each has a part of them.
#[allow(dead_code)]
#[path = "support/kube.rs"]
mod kube;
#[allow(dead_code)]
#[path = "support/kubectl.rs"]
mod kubectl;
mod support;

use std::collections::BTreeSet;

use kubectl::{Apply, Kubectl, arguments_of, chart, in_root, kustomize, lint_the_chart, of_kind, refused_by_the_chart};
use serde_json::{Value, json};

/// What it grants, and to whom, is there from now on.
fn grant_rights_of(rendered: &str) {
    let rights = |document: &&str| {
        document.contains("rbac.authorization.k8s.io/v1") || document.contains("kind: ServiceAccount")
    };
    let rights: Vec<&str> = rendered.split("---\n").filter(rights).collect();
    Kubectl::shared().apply(&rights.join("---\n"), Apply::ForGood);
}

#[test]
fn held_to_one_namespace_the_chart_grants_nothing_of_others() {
    let values =
        json!({ "fullnameOverride": "held", "controller": { "scope": { "enabled": true, "namespace": "shop" } } });
    let rendered = chart("chart", &values);
    grant_rights_of(&rendered);
    let needed = [
        ("watch", "ingresses.networking.k8s.io", "shop"),
        ("patch", "ingresses.networking.k8s.io/status", "shop"),
        ("watch", "secrets", "shop"),
        ("create", "events.events.k8s.io", "shop"),
        ("watch", "ingressclasses.networking.k8s.io", ""),
        ("watch", "configmaps=held", "chart"),
        ("watch", "services=held", "chart"),
        ("update", "leases.coordination.k8s.io=ingress-controller-leader", "chart"),
    ];
    let refused = [
        ("list", "secrets", ""),
        ("get", "secrets", "chart"),
        ("list", "ingresses.networking.k8s.io", ""),
        ("list", "services", ""),
        ("list", "configmaps", "chart"),
    ];
    Kubectl::shared().assert_may("chart:held", &needed, &refused);
    let objects = Kubectl::shared().apply(&rendered, Apply::OnlyAsk);
    assert!(arguments_of(of_kind(&objects, "Deployment")).contains(&"--watch-namespace=shop".to_owned()));
}

#[test]
fn the_chart_lays_out_what_the_manifests_do() {
    let values = json!({ "controller": {
        "kind": "DaemonSet",
        "hostPort": { "enabled": true },
        "service": { "enabled": false },
        "networkPolicy": { "enabled": true },
        "priorityClassName": "weir",
        "tolerations": [{ "key": "dedicated", "operator": "Equal", "value": "ingress", "effect": "NoSchedule" }],
    } });
    let ours = Kubectl::shared().apply(&kustomize(&in_root("k8s/base")), Apply::OnlyAsk);
    let charts = Kubectl::shared().apply(&chart("chart", &values), Apply::OnlyAsk);
    for (kind, part) in [
        ("DaemonSet", "/spec/template/spec"),
        ("DaemonSet", "/spec/updateStrategy"),
        ("NetworkPolicy", "/spec/ingress"),
        ("NetworkPolicy", "/spec/egress"),
        ("PodDisruptionBudget", "/spec/minAvailable"),
        ("IngressClass", "/spec"),
    ] {
        assert_eq!(pruned(&charts, kind, part), pruned(&ours, kind, part), "{kind} {part}");
    }
    for kind in ["ClusterRole", "Role"] {
        assert_eq!(rights(of_kind(&charts, kind)), rights(of_kind(&ours, kind)), "{kind}");
    }

    let values = json!({ "controller": { "autoscaling": { "enabled": true }, "maxUnavailable": 1 } });
    let ours = Kubectl::shared().apply(&kustomize(&in_root("k8s/overlays/gke-deployment")), Apply::OnlyAsk);
    let charts = Kubectl::shared().apply(&chart("chart", &values), Apply::OnlyAsk);
    for (kind, part) in [
        ("HorizontalPodAutoscaler", "/spec"),
        ("PodDisruptionBudget", "/spec/maxUnavailable"),
        ("Deployment", "/spec/strategy"),
        ("Deployment", "/spec/template/spec/containers/0/lifecycle"),
    ] {
        assert_eq!(pruned(&charts, kind, part), pruned(&ours, kind, part), "{kind} {part}");
    }
}

#[test]
fn the_chart_takes_what_was_written_for_the_chart_of_ingress_nginx() {
    let everything = json!({
        "commonLabels": { "team": "edge" },
        "imagePullSecrets": [{ "name": "pull" }],
        "controller": {
            "image": { "registry": "registry.test", "image": "edge/weir", "tag": "1.2.3", "digest": format!("sha256:{:064}", 7) },
            "config": { "use-forwarded-headers": true, "proxy-body-size": "10m" },
            "extraArgs": { "default-ssl-certificate": "weir/default", "watch-ingress-without-class": true, "ingress-class-by-name": "" },
            "extraEnvs": [{ "name": "TZ", "value": "UTC" }],
            "ingressClassResource": { "name": "edge", "default": true, "controllerValue": "k8s.io/edge", "aliases": ["old"] },
            "ingressClass": "edge",
            "service": {
                "annotations": { "cloud.google.com/l4-rbs": "enabled" },
                "loadBalancerSourceRanges": ["10.0.0.0/8"],
                "ipFamilyPolicy": "PreferDualStack",
                "nodePorts": { "http": 30080, "https": 30443 },
                "internal": { "enabled": true, "annotations": { "networking.gke.io/load-balancer-type": "Internal" } },
            },
            "replicaCount": 3,
            "minAvailable": "50%",
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
            "tolerations": [{ "key": "edge", "operator": "Exists" }],
            "nodeSelector": { "pool": "edge" },
            "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [] } },
            "metrics": {
                "enabled": true,
                "port": 10300,
                "serviceMonitor": { "enabled": true, "additionalLabels": { "release": "prometheus" }, "scrapeInterval": "15s" },
                "prometheusRule": { "enabled": true, "rules": [{ "alert": "Mine", "expr": "up == 0" }] },
                "dashboard": { "enabled": true },
            },
            "networkPolicy": { "enabled": true, "metricsNamespace": "observability" },
            "admissionWebhooks": { "enabled": false, "failurePolicy": "Fail" },
            "allowSnippetAnnotations": true,
        },
        "defaultBackend": { "enabled": false },
    });
    for values in [json!({}), everything.clone()] {
        lint_the_chart(&values);
    }
    let objects = Kubectl::shared().apply(&chart("chart", &everything), Apply::OnlyAsk);
    let deployment = of_kind(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 3);
    let pod = &deployment["spec"]["template"]["spec"];
    let image = format!("registry.test/edge/weir:1.2.3@sha256:{:064}", 7);
    assert_eq!((&pod["containers"][0]["image"], &pod["nodeSelector"]["pool"]), (&json!(image), &json!("edge")));
    let arguments = arguments_of(deployment);
    for argument in [
        "--configmap=$(POD_NAMESPACE)/weir",
        "--controller-class=k8s.io/edge",
        "--default-ssl-certificate=weir/default",
        "--healthz-port=10300",
        "--ingress-class=edge",
        "--ingress-class-by-name",
        "--watch-ingress-without-class=true",
    ] {
        assert!(arguments.iter().any(|given| given == argument), "{arguments:?}");
    }
    let options = objects.iter().find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == "weir");
    let expected =
        json!({ "allow-snippet-annotations": "true", "proxy-body-size": "10m", "use-forwarded-headers": "true" });
    assert_eq!(options.expect("a ConfigMap")["data"], expected);
    assert_eq!(of_kind(&objects, "PodDisruptionBudget")["spec"]["minAvailable"], "50%");
    let names = |kind: &str| -> Vec<&Value> {
        objects.iter().filter(|object| object["kind"] == kind).map(|object| &object["metadata"]["name"]).collect()
    };
    assert_eq!(names("IngressClass"), ["edge", "old"]);
    assert_eq!(names("Service"), ["weir", "weir-internal", "weir-metrics"]);
    let groups = of_kind(&objects, "PrometheusRule")["spec"]["groups"].as_array().expect("groups");
    assert_eq!(groups.last().expect("a group")["rules"][0]["alert"], "Mine");
}

#[test]
fn ports_that_are_carried_on_are_opened_everywhere() {
    let values = json!({
        "tcp": { "5432": "shop/postgres:5432", "2525": "mail/smtp:smtp:PROXY:PROXY" },
        "udp": { "5432": "kube-system/kube-dns:53" },
        "portNamePrefix": "x",
        "controller": {
            "kind": "DaemonSet",
            "hostPort": { "enabled": true },
            "networkPolicy": { "enabled": true },
            "service": { "type": "NodePort", "nodePorts": { "tcp": { "5432": 30432 } }, "internal": { "enabled": true } },
        },
    });
    lint_the_chart(&values);
    let objects = Kubectl::shared().apply(&chart("chart", &values), Apply::OnlyAsk);
    let named = |kind: &str, name: &str| {
        let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("there is a {kind} {name}"))
    };
    let tcp = json!({ "2525": "mail/smtp:smtp:PROXY:PROXY", "5432": "shop/postgres:5432" });
    assert_eq!(named("ConfigMap", "weir-tcp")["data"], tcp);
    assert_eq!(named("ConfigMap", "weir-udp")["data"], json!({ "5432": "kube-system/kube-dns:53" }));
    let workload = named("DaemonSet", "weir");
    let arguments = arguments_of(workload);
    for transport in ["tcp", "udp"] {
        let flag = format!("--{transport}-services-configmap=$(POD_NAMESPACE)/weir-{transport}");
        assert!(arguments.contains(&flag), "{arguments:?}");
    }
    let expected = [("x-2525-tcp", 2525, "TCP"), ("x-5432-tcp", 5432, "TCP"), ("x-5432-udp", 5432, "UDP")];
    let container = workload["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().expect("ports");
    let shown = |port: &Value, number: &str| {
        let text = |key: &str| port[key].as_str().unwrap_or_default().to_owned();
        (text("name"), port[number].as_u64().unwrap_or_default(), text("protocol"))
    };
    for (name, number, protocol) in expected {
        let port = (name.to_owned(), number, protocol.to_owned());
        assert!(container.iter().any(|other| shown(other, "containerPort") == port && other["hostPort"] == number));
        for service in ["weir", "weir-internal"] {
            let ports = named("Service", service)["spec"]["ports"].as_array().expect("ports");
            assert!(ports.iter().any(|other| shown(other, "port") == port && other["targetPort"] == name), "{ports:?}");
        }
        let policy = &named("NetworkPolicy", "weir")["spec"]["ingress"][0]["ports"];
        assert!(policy.as_array().expect("ports").contains(&json!({ "port": number, "protocol": protocol })));
    }
    let ports = named("Service", "weir")["spec"]["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|port| port["name"] == "x-5432-tcp" && port["nodePort"] == 30432), "{ports:?}");
}

#[test]
fn the_chart_lays_out_the_webhook_and_grants_what_issuers_need() {
    let values = json!({
        "fullnameOverride": "asked",
        "controller": {
            "acmeIssuers": ["letsencrypt,email=ops@example.org"],
            "networkPolicy": { "enabled": true },
            "admissionWebhooks": {
                "enabled": true, "failurePolicy": "Ignore", "port": 9443, "timeoutSeconds": 15,
                "annotations": { "team": "edge" }, "namespaceSelector": { "matchLabels": { "asks": "yes" } },
                "objectSelector": { "matchLabels": { "asked": "yes" } },
                "service": { "annotations": { "team": "net" }, "servicePort": 8443 },
            },
        },
    });
    lint_the_chart(&values);
    let rendered = chart("chart", &values);
    let objects = Kubectl::shared().apply(&rendered, Apply::OnlyAsk);
    let deployment = of_kind(&objects, "Deployment");
    let arguments = arguments_of(deployment);
    for argument in [
        "--acme-issuer=letsencrypt,email=ops@example.org",
        "--validating-webhook=:9443",
        "--validating-webhook-configuration=asked",
    ] {
        assert!(arguments.iter().any(|given| given == argument), "{arguments:?}");
    }
    let configuration = of_kind(&objects, "ValidatingWebhookConfiguration");
    assert_eq!(
        (&configuration["metadata"]["name"], &configuration["metadata"]["annotations"]["team"]),
        (&json!("asked"), &json!("edge"))
    );
    let webhook = &configuration["webhooks"][0];
    assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&json!("Ignore"), &json!(15)));
    assert_eq!(webhook["namespaceSelector"]["matchLabels"]["asks"], "yes");
    assert_eq!(webhook["objectSelector"]["matchLabels"]["asked"], "yes");
    let expected =
        json!({ "name": "asked-webhook", "namespace": "chart", "port": 8443, "path": "/networking/v1/ingresses" });
    assert_eq!(webhook["clientConfig"]["service"], expected);
    let service =
        objects.iter().find(|object| object["kind"] == "Service" && object["metadata"]["name"] == "asked-webhook");
    let service = service.expect("a Service");
    assert_eq!(
        (&service["metadata"]["annotations"]["team"], &service["spec"]["ports"][0]["port"]),
        (&json!("net"), &json!(8443))
    );
    let policy =
        objects.iter().find(|object| object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == "asked");
    assert!(policy.expect("a policy").to_string().contains("\"port\":9443"));

    grant_rights_of(&rendered);
    let needed = [
        ("get", "secrets", "shop"),
        ("create", "secrets", "shop"),
        ("update", "secrets", "shop"),
        ("update", "validatingwebhookconfigurations.admissionregistration.k8s.io=asked", ""),
        ("update", "secrets=asked-webhook", "chart"),
    ];
    let refused = [
        ("delete", "secrets", "shop"),
        ("update", "validatingwebhookconfigurations.admissionregistration.k8s.io=another", ""),
    ];
    Kubectl::shared().assert_may("chart:asked", &needed, &refused);

    // Held to one namespace, it writes Secrets there and in its own.
    let values = json!({
        "fullnameOverride": "narrow",
        "controller": { "acmeIssuers": ["letsencrypt"], "scope": { "enabled": true, "namespace": "shop" } },
    });
    let rendered = chart("chart", &values);
    grant_rights_of(&rendered);
    let needed = [
        ("create", "secrets", "shop"),
        ("update", "secrets", "shop"),
        ("update", "secrets", "chart"),
        ("watch", "secrets", "chart"),
    ];
    Kubectl::shared().assert_may("chart:narrow", &needed, &[("get", "secrets", "weir"), ("create", "secrets", "weir")]);
}

#[test]
fn the_chart_refuses_what_it_would_not_heed() {
    for (values, part) in [
        (json!({ "controller": { "replicas": 3 } }), "additional properties 'replicas' not allowed"),
        (json!({ "controller": { "kind": "Both" } }), "value must be one of 'Deployment', 'DaemonSet'"),
        (json!({ "controller": { "hostNetwork": true } }), "at '/controller/hostNetwork': value must be false"),
        (
            json!({ "controller": { "admissionWebhooks": { "enabled": true, "patch": { "enabled": true } } } }),
            "invalid propertyName 'patch'",
        ),
        (json!({ "defaultBackend": { "enabled": true } }), "at '/defaultBackend/enabled': value must be false"),
        (json!({ "tcp": { "5432": "postgres" } }), "at '/tcp/5432': 'postgres' does not match pattern"),
        (json!({ "udp": { "dns": "db/dns:53" } }), "invalid propertyName 'dns'"),
        (
            json!({ "controller": { "kind": "DaemonSet", "autoscaling": { "enabled": true } } }),
            "set controller.kind=Deployment",
        ),
        (
            json!({ "controller": { "metrics": { "service": { "enabled": false }, "serviceMonitor": { "enabled": true } } } }),
            "set controller.metrics.service.enabled=true",
        ),
    ] {
        let said = refused_by_the_chart(&values);
        assert!(said.contains(part), "{values}: no {part} in\n{said}");
    }
}

/// A part of the one object of its kind that selects Weir's pods, without what is meant to differ: the image's tag, and flags
/// that the chart gives with their defaults.
fn pruned(objects: &[Value], kind: &str, part: &str) -> Value {
    let mut objects = objects.to_vec();
    objects.retain(|object| object["metadata"]["name"] != "default-deny");
    let mut found = of_kind(&objects, kind).pointer(part).unwrap_or_else(|| panic!("{kind} has {part}")).clone();
    if let Some(container) = found.pointer_mut("/containers/0").and_then(Value::as_object_mut) {
        assert!(container.remove("image").is_some());
        let defaults = [json!("--ingress-class=nginx"), json!("--controller-class=k8s.io/ingress-nginx")];
        container["args"].as_array_mut().expect("arguments").retain(|argument| !defaults.contains(argument));
    }
    found
}

/// Each verb on each resource on its own, however rules group them.
fn rights(role: &Value) -> BTreeSet<[String; 4]> {
    let each = |rule: &Value, key: &str| match rule[key].as_array() {
        Some(list) => list.iter().map(|item| item.as_str().expect("text").to_owned()).collect(),
        None => vec![String::new()],
    };
    let mut found = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in each(rule, "apiGroups") {
            for resource in each(rule, "resources") {
                for name in each(rule, "resourceNames") {
                    found.extend(
                        each(rule, "verbs")
                            .into_iter()
                            .map(|verb| [group.clone(), resource.clone(), name.clone(), verb]),
                    );
                }
            }
        }
    }
    found
}
