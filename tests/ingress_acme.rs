//! Certificates that Weir has issued for Ingresses itself, from a real authority (Pebble), on a real API server.
//!
//! ```text
//! Ingress: acme.weir/issuer ──► who leads orders ──► Pebble ──looks──► any replica
//!                                       └──► Secret ──watch──► every replica serves it
//! ```

#[allow(dead_code)]
#[path = "support/kube.rs"]
mod cluster;
mod support;

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use cluster::{ADMIN, Cluster, Ingress, LIMITED, endpoint_address, enter_network, ingress, service, slice, tls_secret};
use support::{
    Answer, Authority, Origin, Pebble, PebbleSettings, Signal, TlsClient, Weir, eventually, free_address, free_port,
    holds_for, request, weir_command,
};

const ISSUER: &str = "acme.weir/issuer";
const CHALLENGES: &str = "weir-acme-challenges";

/// A namespace of one cluster, an authority, and what is asked of it.
struct Scene {
    cluster: &'static Cluster,
    namespace: &'static str,
    pebble: Pebble,
    _site: Origin,
}

impl Scene {
    fn new(namespace: &'static str, settings: PebbleSettings) -> Scene {
        let cluster = Cluster::shared();
        enter_network();
        cluster.prepare(namespace);
        let address = endpoint_address();
        let site = Origin::named_at(address, "site");
        cluster.apply(service(namespace, "site", &[("web", 80)]));
        cluster.apply(slice(namespace, "site", ("web", address.port()), &[address.ip()]));
        Scene { cluster, namespace, pebble: Pebble::start(settings), _site: site }
    }

    /// `--acme-issuer` for its authority, with more keys.
    fn issuer(&self, more: &str) -> String {
        let (directory, ca) = (self.pebble.directory(), self.pebble.ca());
        format!("--acme-issuer=pebble,directory={directory},ca={},email=ops@a.test{more}", ca.display())
    }

    /// Where the authority looks.
    fn ports(&self) -> [String; 2] {
        let settings = &self.pebble.settings;
        [format!("--http-port={}", settings.http_port), format!("--https-port={}", settings.tls_port)]
    }

    /// One replica, where the authority looks.
    fn weir(&self, more: &str) -> Ingress {
        let [http, https] = self.ports();
        self.replica("one", &[&http, &https, &self.issuer(more)])
    }

    fn replica(&self, name: &str, arguments: &[&str]) -> Ingress {
        let own = ["--watch-namespace", self.namespace, "--election-ttl=3s", "--publish-status-address=192.0.2.1"];
        let arguments: Vec<&str> = own.iter().chain(arguments).copied().collect();
        let environment = [("POD_NAME", name), ("POD_NAMESPACE", self.namespace)];
        let kubeconfig = self.cluster.kubeconfig(ADMIN);
        let mut weir = Ingress::spawn_as(&kubeconfig, self.namespace, &arguments, &environment);
        weir.wait_until_ready();
        weir
    }

    /// Of the issuer, for `hosts`, into the Secret `secret`.
    fn asking(&self, name: &str, hosts: &[&str], secret: &str) -> Value {
        let mut object = ingress(self.namespace, name, hosts[0], &[("/", "site", json!(80))]);
        object["metadata"]["annotations"] = json!({ ISSUER: "pebble" });
        object["spec"]["tls"] = json!([{ "hosts": hosts, "secretName": secret }]);
        object
    }

