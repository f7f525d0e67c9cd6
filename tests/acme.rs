//! Certificates from a real ACME authority (Pebble): ordered, served, renewed, shared.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{
    Answer, Authority, Knot, Origin, Pebble, PebbleSettings, SECRET, Signal, TlsClient, Weir, eventually, free_address,
    request, weir_command,
};

/// An authority, and the ports where it looks.
struct Scene {
    pebble: Arc<Pebble>,
    origin: Origin,
    http: SocketAddr,
    https: SocketAddr,
}

impl Scene {
    fn new(settings: PebbleSettings) -> Scene {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (http, https) = (at(settings.http_port), at(settings.tls_port));
        Scene { pebble: Arc::new(Pebble::start(settings)), origin: Origin::named("origin"), http, https }
    }

    /// The same authority, and ports where it does not look.
    fn beside(other: &Scene) -> Scene {
        let pebble = other.pebble.clone();
        Scene { pebble, origin: Origin::named("origin"), http: free_address(), https: free_address() }
    }

    /// A file with these keys under `acme`, and these certificates.
    fn file(&self, acme: &str, certificates: &[&str]) -> String {
        let (http, https) = (self.http, self.https);
        let listeners = format!(
            "listeners:\n  http: {{ address: \"{http}\", filters: [https-redirect, {{ deny: [127.0.0.1] }}] }}\n  \
             https: {{ address: \"{https}\", tls: {{}} }}\n"
        );
        let list: String = certificates.iter().map(|entry| format!("  - acme: {{ {entry} }}\n")).collect();
        let list = if list.is_empty() { String::new() } else { format!("certificates:\n{list}") };
        let routes = Weir::forwarding_to(&[self.origin.address], "");
        format!("{listeners}{}{list}{routes}", self.pebble.keys(acme))
    }

    fn weir(&self, acme: &str, certificates: &[&str]) -> Weir {
        Weir::start(&self.file(acme, certificates))
    }

    /// Waits until a client that trusts the authority alone is served for `name`; the certificate that it was shown.
    #[track_caller]
    fn served(&self, name: &str) -> Vec<u8> {
        let client = self.pebble.client();
        eventually(&format!("a certificate for {name} is served"), || {
            let mut connection = client.connect(self.https, name).ok()?;
            connection.write(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            assert_eq!(connection.read_response().text(), "origin");
            Some(client.certificate_for(self.https, name))
        })
    }

    fn shown(&self, name: &str) -> Vec<u8> {
        TlsClient::trusting_anyone(&[b"http/1.1"]).certificate_for(self.https, name)
    }
}

fn names_of(leaf: &[u8]) -> Vec<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).expect("a certificate");
    let extension = parsed.subject_alternative_name().expect("it can be read").expect("it has names");
    let mut names: Vec<_> = extension.value.general_names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

