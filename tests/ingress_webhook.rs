//! The admission webhook: a real API server asks Weir what Ingresses may be.
//!
//! ```text
//! kubectl apply ──► kube-apiserver ──AdmissionReview──► weir ingress ──► refused with reasons, warned, or let in
//! ```

#[allow(dead_code)]
#[path = "support/kube.rs"]
mod cluster;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use cluster::{ADMIN, Cluster, Ingress, ingress, service};
use support::{Authority, TlsClient, eventually, free_address};

const PREFIX: &str = "nginx.ingress.kubernetes.io";
const PATH: &str = "/networking/v1/ingresses";

/// A namespace of a cluster whose API server asks at `address` before an Ingress of it is written.
struct Scene {
    cluster: &'static Cluster,
    name: &'static str,
    address: SocketAddr,
}

impl Scene {
    fn new(name: &'static str) -> Scene {
        let cluster = Cluster::shared();
        cluster.prepare(name);
        cluster.apply(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "asks": name } },
        }));
        cluster.apply(service(name, "site", &[("web", 80)]));
        Scene { cluster, name, address: free_address() }
    }

    fn object(&self, policy: &str) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": self.name },
            "webhooks": [{
                "name": "validate.ingress.weir.test",
                "clientConfig": { "url": format!("https://{}{PATH}", self.address) },
                "rules": [{
                    "apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"],
                    "resources": ["ingresses"],
                }],
                "namespaceSelector": { "matchLabels": { "asks": self.name } },
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": policy, "timeoutSeconds": 10,
            }],
        })
    }

    /// Whom the API server trusts there.
    fn bundle(&self) -> Option<String> {
        let path = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{}", self.name);
        let object = self.cluster.get(&path);
        Some(object["webhooks"][0]["clientConfig"]["caBundle"].as_str()?.to_owned()).filter(|bundle| !bundle.is_empty())
    }

    /// With a certificate of Weir's own, once the API server knows of it.
    fn weir(&self, arguments: &[&str]) -> Ingress {
        self.cluster.apply(self.object("Fail"));
        let weir = self.spawn(arguments);
        eventually("the API server is told whom to trust", || self.bundle());
        self.wait_until_asked();
        weir
    }

    fn spawn(&self, arguments: &[&str]) -> Ingress {
        let webhook = format!("--validating-webhook={}", self.address);
        let configuration = format!("--validating-webhook-configuration={}", self.name);
        self.start(&[&[&*webhook, &configuration], arguments].concat())
    }

    fn start(&self, arguments: &[&str]) -> Ingress {
        let environment = [("POD_NAMESPACE", self.name), ("POD_NAME", "one")];
        let arguments = [&["--election-ttl=3s"], arguments].concat();
        let mut weir = Ingress::spawn_as(&self.cluster.kubeconfig(ADMIN), self.name, &arguments, &environment);
        weir.wait_until_ready();
        weir
    }

    /// Another one's object is let in where the webhook answers at all.
    #[track_caller]
    fn wait_until_asked(&self) {
        let mut probe = ingress(self.name, "probe", "probe.test", &[("/", "site", json!(80))]);
        probe["metadata"]["annotations"] = json!({ format!("{PREFIX}/proxy-body-size"): "lots" });
        eventually("the webhook is asked", || {
            let refused = self.cluster.try_apply(&probe).err()?.to_string();
            refused.contains("lots").then_some(())
        });
    }

    fn asking(&self, name: &str, host: &str, annotations: Value) -> Value {
        let mut object = ingress(self.name, name, host, &[("/", "site", json!(80))]);
        let annotations = annotations.as_object().cloned().unwrap_or_default();
        let annotations: Value =
            annotations.into_iter().map(|(key, value)| (format!("{PREFIX}/{key}"), value)).collect();
        object["metadata"]["annotations"] = annotations;
        object
    }

    #[track_caller]
    fn refused(&self, object: &Value) -> String {
        match self.cluster.try_apply(object) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it is let in: {object}"),
        }
    }
}