    /// Waits until a client that trusts the authority alone is served; the certificate that it was shown.
    #[track_caller]
    fn served(&self, weir: &Ingress, host: &str) -> Vec<u8> {
        let client = self.pebble.client();
        eventually(&format!("a certificate for {host} is served"), || {
            let mut connection = client.connect(weir.https, host).ok()?;
            connection.write(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(connection.read_response().text(), "site");
            Some(client.certificate_for(weir.https, host))
        })
    }

    fn secrets(&self) -> Vec<Value> {
        let listed = self.cluster.get(&format!("/api/v1/namespaces/{}/secrets", self.namespace));
        listed["items"].as_array().expect("a list").clone()
    }

    fn secret(&self, name: &str) -> Option<Value> {
        self.secrets().into_iter().find(|secret| secret["metadata"]["name"] == name)
    }

    /// Of the Secrets that Weir keeps for itself, what stands under this key.
    fn kept(&self, key: &str) -> Vec<String> {
        let own = |secret: &Value| secret["type"] == "weir/state";
        let text = |secret: Value| decoded(&secret["data"][key]);
        self.secrets().into_iter().filter(own).filter_map(text).collect()
    }

    /// Tokens that every replica is to answer now, each with its answer.
    fn challenges(&self) -> Vec<(String, String)> {
        let data = self.secret(CHALLENGES).map(|secret| secret["data"].clone()).unwrap_or_default();
        let answer = |text: &Value| -> Option<String> {
            let challenge: Value = serde_json::from_str(&decoded(text)?).ok()?;
            Some(challenge["answer"].as_str()?.to_owned())
        };
        let each = data.as_object().into_iter().flatten();
        each.filter_map(|(token, text)| Some((token.clone(), answer(text)?))).collect()
    }

    /// What was told of an Ingress with this reason: its kind, and the words.
    fn told(&self, name: &str, reason: &str) -> Vec<(String, String)> {
        let listed = self.cluster.get(&format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace));
        let of = |event: &&Value| event["regarding"]["name"] == name && event["reason"] == reason;
        let words = |event: &Value| {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            (text("type"), text("note"))
        };
        listed["items"].as_array().expect("a list").iter().filter(of).map(words).collect()
    }

    #[track_caller]
    fn told_with(&self, name: &str, reason: &str, words: &str) -> (String, String) {
        eventually(&format!("an Event {reason} with {words:?}"), || {
            self.told(name, reason).into_iter().find(|(_, note)| note.contains(words))
        })
    }

    fn leader(&self) -> Option<String> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace);
        let leases = self.cluster.get(&path);
        let lease =
            leases["items"].as_array()?.iter().find(|lease| lease["metadata"]["name"] == self.namespace)?.clone();
        let (pod, _) = lease["spec"]["holderIdentity"].as_str()?.split_once('_')?;
        Some(pod.to_owned())
    }
}

fn decoded(text: &Value) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(text.as_str()?).ok()?).ok()
}

fn metric(weir: &Ingress, line: &str) -> Option<f64> {
    let text = weir.admin("/metrics").text();
    text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn an_annotated_ingress_gets_a_certificate_and_what_is_kept_is_the_clusters() {
    let scene = Scene::new("acme-issue", PebbleSettings::default());
    let weir = scene.weir("");
    scene.cluster.apply(scene.asking("shop", &["a.test", "www.a.test"], "shop-tls"));
    let leaf = scene.served(&weir, "a.test");
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).expect("a certificate");
    let names = parsed.subject_alternative_name().expect("it can be read").expect("it has names");
    let mut names: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["DNSName(a.test)", "DNSName(www.a.test)"]);

    let secret = scene.secret("shop-tls").expect("the Secret");
    assert_eq!(
        (&secret["type"], &secret["metadata"]["labels"][ISSUER]),
        (&json!("kubernetes.io/tls"), &json!("pebble"))
    );
    let (kind, note) = scene.told_with("shop", "Issued", "it is valid until 20");
    assert_eq!(kind, "Normal");
    let issued = "pebble issued the certificate of the Secret acme-issue/shop-tls for a.test, www.a.test";
    assert!(note.starts_with(issued), "{note}");
    assert!(scene.told("shop", "InvalidSecret").is_empty(), "a Secret on its way is nothing wrong");
    assert!(scene.kept("account").iter().any(|account| account.contains("ops@a.test")), "the account has its address");
    eventually("answers are taken back", || scene.challenges().is_empty().then_some(()));
    assert_eq!((scene.pebble.orders(), scene.pebble.accounts()), (1, 1));
    let orders = "weir_acme_orders_total{certificate=\"acme-issue/shop-tls\",result=\"issued\"}";
    assert_eq!(metric(&weir, orders), Some(1.0), "{}", weir.admin("/metrics").text());
    assert!(
        weir.admin("/metrics")
            .text()
            .contains("weir_certificate_not_after_seconds{certificate=\"secret/acme-issue/shop-tls")
    );
}