fn certs(weir: &Weir, arguments: &[&str]) -> (bool, String) {
    let output = weir_command().arg("certs").args(arguments).args(["--admin", &weir.admin.to_string()]).output();
    let output = output.expect("weir certs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn http_01_is_answered_before_redirects_and_access_lists_and_the_certificate_is_served() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("", &["domains: [a.test, www.a.test]"]);
    let leaf = scene.served("a.test");
    assert_eq!(scene.served("www.a.test"), leaf, "one certificate for both");
    assert_eq!(names_of(&leaf), ["DNSName(a.test)", "DNSName(www.a.test)"]);
    let plain = |path: &str| request(scene.http, "GET", path).host("a.test").send().status;
    assert_eq!(plain("/"), 308, "for others nothing changed");
    assert_eq!(plain("/.well-known/acme-challenge/unknown"), 308, "a token that is not ours is routed as ever");
    assert!(
        std::fs::read_dir(weir.folder().join("acme/challenges")).unwrap().next().is_none(),
        "answers are taken back"
    );
    assert_eq!(weir.metric("weir_acme_orders_total", &["certificate=\"a.test\"", "result=\"issued\""]), Some(1.0));
    assert!(weir.metric("weir_certificate_not_after_seconds", &["certificate=\"acme/a.test\""]).unwrap() > 1.7e9);
}

#[test]
fn tls_alpn_01_is_answered_on_the_tls_listener() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("challenge: tls-alpn-01, key: rsa-2048", &["domains: [b.test]"]);
    let leaf = scene.served("b.test");
    assert!(certs(&weir, &["renew", "b.test"]).0);
    assert_ne!(scene.shown("b.test"), leaf, "it is renewed by the same challenge");
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert_eq!(parsed.public_key().algorithm.algorithm.to_id_string(), "1.2.840.113549.1.1.1", "the key is RSA's");
    // Who offers the protocol without being asked anything is let go.
    let client = TlsClient::trusting_anyone(&[b"acme-tls/1"]);
    assert!(client.connect(scene.https, "b.test").is_err(), "there is nothing to prove any more");
    eventually("it is held", || certs(&weir, &[]).1.contains("by tls-alpn-01 (held)").then_some(()));
}

#[test]
fn dns_01_gets_a_wildcard_and_its_base_name_together() {
    let knot = Knot::start("hmac-sha512", &[("w.test", "")]);
    let scene = Scene::new(PebbleSettings { dns: Some(knot.address), ..PebbleSettings::default() });
    let key = format!("key-name: weir., algorithm: hmac-sha512, secret-file: {}", knot.secret_file(SECRET).display());
    let server = knot.address;
    let dns =
        format!("dns: {{ rfc2136: {{ server: '{server}', {key} }} }}, dns-propagation: {{ servers: ['{server}'] }}");
    let weir = scene.weir(&dns, &["domains: ['*.w.test', w.test], challenge: dns-01, key: ecdsa-p384"]);
    let leaf = scene.served("any.w.test");
    assert_eq!(names_of(&leaf), ["DNSName(*.w.test)", "DNSName(w.test)"]);
    assert_eq!(scene.served("w.test"), leaf);
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let curve = parsed.public_key().algorithm.parameters.as_ref().unwrap().as_oid().unwrap().to_id_string();
    assert_eq!(curve, "1.3.132.0.34", "the key is on P-384");
    eventually("both records are taken back", || knot.ask("_acme-challenge.w.test", "TXT").is_empty().then_some(()));
    let (good, said) = certs(&weir, &["renew", "*.w.test"]);
    assert!(good, "{said}");
    assert_ne!(scene.shown("any.w.test"), leaf);
}

#[test]
fn rejected_nonces_and_slow_looks_only_cost_time() {
    let settings = PebbleSettings { rejected_nonces: 35, sleep: Some(1), ..PebbleSettings::default() };
    let scene = Scene::new(settings);
    let weir = scene.weir("", &["domains: [n.test]"]);
    scene.served("n.test");
    assert_eq!(weir.metric("weir_acme_orders_total", &["result=\"failed\""]), Some(0.0), "{}", weir.log());
}

#[test]
fn while_the_first_one_is_on_its_way_a_self_signed_one_is_shown_and_the_log_says_so() {
    let scene = Scene::new(PebbleSettings { sleep: Some(5), ..PebbleSettings::default() });
    scene.pebble.resolve_all_to(None);
    let weir = scene.weir("", &["domains: [later.test]"]);
    let shown = scene.shown("later.test");
    let (_, parsed) = x509_parser::parse_x509_certificate(&shown).unwrap();
    assert_eq!(parsed.issuer(), parsed.subject());
    eventually("the log tells", || {
        weir.log().contains("the certificate for this name is on its way; a self-signed one is shown").then_some(())
    });
    let (good, listed) = certs(&weir, &[]);
    assert!(!good && listed.contains("none yet: a self-signed certificate is shown"), "{listed}");
}