#[test]
fn what_could_not_be_served_as_it_is_written_is_refused_with_the_reason() {
    let scene = Scene::new("hook-refuses");
    let weir = scene.weir(&[]);
    let bad = |annotations: Value| scene.asking("bad", "bad.test", annotations);
    let of_type = |kind: &str, path: &str| {
        let mut object = bad(json!({}));
        object["spec"]["rules"][0]["http"]["paths"][0]["path"] = json!(path);
        object["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!(kind);
        object
    };
    for (object, reason) in [
        (bad(json!({ "proxy-read-timeout": "soon" })), "nginx.ingress.kubernetes.io/proxy-read-timeout: "),
        (
            bad(json!({ "whitelist-source-range": "10.0.0.0/99" })),
            "nginx.ingress.kubernetes.io/whitelist-source-range: ",
        ),
        (bad(json!({ "auth-type": "digest", "auth-secret": "users" })), "nginx.ingress.kubernetes.io/auth-type"),
        (
            bad(json!({ "configuration-snippet": "more_set_headers \"X-A: b\";" })),
            "snippets are not allowed (option allow-snippet-annotations)",
        ),
        (of_type("Prefix", "/a(b|c)"), "has signs that a path of this type may not have"),
    ] {
        let said = scene.refused(&object);
        assert!(said.contains("denied the request") && said.contains(reason), "{reason} is not in {said}");
    }
    // What it is not asked about, or does not serve, it lets in.
    let mut others = bad(json!({ "proxy-read-timeout": "soon" }));
    others["spec"]["ingressClassName"] = json!("somebody-elses");
    scene.cluster.apply(others.clone());
    scene.cluster.delete(&others);
    scene.cluster.apply(scene.asking("good", "good.test", json!({ "proxy-read-timeout": "30" })));
    assert!(!weir.log().contains("panicked"), "{}", weir.log());
}

#[test]
fn a_path_of_an_older_ingress_is_refused_unless_by_a_canary_and_ones_own_may_be_written_again() {
    let scene = Scene::new("hook-conflicts");
    let weir = scene.weir(&[]);
    let older = scene.asking("older", "shop.test", json!({}));
    scene.cluster.apply(older.clone());
    weir.answers("shop.test", "/", 503);
    let younger = scene.asking("younger", "shop.test", json!({}));
    let said = scene.refused(&younger);
    let reason =
        "spec.rules[0].http.paths[0]: shop.test/ belongs to the Ingress hook-conflicts/older, which comes first";
    assert!(said.contains(reason), "{said}");
    let mut own = older.clone();
    own["metadata"]["annotations"] = json!({ format!("{PREFIX}/proxy-read-timeout"): "30" });
    scene.cluster.apply(own);
    let mut canary = scene.asking("canary", "shop.test", json!({ "canary": "true", "canary-weight": "10" }));
    scene.cluster.apply(canary.clone());
    canary["metadata"]["annotations"][format!("{PREFIX}/canary")] = json!("false");
    assert!(scene.refused(&canary).contains("comes first"));
    // Another path of the host is nobody's.
    let mut other = younger.clone();
    other["spec"]["rules"][0]["http"]["paths"][0]["path"] = json!("/api");
    scene.cluster.apply(other);
    scene.cluster.delete(&older);
    eventually("its place is free", || scene.cluster.try_apply(&younger).ok());
}

#[test]
fn what_is_merely_not_honoured_is_let_in_with_a_warning() {
    let scene = Scene::new("hook-warns");
    let _weir = scene.weir(&[]);
    let mut object =
        scene.asking("warned", "warned.test", json!({ "enable-opentelemetry": "true", "prox-body-size": "1m" }));
    object["metadata"]["annotations"]["acme.weir/issuer"] = json!("nobody");
    let mut command = std::process::Command::new(cluster::program("kubectl"));
    let kubeconfig = scene.cluster.kubeconfig(ADMIN);
    command.env("KUBECONFIG", kubeconfig).args(["create", "--dry-run=server", "--filename=-"]);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("kubectl can be started");
    std::io::Write::write_all(&mut child.stdin.take().expect("it is piped"), object.to_string().as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for words in [
        "Warning: nginx.ingress.kubernetes.io/enable-opentelemetry",
        "did you mean \"proxy-body-size\"?",
        "there is no issuer \"nobody\": Weir was started without --acme-issuer",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    // What may still come is no reason to refuse.
    let waiting = scene.asking("waiting", "waiting.test", json!({ "auth-type": "basic", "auth-secret": "users" }));
    scene.cluster.apply(waiting);
}

#[test]
fn the_webhooks_own_policy_says_what_follows_where_nobody_answers() {
    let scene = Scene::new("hook-absent");
    scene.cluster.apply(scene.object("Fail"));
    let object = scene.asking("site", "site.test", json!({}));
    eventually("nothing is let in", || {
        scene.cluster.try_apply(&object).err().filter(|error| error.to_string().contains("failed calling webhook"))
    });
    scene.cluster.apply(scene.object("Ignore"));
    eventually("everything is let in", || scene.cluster.try_apply(&object).ok());
}

#[test]
fn a_certificate_that_is_lost_is_made_anew_while_it_serves_and_every_replica_shows_it() {
    let scene = Scene::new("hook-own");
    let weir = scene.weir(&[]);
    let shown = |address| TlsClient::trusting_anyone(&[b"http/1.1"]).certificate_for(address, "127.0.0.1");
    let first = (scene.bundle(), shown(scene.address));
    // A second replica, which does not lead.
    let second =
        Scene { address: free_address(), ..Scene { cluster: scene.cluster, name: scene.name, address: scene.address } };
    let _replica = second.spawn(&[]);
    eventually("the other replica shows it, too", || (try_shown(second.address)? == first.1).then_some(()));
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "hook-own", "name": "hook-own-webhook" } });
    scene.cluster.delete(&secret);
    eventually("another one is made, told of and shown", || {
        (scene.bundle()? != first.0.clone()? && shown(scene.address) != first.1).then_some(())
    });
    eventually("the other replica follows", || (try_shown(second.address)? == shown(scene.address)).then_some(()));
    scene.wait_until_asked();
    // Whoever applies the manifest again takes the bundle out.
    let mut object = scene.object("Fail");
    object["webhooks"][0]["clientConfig"]["caBundle"] = Value::Null;
    scene.cluster.apply(object);
    eventually("the API server is told again", || scene.bundle());
    assert!(!weir.log().contains("panicked"));
}