#[test]
fn who_orders_a_certificate_lists_it_and_renews_it_when_it_is_told_to() {
    let scene = Scene::new("acme-told", PebbleSettings::default());
    let weir = scene.weir("");
    scene.cluster.apply(scene.asking("shop", &["a.test"], "tls"));
    let first = scene.served(&weir, "a.test");
    let certs = |arguments: &[&str]| {
        let output = weir_command().arg("certs").args(arguments).args(["--admin", &weir.admin.to_string()]).output();
        let output = output.expect("weir certs runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let listed = certs(&[]);
    assert!(listed.contains("acme-told/tls") && listed.contains("by http-01 (held)"), "{listed}");
    let said = certs(&["renew", "acme-told/other"]);
    assert!(said.contains("no certificate \"acme-told/other\" is ordered; there are: acme-told/tls"), "{said}");
    certs(&["renew", "acme-told/tls"]);
    eventually("another one is served", || {
        (TlsClient::trusting_anyone(&[b"http/1.1"]).certificate_for(weir.https, "a.test") != first).then_some(())
    });
}

#[test]
fn every_replica_answers_and_when_the_leader_dies_another_goes_on_with_its_order() {
    let scene = Scene::new("acme-three", PebbleSettings { sleep: Some(6), ..PebbleSettings::default() });
    let issuer = scene.issuer("");
    let [http, https] = scene.ports();
    let first = scene.replica("one", &[&issuer]);
    eventually("the first one leads", || (scene.leader()? == "one").then_some(()));
    // The authority asks one that does not lead.
    let replicas = [scene.replica("two", &[&issuer]), scene.replica("three", &[&http, &https, &issuer])];
    scene.cluster.apply(scene.asking("shop", &["a.test"], "shop-tls"));
    let (token, answer) = eventually("a challenge stands in the cluster", || scene.challenges().pop());
    let target = format!("/.well-known/acme-challenge/{token}");
    for weir in [&first, &replicas[0], &replicas[1]] {
        let told = eventually("the token is answered", || {
            Some(request(weir.http, "GET", &target).host("a.test").send()).filter(|told| told.status == 200)
        });
        assert_eq!(told.text(), answer);
    }
    assert!(!scene.kept("order").is_empty(), "the order is kept");
    first.signal(Signal::Kill);
    drop(first);
    let leaf = scene.served(&replicas[0], "a.test");
    assert_eq!(scene.served(&replicas[1], "a.test"), leaf, "every replica serves it");
    assert_eq!((scene.pebble.orders(), scene.pebble.issued()), (1, 1), "{}", scene.pebble.log());
    assert_ne!(scene.leader().expect("somebody leads"), "one");
    eventually("the order is over", || (scene.kept("order").is_empty() && scene.challenges().is_empty()).then_some(()));
}

#[test]
fn it_is_renewed_in_time_until_nobody_asks_for_it_and_then_it_stays() {
    let settings = PebbleSettings { lifetime: Duration::from_secs(12), ..PebbleSettings::default() };
    let scene = Scene::new("acme-renew", settings);
    let weir = scene.weir(",renew-before=8s");
    let mut asking = scene.asking("shop", &["a.test"], "shop-tls");
    scene.cluster.apply(asking.clone());
    let first = scene.served(&weir, "a.test");
    eventually("another one is served", || {
        (TlsClient::trusting_anyone(&[b"http/1.1"]).certificate_for(weir.https, "a.test") != first).then_some(())
    });
    asking["metadata"]["annotations"] = json!({});
    scene.cluster.apply(asking);
    // One that is under way may still come.
    let mut last = (scene.pebble.issued(), std::time::Instant::now());
    eventually("nothing more is ordered", || {
        if scene.pebble.issued() != last.0 {
            last = (scene.pebble.issued(), std::time::Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(6)).then_some(())
    });
    assert!(scene.secret("shop-tls").is_some(), "the Secret stays");
}

#[test]
fn a_secret_of_somebody_else_is_left_alone_and_one_that_is_deleted_is_ordered_anew() {
    let scene = Scene::new("acme-others", PebbleSettings::default());
    let others = Authority::new("others").issue(&["a.test"]);
    let secret = tls_secret(scene.namespace, "shop-tls", &others.cert, &others.key);
    scene.cluster.apply(secret.clone());
    let weir = scene.weir("");
    scene.cluster.apply(scene.asking("shop", &["a.test"], "shop-tls"));
    let (kind, _) = scene.told_with("shop", "IssuanceFailed", "was not made by Weir and is left alone; delete it");
    assert_eq!(kind, "Warning");
    let client = TlsClient::trusting_anyone(&[b"http/1.1"]);
    assert_eq!(client.certificate_for(weir.https, "a.test"), others.der(), "and served");
    assert_eq!(scene.pebble.orders(), 0);

    scene.cluster.delete(&secret);
    let first = scene.served(&weir, "a.test");
    assert_ne!(first, others.der());
    scene.cluster.delete(&secret);
    eventually("another one is served", || {
        let shown = client.certificate_for(weir.https, "a.test");
        (shown != first && scene.pebble.issued() == 2).then_some(())
    });
    scene.served(&weir, "a.test");
}

#[test]
fn names_that_two_ingresses_share_are_ordered_once() {
    let scene = Scene::new("acme-shared", PebbleSettings::default());
    let weir = scene.weir("");
    let other = "acme-shared-other";
    scene.cluster.apply(scene.asking("one", &["a.test"], "tls"));
    scene.served(&weir, "a.test");
    scene.cluster.apply(scene.asking("two", &["a.test"], "tls"));
    scene.cluster.apply(scene.asking("three", &["a.test"], other));
    scene.told_with("three", "Conflict", "a.test is in the certificate of the Secret acme-shared/tls");
    holds_for(Duration::from_secs(1), "one order", || scene.pebble.orders() == 1);
    assert!(scene.secret(other).is_none());
}

#[test]
fn an_external_account_is_bound_by_a_secret_and_tls_alpn_01_proves_names_as_well() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let settings = PebbleSettings { external_accounts: vec![("kid-1", key)], ..PebbleSettings::default() };
    let scene = Scene::new("acme-account", settings);
    let weir = scene.weir(",challenge=tls-alpn-01,key=rsa-2048,key-id=kid-1,hmac-secret=account");
    scene.cluster.apply(scene.asking("shop", &["a.test"], "tls"));
    scene.told_with("shop", "IssuanceFailed", "Secret acme-account/account: there is no such Secret");
    scene.cluster.apply(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": scene.namespace, "name": "account" },
        "stringData": { "hmac-key": key },
    }));
    // Whoever mended something starts Weir again, or waits.
    drop(weir);
    forget_failures(&scene);
    let weir = scene.weir(",challenge=tls-alpn-01,key=rsa-2048,key-id=kid-1,hmac-secret=account");
    let leaf = scene.served(&weir, "a.test");
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).expect("a certificate");
    assert_eq!(parsed.public_key().algorithm.algorithm.to_id_string(), "1.2.840.113549.1.1.1", "the key is RSA's");
}