#[test]
fn a_name_that_cannot_be_proven_is_reported_in_words_and_tried_again_while_others_are_served() {
    let scene = Scene::new(PebbleSettings::default());
    // Nothing listens there.
    scene.pebble.resolve("lost.test", "127.9.9.9");
    let weir = scene.weir("retry: { first: 500ms, longest: 2s }", &["domains: [fine.test]", "domains: [lost.test]"]);
    let fine = scene.served("fine.test");
    let failed = || weir.metric("weir_acme_orders_total", &["certificate=\"lost.test\"", "result=\"failed\""]);
    eventually("three attempts have failed", || failed().filter(|count| *count >= 3.0));
    let (good, listed) = certs(&weir, &[]);
    assert!(!good, "an ailing certificate is an exit code");
    for words in [
        "the authority could not reach http://lost.test/.well-known/acme-challenge/…: ",
        "connection refused; is port 80 published, and does lost.test point here?",
        " in a row: ",
    ] {
        assert!(listed.contains(words), "{words:?} is not in {listed}");
    }
    assert!(weir.log().contains("a certificate could not be had; what is served is served on"));
    assert_eq!(scene.shown("fine.test"), fine);

    scene.pebble.resolve("lost.test", "127.0.0.1");
    scene.served("lost.test");
    eventually("nothing ails any more", || {
        let (good, listed) = certs(&weir, &[]);
        (good && !listed.contains("last error")).then_some(())
    });
}