fn try_shown(address: SocketAddr) -> Option<Vec<u8>> {
    let client = TlsClient::trusting_anyone(&[b"http/1.1"]);
    client.connect(address, "127.0.0.1").ok()?;
    Some(client.certificate_for(address, "127.0.0.1"))
}

#[test]
fn files_are_shown_and_followed() {
    let scene = Scene::new("hook-files");
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let (cert, key) = first.issue(&["127.0.0.1"]).write(folder.path(), "hook");
    let arguments = [
        format!("--validating-webhook={}", scene.address),
        format!("--validating-webhook-certificate={}", cert.display()),
        format!("--validating-webhook-key={}", key.display()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let weir = scene.start(&arguments);
    let client = first.client();
    let mut kept = client.connect(scene.address, "127.0.0.1").expect("it is shown");
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "7", "kind": { "group": "networking.k8s.io", "version": "v1", "kind": "Ingress" }, "operation": "DELETE",
    } });
    let mut ask = |target: &str, body: &str| {
        kept.write(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        kept.read_response()
    };
    let answer = ask(PATH, &review.to_string());
    assert_eq!((answer.status, answer.text().contains("\"allowed\":true")), (200, true));
    assert_eq!(ask(PATH, "{}").status, 400);
    assert_eq!(ask("/", "{}").status, 404);
    second.issue(&["127.0.0.1"]).write(folder.path(), "hook");
    eventually("the new one is shown", || second.client().connect(scene.address, "127.0.0.1").ok().map(drop));
    assert_eq!(ask(PATH, &review.to_string()).status, 200, "who was connected stays so");
    std::fs::write(&cert, "broken").expect("it can be written");
    eventually("it is told", || weir.log().contains("what was shown before is shown on").then_some(()));
    second.client().connect(scene.address, "127.0.0.1").expect("it goes on");
    // A body without end is cut off.
    let mut large = second.client().connect(scene.address, "127.0.0.1").expect("it goes on");
    large.write(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"));
    large.write("x".repeat((8 << 20) + 1));
    assert_eq!(large.read_response().status, 413);
}

/// As many Ingresses as `WEIR_SCALE` says (2,000).
#[test]
fn a_verdict_comes_soon_however_many_there_are() {
    let count: usize = std::env::var("WEIR_SCALE").map_or(2_000, |count| count.parse().expect("a number"));
    let cluster = Cluster::start();
    cluster.prepare("hook-many");
    cluster.apply(service("hook-many", "site", &[("web", 80)]));
    let site =
        |n: usize| ingress("hook-many", &format!("site-{n}"), &format!("site-{n}.test"), &[("/", "site", json!(80))]);
    cluster.apply_all((0..count).map(site).collect());
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("many");
    let (cert, key) = authority.issue(&["127.0.0.1"]).write(folder.path(), "hook");
    let address = free_address();
    let arguments = [
        format!("--validating-webhook={address}"),
        format!("--validating-webhook-certificate={}", cert.display()),
        format!("--validating-webhook-key={}", key.display()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let weir = Ingress::start_slowly(&cluster, "hook-many", &arguments, Duration::from_secs(120));
    let mut connection = authority.client().connect(address, "127.0.0.1").expect("it is shown");
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..300 {
        // Every third wants what another one has.
        let mut object = site(count + n);
        object["spec"]["rules"][0]["host"] = json!(format!("site-{}.test", if n % 3 == 0 { n } else { count + n }));
        let kind = json!({ "group": "networking.k8s.io", "version": "v1", "kind": "Ingress" });
        let request = json!({ "uid": "7", "kind": kind, "operation": "CREATE", "object": object });
        let body =
            json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request }).to_string();
        let begun = Instant::now();
        connection.write(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let answer = connection.read_response();
        took.push(begun.elapsed());
        let allowed = if n % 3 == 0 { "\"allowed\":false" } else { "\"allowed\":true" };
        assert!(answer.text().contains(allowed), "{}", answer.text());
    }
    took.sort();
    println!(
        "{count} Ingresses: a verdict after {:?} (half), {:?} (99 of 100), {} KiB",
        took[150],
        took[296],
        weir.resident_kib()
    );
    // A hundredth of that, where the machine has nothing else to do.
    assert!(took[296] < Duration::from_secs(1), "{:?}", took[296]);
}