fn forget_failures(scene: &Scene) {
    for secret in scene.secrets().iter().filter(|secret| secret["data"]["progress"].is_string()) {
        let name = &secret["metadata"]["name"];
        let metadata = json!({ "namespace": scene.namespace, "name": name });
        scene.cluster.delete(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata }));
    }
}

#[test]
fn a_failure_is_told_and_what_comes_after_it_waits_as_long_as_it_would_have() {
    let scene = Scene::new("acme-fails", PebbleSettings::default());
    // Nobody can be reached there.
    scene.pebble.resolve("lost.test", "192.0.2.9");
    let weir = scene.weir("");
    scene.cluster.apply(scene.asking("lost", &["lost.test"], "lost-tls"));
    let (kind, note) =
        scene.told_with("lost", "IssuanceFailed", "is port 80 published, and does lost.test point here?");
    assert_eq!(kind, "Warning");
    assert!(
        note.starts_with(
            "the certificate of the Secret acme-fails/lost-tls for lost.test could not be had from pebble: "
        )
    );
    assert_eq!(weir.admin("/readyz").status, 200, "nobody waits for it");
    let failed = "weir_acme_failures_in_a_row{certificate=\"acme-fails/lost-tls\"}";
    assert!(metric(&weir, failed).is_some_and(|count| count >= 1.0));
    drop(weir);
    let orders = scene.pebble.orders();
    let weir = scene.weir("");
    eventually("the next one leads", || weir.log().contains("this replica leads").then_some(()));
    holds_for(Duration::from_secs(3), "the failure of another process counts", || scene.pebble.orders() == orders);
}