#[test]
fn certificates_are_renewed_by_themselves_under_load_without_a_failed_handshake() {
    let scene = Scene::new(PebbleSettings { lifetime: Duration::from_secs(9), ..PebbleSettings::default() });
    let weir = scene.weir("renew-before: 6s", &["domains: [r.test]"]);
    let first = scene.served("r.test");
    let (client, https) = (scene.pebble.client(), scene.https);
    let mut open = client.connect(https, "r.test").unwrap();
    let end = Instant::now() + Duration::from_secs(9);
    let load: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || {
                let mut count = 0;
                while Instant::now() < end {
                    let mut connection = client.connect(https, "r.test").expect("no handshake fails");
                    connection.write("GET / HTTP/1.1\r\nHost: r.test\r\n\r\n");
                    assert_eq!(connection.read_response().status, 200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let handshakes: usize = load.into_iter().map(|thread| thread.join().expect("no failure")).sum();
    let issued = weir.metric("weir_acme_orders_total", &["result=\"issued\""]).unwrap();
    assert!(issued >= 3.0, "{issued} certificates in 9 s");
    assert!(handshakes > 100, "{handshakes}");
    assert_ne!(scene.shown("r.test"), first);
    open.write("GET / HTTP/1.1\r\nHost: r.test\r\n\r\n");
    assert_eq!(open.read_response().status, 200, "who was connected stays so");
}

#[test]
fn a_restart_serves_at_once_what_is_stored_and_orders_nothing() {
    let scene = Scene::new(PebbleSettings::default());
    let mut weir = scene.weir("", &["domains: [a.test]"]);
    let leaf = scene.served("a.test");
    let folder = weir.folder().join("acme");
    let live = folder.join("live/a.test/fullchain.pem");
    assert!(std::fs::read_to_string(&live).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let orders = scene.pebble.orders();
    weir.restart();
    assert_eq!(scene.shown("a.test"), leaf, "from the first handshake on");
    let (good, listed) = certs(&weir, &[]);
    assert!(good && listed.contains("(held)"), "{listed}");
    assert_eq!(scene.pebble.orders(), orders);
}

#[test]
fn a_process_killed_in_the_middle_of_an_order_goes_on_with_it() {
    let scene = Scene::new(PebbleSettings { sleep: Some(3), ..PebbleSettings::default() });
    let mut weir = scene.weir("", &["domains: [k.test]"]);
    let order = weir.folder().join("acme/orders/k.test.json");
    eventually("an order has begun", || order.exists().then_some(()));
    weir.signal(Signal::Kill);
    weir.wait_for_exit();
    weir.restart();
    scene.served("k.test");
    assert_eq!(scene.pebble.orders(), 1, "the order of before was gone on with");
    eventually("the order is over", || (!order.exists()).then_some(()));
}

/// A directory of its own in front of Pebble, for what Pebble does not do.
struct Front {
    address: SocketAddr,
    /// What the directory says otherwise.
    changes: Vec<(&'static str, String)>,
    /// The answer to /renewal-info.
    window: &'static str,
    /// Where /order is answered.
    orders: SocketAddr,
}

impl Front {
    fn new() -> Front {
        Front { address: free_address(), changes: Vec::new(), window: "{}", orders: free_address() }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn file(&self, pebble: &Pebble) -> String {
        let mut directory = pebble.directory_object();
        for (key, url) in &self.changes {
            directory[key] = url.as_str().into();
        }
        let (address, window, orders) = (self.address, self.window, self.orders);
        format!(
            "listeners: {{ front: {{ address: \"{address}\", tls: {{}} }} }}\n\
             certificates: [{{ file: {{ cert: front.crt, key: front.key }} }}]\n\
             upstreams: {{ orders: {{ endpoints: [ \"{orders}\" ] }} }}\n\
             hosts: [{{ names: [localhost], routes: [ \
               {{ exact: /dir, respond: {{ headers: {{ content-type: application/json }}, body: '{directory}' }} }}, \
               {{ path: /renewal-info, respond: {{ headers: {{ retry-after: \"3600\" }}, body: '{window}' }} }}, \
               {{ exact: /order, upstream: orders }} ] }}]\n"
        )
    }

    fn start(&self, pebble: &Pebble) -> Weir {
        let identity = pebble.identity_for_a_front();
        Weir::start_with(&self.file(pebble), &[("front.crt", &identity.cert), ("front.key", &identity.key)])
    }
}

/// An origin that is asked for orders, and refuses with this kind of problem.
fn refusing(kind: &'static str) -> Origin {
    Origin::start(move |_| {
        let body = format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\",\"detail\":\"no, {kind}\"}}");
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n", body.len());
        Answer::Send(format!("{head}{body}").into_bytes())
    })
}

/// What was signed: the payload of a JWS.
fn payload(body: &[u8]) -> String {
    let jws: serde_json::Value = serde_json::from_slice(body).expect("a JWS");
    let text = jws["payload"].as_str().expect("a payload");
    let mut command = std::process::Command::new("openssl");
    command.args(["base64", "-d", "-A"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed");
    let padded = text.replace('-', "+").replace('_', "/") + &"=".repeat(text.len().wrapping_neg() % 4);
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), padded.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).expect("text")
}

#[test]
fn a_profile_is_asked_for_and_one_that_is_not_there_is_named() {
    let scene = Scene::new(PebbleSettings::default());
    let authority = refusing("invalidProfile");
    let mut front = Front { orders: authority.address, ..Front::new() };
    front.changes = vec![("newOrder", front.url("/order"))];
    let _front = front.start(&scene.pebble);
    let file = scene.file("profile: shortlived", &["domains: [a.test]", "domains: [b.test], profile: tlsserver"]);
    let weir = Weir::start(&file.replace(&scene.pebble.directory(), &front.url("/dir")));
    eventually("the reason is told", || {
        certs(&weir, &[]).1.contains("does not have this profile: no, invalidProfile; mend acme.profile").then_some(())
    });
    authority.wait_for_requests(2);
    let asked: Vec<_> = authority.received().iter().map(|request| payload(&request.body)).collect();
    for (name, profile) in [("a.test", "shortlived"), ("b.test", "tlsserver")] {
        let wanted = format!("\"profile\":\"{profile}\"");
        assert!(asked.iter().any(|order| order.contains(name) && order.contains(&wanted)), "{asked:?}");
    }
}

#[test]
fn an_authority_that_does_not_know_what_is_replaced_is_asked_without_it() {
    let scene = Scene::new(PebbleSettings::default());
    let authority = refusing("malformed");
    let mut front = Front { orders: authority.address, ..Front::new() };
    front.changes = vec![("renewalInfo", front.url("/renewal-info"))];
    let front_weir = front.start(&scene.pebble);
    let file = scene.file("", &["domains: [a.test]"]).replace(&scene.pebble.directory(), &front.url("/dir"));
    let weir = Weir::start(&file);
    scene.served("a.test");
    front.changes.push(("newOrder", front.url("/order")));
    front_weir.reload(&front.file(&scene.pebble));
    let (good, said) = certs(&weir, &["renew", "a.test"]);
    assert!(!good && said.contains("refused (malformed): no, malformed"), "{said}");
    let asked: Vec<_> = authority.received().iter().map(|request| payload(&request.body)).collect();
    assert!(asked.len() >= 2 && asked[0].contains("\"replaces\":\""), "{asked:?}");
    assert!(!asked[1].contains("replaces"), "{asked:?}");
}

#[test]
fn a_certificate_is_renewed_when_the_authority_suggests() {
    let scene = Scene::new(PebbleSettings { lifetime: Duration::from_secs(60), ..PebbleSettings::default() });
    // By itself it would be renewed after 38 s at the earliest; a tenth of its life is waited in any case.
    let window = r#"{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}}"#;
    let mut front = Front { window, ..Front::new() };
    front.changes = vec![("renewalInfo", front.url("/renewal-info"))];
    let front_weir = front.start(&scene.pebble);
    let file = scene.file("", &["domains: [a.test]"]).replace(&scene.pebble.directory(), &front.url("/dir"));
    let weir = Weir::start(&file);
    let first = scene.served("a.test");
    eventually("it is renewed within ten seconds", || (scene.shown("a.test") != first).then_some(()));
    let asked = front_weir.metric("weir_requests_total", &["renewal-info", "code=\"200\""]);
    assert!(asked.is_some_and(|count| count >= 1.0), "the authority was asked");
    eventually("when to ask again is kept", || {
        let progress = std::fs::read_to_string(weir.folder().join("acme/progress/a.test.json")).ok()?;
        progress.contains("\"ask-again\": \"20").then_some(())
    });
}

#[test]
fn a_reload_of_acme_lets_no_handshake_find_less_than_there_was() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("", &["domains: [www.r.test, r.test]"]);
    let leaf = scene.served("r.test");
    let (client, https) = (scene.pebble.client(), scene.https);
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let load = std::thread::spawn(move || {
        let mut count = 0;
        while !told.load(Ordering::Relaxed) {
            client.connect(https, "r.test").expect("a certificate that the authority issued is shown");
            count += 1;
        }
        count
    });
    // Other lines, other settings, another name first: what there is is shown until there is better.
    for (round, entry) in ["www.r.test, r.test", "www.r.test, r.test", "r.test, www.r.test"].iter().enumerate() {
        let retry = format!("retry: {{ first: {}s, longest: 1h }}", round + 1);
        weir.reload(&format!("# a line\n{}", scene.file(&retry, &[&format!("domains: [{entry}]")])));
    }
    eventually("the certificate under its new name has come", || (scene.shown("r.test") != leaf).then_some(()));
    stop.store(true, Ordering::Relaxed);
    assert!(load.join().expect("no handshake failed") > 20);
}

#[test]
fn a_forced_renewal_that_fails_is_tried_again_until_it_is_done() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("retry: { first: 500ms, longest: 1s }", &["domains: [f.test]"]);
    let first = scene.served("f.test");
    scene.pebble.resolve("f.test", "127.9.9.9");
    let (good, said) = certs(&weir, &["revoke", "f.test"]);
    assert!(good, "{said}");
    // The authority may take a proof for good that it has had lately.
    let failed = || weir.metric("weir_acme_failures_in_a_row", &[]).is_some_and(|count| count >= 1.0);
    eventually("it fails, or has been done already", || (failed() || scene.shown("f.test") != first).then_some(()));
    scene.pebble.resolve("f.test", "127.0.0.1");
    eventually("another takes the place of the revoked one", || (scene.shown("f.test") != first).then_some(()));
    assert_eq!(scene.pebble.status_of(&first), "Revoked");
}

#[test]
fn an_account_follows_its_mail_address() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("", &["domains: [a.test]"]);
    scene.served("a.test");
    let account = || std::fs::read_dir(weir.folder().join("acme/accounts")).unwrap().next().unwrap().unwrap().path();
    let stored = || std::fs::read_to_string(account()).unwrap();
    assert!(stored().contains("ops@a.test"), "{}", stored());
    let moved = scene.file("", &["domains: [a.test]", "domains: [b.test]"]).replace("ops@a.test", "new@a.test");
    weir.reload(&moved);
    scene.served("b.test");
    assert!(stored().contains("new@a.test"), "{}", stored());
    assert_eq!(scene.pebble.accounts(), 1, "it is the same one");
}

#[test]
fn dns_01_by_a_program_of_the_operators() {
    let knot = Knot::start("hmac-sha256", &[("p.test", "")]);
    let scene = Scene::new(PebbleSettings { dns: Some(knot.address), ..PebbleSettings::default() });
    let address = knot.address;
    let script = format!(
        "#!/bin/sh\ncase $1 in present) verb=add ;; *) verb=del ;; esac\n\
         printf 'server {} {}\\nzone p.test.\\n%s %s. 60 TXT \"%s\"\\nsend\\n' $verb $2 $3 | knsupdate -v -y hmac-sha256:weir.:{SECRET}\n",
        address.ip(),
        address.port()
    );
    let dns = format!(
        "challenge: dns-01, dns: {{ exec: {{ command: [sh, ./dns.sh], timeout: 20s }} }}, \
         dns-propagation: {{ delay: 1s, servers: ['{address}'] }}"
    );
    let begun = Instant::now();
    let weir = Weir::start_with(&scene.file(&dns, &["domains: ['*.p.test']"]), &[("dns.sh", &script)]);
    scene.served("x.p.test");
    assert!(begun.elapsed() > Duration::from_secs(1), "the delay was waited for");
    eventually("the record is taken back", || knot.ask("_acme-challenge.p.test", "TXT").is_empty().then_some(()));
    let (good, json) = certs(&weir, &["--format", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(good && listed[0]["order"]["challenge"] == "dns-01" && listed[0]["names"][0] == "*.p.test", "{json}");
}

#[test]
fn an_operator_renews_and_revokes() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("", &["domains: [a.test]"]);
    let first = scene.served("a.test");
    let (good, said) = certs(&weir, &["renew", "a.test"]);
    assert!(good && said.contains("renewed; the next order is due 20"), "{said}");
    let second = scene.shown("a.test");
    assert_ne!(first, second);
    assert_eq!(scene.pebble.status_of(&second), "Valid");

    let (good, said) = certs(&weir, &["revoke", "a.test", "--reason", "key-compromise"]);
    assert!(good && said.contains("was revoked"), "{said}");
    assert_eq!(scene.pebble.status_of(&second), "Revoked");
    eventually("another takes its place", || (scene.shown("a.test") != second).then_some(()));

    let (good, said) = certs(&weir, &["renew", "a.test", "--wait", "0"]);
    assert!(!good && said.contains("not done after 0 s; it goes on"), "{said}");
    let (good, said) = certs(&weir, &["renew", "b.test"]);
    assert!(!good && said.contains("no certificate \"b.test\" is ordered; there are: a.test"), "{said}");
    let (good, said) = certs(&weir, &["revoke", "a.test", "--reason", "spite"]);
    assert!(!good && said.contains("there is no reason \"spite\""), "{said}");
}

#[test]
fn an_account_is_bound_to_another_one_and_used_again() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let accounts = vec![("kid-1", key)];
    let scene = Scene::new(PebbleSettings { external_accounts: accounts, ..PebbleSettings::default() });
    let bound = "external-account: { key-id: kid-1, hmac-file: hmac }, retry: { first: 300ms, longest: 1s }";
    let weir = Weir::start_with(&scene.file(bound, &["domains: [a.test]"]), &[("hmac", &format!("{key}\n"))]);
    scene.served("a.test");
    weir.reload(&scene.file(bound, &["domains: [a.test]", "domains: [b.test]"]));
    scene.served("b.test");
    assert_eq!(scene.pebble.accounts(), 1);

    let unbound = Scene::new(PebbleSettings { external_accounts: vec![("kid-1", key)], ..PebbleSettings::default() });
    let weir = unbound.weir("", &["domains: [a.test]"]);
    eventually("the reason is told", || {
        certs(&weir, &[]).1.contains("wants to know an account of its own").then_some(())
    });
    assert!(certs(&weir, &[]).1.contains("write acme.external-account"));
}

#[test]
fn an_account_that_the_authority_has_forgotten_is_made_anew() {
    let mut scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("retry: { first: 300ms, longest: 1s }", &["domains: [a.test]"]);
    scene.served("a.test");
    Arc::get_mut(&mut scene.pebble).unwrap().restart();
    let (good, said) = certs(&weir, &["renew", "a.test"]);
    assert!(good, "{said}");
    scene.served("a.test");
}

#[test]
fn two_processes_on_one_folder_order_once_and_answer_for_each_other() {
    let scene = Scene::new(PebbleSettings { sleep: Some(1), ..PebbleSettings::default() });
    let storage = tempfile::tempdir().unwrap();
    let shared = format!("storage: {}", storage.path().join("acme").display());
    // The second one alone stands where the authority looks.
    let elsewhere = Scene::beside(&scene);
    let text =
        |scene: &Scene| scene.file("", &["domains: [s.test]", "domains: [t.test]"]).replace("storage: acme", &shared);
    let (one, other) = (Weir::start(&text(&elsewhere)), Weir::start(&text(&scene)));
    for name in ["s.test", "t.test"] {
        let leaf = scene.served(name);
        let client = TlsClient::trusting_anyone(&[b"http/1.1"]);
        eventually("both serve it", || (client.certificate_for(elsewhere.https, name) == leaf).then_some(()));
    }
    assert_eq!(scene.pebble.issued(), 2, "one of them orders each: {}\n{}", one.log(), other.log());
    // A session that one began, the other resumes.
    let client = scene.pebble.client();
    assert_eq!(client.visit(elsewhere.https, "s.test"), (false, Some(200)));
    eventually("a session is resumed at the other one", || client.visit(scene.https, "s.test").0.then_some(()));
    // What one renews, the other serves.
    let before = scene.shown("s.test");
    assert!(certs(&one, &["renew", "s.test"]).0);
    eventually("the other serves it", || (scene.shown("s.test") != before).then_some(()));
}

#[test]
fn another_directory_and_other_names_are_ordered_anew_while_the_old_certificate_is_served() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("", &["domains: [a.test]"]);
    let first = scene.served("a.test");
    weir.reload(&scene.file("", &["domains: [a.test, more.test]"]));
    let second = scene.served("more.test");
    assert_eq!(names_of(&second), ["DNSName(a.test)", "DNSName(more.test)"]);
    assert_ne!(first, second);

    let production = Scene::new(PebbleSettings {
        http_port: scene.http.port(),
        tls_port: scene.https.port(),
        ..PebbleSettings::default()
    });
    weir.reload(&production.file("", &["domains: [a.test, more.test]"]));
    production.served("a.test");
    eventually("it is held", || certs(&weir, &[]).1.contains("(held)").then_some(()));
}

#[test]
fn who_mends_the_file_need_not_wait_for_what_failed_before() {
    let scene = Scene::new(PebbleSettings::default());
    scene.pebble.resolve("lost.test", "127.9.9.9");
    let weir = scene.weir("retry: { first: 1h, longest: 1h }", &["domains: [a.test, lost.test]"]);
    eventually("it has failed", || certs(&weir, &[]).1.contains("1 in a row").then_some(()));
    weir.reload(&scene.file("retry: { first: 1h, longest: 1h }", &["domains: [a.test]"]));
    scene.served("a.test");
}

#[test]
fn a_replaced_root_of_the_authority_is_taken_up() {
    let scene = Scene::new(PebbleSettings::default());
    let ca = std::fs::read_to_string(scene.pebble.ca()).unwrap();
    let file = scene.file("retry: { first: 1h, longest: 1h }", &["domains: [a.test]"]);
    let file = file.replace(&scene.pebble.ca().display().to_string(), "authority.crt");
    let other = Authority::new("another").pem();
    let weir = Weir::start_with(&file, &[("authority.crt", &other)]);
    eventually("it is not believed", || {
        certs(&weir, &[]).1.contains("does its certificate need acme.ca?").then_some(())
    });
    std::fs::write(weir.folder().join("authority.crt"), ca).unwrap();
    weir.wait_for_generation_after(1);
    assert!(certs(&weir, &["renew", "a.test"]).0);
    scene.served("a.test");
}

#[test]
fn a_reload_that_cannot_use_its_storage_changes_nothing() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("", &["domains: [a.test]"]);
    let leaf = scene.served("a.test");
    weir.write(&scene.file("", &["domains: [a.test]"]).replace("storage: acme", "storage: /proc/nowhere"));
    let refusal = weir.wait_for_refusal("acme.storage");
    assert!(refusal.contains("cannot be used: /proc/nowhere/accounts: "), "{refusal}");
    assert_eq!(scene.shown("a.test"), leaf);
}