/// Pebble's directory, but that orders are asked of somebody who has had too many.
fn limited(pebble: &Pebble) -> (String, Origin, Weir) {
    let problem = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many new orders recently"}"#;
    let head = format!("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: {}", problem.len());
    let orders = Origin::start(move |_| Answer::Send(format!("{head}\r\n\r\n{problem}").into_bytes()));
    let (address, asked) = (free_address(), orders.address);
    let url = |path: &str| format!("https://localhost:{}{path}", address.port());
    let mut directory = pebble.directory_object();
    directory["newOrder"] = json!(url("/order"));
    let identity = pebble.identity_for_a_front();
    let file = format!(
        "listeners: {{ front: {{ address: \"{address}\", tls: {{}} }} }}\n\
         certificates: [{{ file: {{ cert: front.crt, key: front.key }} }}]\n\
         upstreams: {{ orders: {{ endpoints: [ \"{asked}\" ] }} }}\n\
         hosts: [{{ names: [localhost], routes: [ \
           {{ exact: /dir, respond: {{ headers: {{ content-type: application/json }}, body: '{directory}' }} }}, \
           {{ exact: /order, upstream: orders }} ] }}]\n"
    );
    let front = Weir::start_with(&file, &[("front.crt", &identity.cert), ("front.key", &identity.key)]);
    (url("/dir"), orders, front)
}

#[test]
fn an_authority_that_has_had_too_much_is_left_alone_by_whoever_leads_next() {
    let scene = Scene::new("acme-limited", PebbleSettings::default());
    let (directory, orders, _front) = limited(&scene.pebble);
    let issuer = format!("--acme-issuer=pebble,directory={directory},ca={}", scene.pebble.ca().display());
    let weir = scene.replica("one", &[&issuer]);
    scene.cluster.apply(scene.asking("first", &["a.test"], "first-tls"));
    scene.told_with("first", "IssuanceFailed", "has had too many requests for this: too many new orders recently");
    let asked = orders.received().len();
    scene.cluster.apply(scene.asking("second", &["b.test"], "second-tls"));
    let pauses =
        |progress: &String| progress.contains("\"not-before\":\"20") && progress.contains("\"last-error\":null");
    eventually("it is written down for others", || scene.kept("progress").iter().any(pauses).then_some(()));
    weir.signal(Signal::Kill);
    drop(weir);
    let weir = scene.replica("two", &[&issuer]);
    eventually("the next one knows", || {
        weir.log().contains("the authority wants to be left alone, as another replica was told").then_some(())
    });
    holds_for(Duration::from_secs(3), "nobody asks it", || orders.received().len() == asked);
}

#[test]
fn a_directory_that_is_none_and_an_issuer_that_is_none_are_told() {
    let scene = Scene::new("acme-nowhere", PebbleSettings::default());
    let weir =
        scene.replica("one", &[&format!("--acme-issuer=pebble,directory=https://localhost:{}/dir", free_port())]);
    scene.cluster.apply(scene.asking("shop", &["a.test"], "tls"));
    scene.told_with("shop", "IssuanceFailed", "is the URL right, is the network there");
    let mut nobody = scene.asking("nobody", &["b.test"], "nobody");
    nobody["metadata"]["annotations"] = json!({ ISSUER: "nobody" });
    scene.cluster.apply(nobody);
    scene.told_with("nobody", "IssuanceFailed", "there is no issuer \"nobody\"; there are: pebble");
    assert_eq!(weir.get("a.test", "/").status, 308, "served all the same");
    drop(weir);
    let _weir = scene.replica("one", &[]);
    scene.told_with("shop", "IssuanceFailed", "there is no issuer \"pebble\": Weir was started without --acme-issuer");
}