#[test]
fn a_certificate_is_ordered_on_demand_where_the_application_allows_it() {
    let scene = Scene::new(PebbleSettings::default());
    let allow = |allowed: bool| Answer::status(if allowed { 200 } else { 404 }, "");
    let application = Origin::start(move |asked| allow(!asked.target.contains("no.test")));
    let ask = format!("http://{}/ask", application.address);
    let weir = scene.weir(&format!("on-demand: {{ ask: '{ask}', rate: 2/h }}"), &[]);
    // The very first handshake waits for it.
    let mut connection = scene.pebble.client().connect(scene.https, "yes.test").expect("the handshake waits");
    connection.write("GET / HTTP/1.1\r\nHost: yes.test\r\n\r\n");
    assert_eq!(connection.read_response().text(), "origin");
    assert!(scene.pebble.client().connect(scene.https, "no.test").is_err());
    eventually("the refusal is told", || weir.log().contains("no.test may not have a certificate").then_some(()));
    let asked = application.request_count();
    assert!(scene.pebble.client().connect(scene.https, "no.test").is_err());
    assert_eq!(application.request_count(), asked, "it was refused lately");
    // Names that the application does not know have not used the rate up; those that it knows do.
    scene.served("also.test");
    assert!(scene.pebble.client().connect(scene.https, "more.test").is_err());
    eventually("the rate is told of", || weir.log().contains("than acme.on-demand.rate allows").then_some(()));
    assert_eq!(scene.pebble.issued(), 2);
    assert_eq!(weir.metric("weir_acme_orders_total", &["certificate=\"on-demand\"", "result=\"issued\""]), Some(2.0));
    assert!(weir.metric("weir_certificate_not_after_seconds", &["acme/on-demand"]).is_some());
}