#[test]
fn a_role_of_one_namespace_is_enough() {
    let scene = Scene::new("acme-role", PebbleSettings::default());
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let watch = ["get", "list", "watch"];
    scene.cluster.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "namespace": scene.namespace, "name": "weir" },
        "rules": [
            rule("", &["services", "configmaps"], &watch),
            rule("", &["secrets"], &["get", "list", "watch", "create", "update"]),
            rule("discovery.k8s.io", &["endpointslices"], &watch),
            rule("networking.k8s.io", &["ingresses"], &watch),
            rule("networking.k8s.io", &["ingresses/status"], &["patch"]),
            rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
            rule("events.k8s.io", &["events"], &["create", "get", "patch"]),
        ],
    }));
    scene.cluster.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "namespace": scene.namespace, "name": "weir" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "weir" },
        "subjects": [{ "kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io" }],
    }));
    let mut asking = scene.asking("shop", &["a.test"], "tls");
    asking["spec"]["ingressClassName"] = Value::Null;
    asking["metadata"]["annotations"] = json!({ ISSUER: "pebble", "kubernetes.io/ingress.class": "acme-role" });
    scene.cluster.apply(asking);
    let [http, https] = scene.ports();
    let issuer = scene.issuer("");
    let arguments = ["--watch-namespace=acme-role", "--publish-status-address=192.0.2.1", &http, &https, &issuer];
    let environment = [("POD_NAMESPACE", "acme-role")];
    let kubeconfig = scene.cluster.kubeconfig(LIMITED);
    let mut weir = Ingress::spawn_as(&kubeconfig, scene.namespace, &arguments, &environment);
    weir.wait_until_ready();
    scene.served(&weir, "a.test");
}

/// As cert-manager makes them, one for each name that it is to prove, beside an Ingress that redirects to https.
#[test]
fn the_solver_ingresses_of_cert_manager_are_served_for_as_long_as_they_stand() {
    let scene = Scene::new("acme-solver", PebbleSettings::default());
    let (cluster, namespace) = (scene.cluster, scene.namespace);
    let identity = Authority::new("solver").issue(&["a.test"]);
    cluster.apply(tls_secret(namespace, "tls", &identity.cert, &identity.key));
    let mut shop = ingress(namespace, "shop", "a.test", &[("/", "site", json!(80))]);
    shop["metadata"]["annotations"] = json!({
        "cert-manager.io/cluster-issuer": "letsencrypt", "nginx.ingress.kubernetes.io/whitelist-source-range": "192.0.2.0/24",
    });
    shop["spec"]["tls"] = json!([{ "hosts": ["a.test"], "secretName": "tls" }]);
    cluster.apply(shop);
    let address = endpoint_address();
    let _solver = Origin::named_at(address, "token.thumbprint");
    cluster.apply(service(namespace, "cm-acme-http-solver-x7k2p", &[("http", 8089)]));
    cluster.apply(slice(namespace, "cm-acme-http-solver-x7k2p", ("http", address.port()), &[address.ip()]));
    let weir = scene.replica("one", &[]);
    let target = "/.well-known/acme-challenge/token";
    weir.answers("a.test", target, 308);
    let backend = json!({ "service": { "name": "cm-acme-http-solver-x7k2p", "port": { "number": 8089 } } });
    let path = json!({ "path": target, "pathType": "ImplementationSpecific", "backend": backend });
    let solver = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "namespace": namespace, "name": "cm-acme-http-solver-9xw4n", "annotations": {
            "nginx.ingress.kubernetes.io/whitelist-source-range": "0.0.0.0/0,::/0",
        } },
        "spec": { "ingressClassName": namespace, "rules": [{ "host": "a.test", "http": { "paths": [path] } }] },
    });
    cluster.apply(solver.clone());
    weir.shows("a.test", target, "token.thumbprint");
    cluster.delete(&solver);
    weir.answers("a.test", target, 308);
    assert!(scene.told("shop", "IssuanceFailed").is_empty(), "it is cert-manager's business");
}
