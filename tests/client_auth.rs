//! Certificates of clients: who is let in, what upstreams are told, and that no connection carries a request to a host
//! which demands more than the connection was asked for.

mod support;

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use support::{
    Authority, Connection, H2Client, Identity, Origin, Response, TlsClient, Weir, eventually, free_address, request,
};

const H1: &[&[u8]] = &[b"http/1.1"];
const H2: &[&[u8]] = &[b"h2"];

const ALL_FIELDS: [&str; 7] = [
    "client-cert",
    "client-cert-chain",
    "x-client-verify",
    "x-client-subject",
    "x-client-issuer",
    "x-client-serial",
    "x-client-fingerprint",
];

struct Fixture {
    folder: tempfile::TempDir,
    /// Of the server's certificate, for every name under `.test`.
    authority: Authority,
    clients: Authority,
    origin: Origin,
    https: SocketAddr,
    http: SocketAddr,
}

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("servers"),
            clients: Authority::new("clients"),
            origin: Origin::named("origin"),
            https: free_address(),
            http: free_address(),
        };
        let names = ["open.test", "closed.test", "maybe.test", "new.test", "a.wild.test", "pub.wild.test"];
        fixture.authority.issue(&names).write(fixture.folder.path(), "server");
        std::fs::write(fixture.ca(), fixture.clients.pem()).unwrap();
        fixture
    }

    fn ca(&self) -> std::path::PathBuf {
        self.folder.path().join("clients.pem")
    }

    /// Hosts by name, with what stands under `tls` of each ("" is nothing).
    fn file(&self, listener_tls: &str, hosts: &[(&str, &str)]) -> String {
        let host = |(name, tls): &(&str, &str)| {
            let tls = if tls.is_empty() { String::new() } else { format!("tls: {{ {} }}, ", self.with_ca(tls)) };
            format!("  - {{ names: [\"{name}\"], {tls}routes: [{{ path: /, upstream: origin }}] }}\n")
        };
        format!(
            "listeners:\n  https: {{ address: \"{}\", tls: {{ {} }} }}\n  http: {{ address: \"{}\" }}\n\
             certificates: [{{ file: {{ cert: {folder}/server.crt, key: {folder}/server.key }} }}]\n\
             upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n{}",
            self.https,
            self.with_ca(listener_tls),
            self.http,
            self.origin.address,
            hosts.iter().map(host).collect::<String>(),
            folder = self.folder.path().display(),
        )
    }

    fn with_ca(&self, keys: &str) -> String {
        keys.replace("CA", &format!("\"{}\"", self.ca().display()))
    }

    fn weir(&self, listener_tls: &str, hosts: &[(&str, &str)]) -> Weir {
        Weir::start(&self.file(listener_tls, hosts))
    }

    fn stranger(&self) -> TlsClient {
        TlsClient::trusting(&self.authority, H1)
    }

    fn member(&self, alpn: &[&[u8]]) -> (Identity, TlsClient) {
        let identity = self.clients.issue(&["member"]);
        let client = TlsClient::showing(&identity, &self.authority, alpn);
        (identity, client)
    }

    /// Over a connection of its own, whose name is the host's.
    fn status(&self, client: &TlsClient, host: &str) -> Option<u16> {
        client.visit(self.https, host).1
    }
}

fn get(connection: &mut Connection, host: &str, fields: &str) -> Response {
    connection.write(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    connection.read_response()
}

#[test]
fn a_host_that_requires_a_certificate_serves_only_who_shows_a_good_one() {
    let fixture = Fixture::new();
    let _weir = fixture.weir("", &[("closed.test", "client-auth: { ca: CA }"), ("open.test", "")]);
    let (_, member) = fixture.member(H1);
    assert_eq!(fixture.status(&member, "closed.test"), Some(200));
    assert_eq!(fixture.status(&fixture.stranger(), "closed.test"), None);
    assert_eq!(fixture.status(&fixture.stranger(), "open.test"), Some(200), "its sibling asks for nothing");

    let elsewhere = Authority::new("elsewhere").issue(&["member"]);
    let elsewhere = TlsClient::showing(&elsewhere, &fixture.authority, H1);
    assert_eq!(fixture.status(&elsewhere, "closed.test"), None);
    let expired = fixture.clients.issue_with(&["member"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let expired = TlsClient::showing(&expired, &fixture.authority, H1);
    assert_eq!(fixture.status(&expired, "closed.test"), None);
    assert_eq!(fixture.origin.request_count(), 2);
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let fixture = Fixture::new();
    let _weir = fixture.weir("", &[("maybe.test", "client-auth: { ca: CA, mode: optional, forward: true }")]);
    assert_eq!(fixture.status(&fixture.stranger(), "maybe.test"), Some(200));
    let received = fixture.origin.last_request();
    assert_eq!(received.header("x-client-verify"), Some("NONE"));
    assert_eq!((received.header("client-cert"), received.header("x-client-subject")), (None, None));
    assert_eq!(fixture.status(&fixture.member(H1).1, "maybe.test"), Some(200));
    assert_eq!(fixture.origin.last_request().header("x-client-verify"), Some("SUCCESS"));
    let elsewhere = Authority::new("elsewhere").issue(&["member"]);
    assert_eq!(fixture.status(&TlsClient::showing(&elsewhere, &fixture.authority, H1), "maybe.test"), None);
}

#[test]
fn the_listener_s_demand_holds_for_hosts_that_say_nothing_else() {
    let fixture = Fixture::new();
    let hosts = [
        ("closed.test", ""),
        ("open.test", "client-auth: off"),
        ("*.wild.test", "client-auth: off"),
        ("a.wild.test", ""),
    ];
    let _weir = fixture.weir("client-auth: { ca: CA }", &hosts);
    let stranger = fixture.stranger();
    assert_eq!(fixture.status(&stranger, "closed.test"), None);
    assert_eq!(fixture.status(&stranger, "open.test"), Some(200));
    assert_eq!(fixture.status(&stranger, "pub.wild.test"), Some(200));
    assert_eq!(fixture.status(&stranger, "a.wild.test"), None, "an exact name beats the wildcard");
    assert_eq!(fixture.status(&stranger.nameless(), "open.test"), None, "no name, the listener's own");
    assert_eq!(fixture.status(&fixture.member(H1).1, "closed.test"), Some(200));
}

#[test]
fn an_upstream_is_told_of_the_certificate_and_of_nothing_that_the_client_wrote() {
    let fixture = Fixture::new();
    let _weir = fixture.weir("", &[("closed.test", "client-auth: { ca: CA, forward: true }")]);
    let (identity, member) = fixture.member(H1);
    let mut connection = member.connect(fixture.https, "closed.test").unwrap();
    let forged: String = ALL_FIELDS.iter().map(|field| format!("{field}: forged\r\n")).collect();
    // Twice: the values are the connection's.
    for _ in 0..2 {
        let answer = get(&mut connection, "closed.test", &format!("{forged}X_Client-Verify: forged\r\n"));
        assert_eq!(answer.status, 200);
        let received = fixture.origin.last_request();
        assert!(!received.headers.iter().any(|(_, value)| value == "forged"), "{:?}", received.headers);
        assert_eq!(received.header("client-cert"), Some(&*format!(":{}:", BASE64_STANDARD.encode(identity.der()))));
        assert_eq!(received.header("client-cert-chain"), None, "the client sent nothing but its own");
        assert_eq!(received.header("x-client-verify"), Some("SUCCESS"));
        assert_eq!(received.header("x-client-subject"), Some("CN=member"));
        assert_eq!(received.header("x-client-issuer"), Some("CN=clients"));
        let (_, parsed) = x509_parser::parse_x509_certificate(&identity.der())
            .map(|(r, p)| (r.len(), p.raw_serial().to_vec()))
            .unwrap();
        let serial: String = parsed.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(received.header("x-client-serial"), Some(serial.trim_start_matches("00")));
        assert_eq!(received.header("x-client-fingerprint").map(str::len), Some(64));
    }
}

#[test]
fn what_an_upstream_answers_to_a_certificate_is_kept_for_nobody_else() {
    let fixture = Fixture::new();
    let file = fixture.file("", &[("closed.test", "client-auth: { ca: CA, mode: optional, forward: true }")]);
    let _weir =
        Weir::start(&file.replace("routes: [{ path: /,", "routes: [{ filters: [{ cache: { ttl: 1h } }], path: /,"));
    let (_, member) = fixture.member(H1);
    for client in [&member, &fixture.stranger(), &member] {
        let answer = get(&mut client.connect(fixture.https, "closed.test").unwrap(), "closed.test", "");
        assert_eq!((answer.status, answer.header("x-cache-status")), (200, Some("MISS")));
    }
}

#[test]
fn without_forward_an_upstream_is_told_nothing_and_nobody_else_can_tell_it() {
    let fixture = Fixture::new();
    let _weir = fixture.weir("", &[("closed.test", "client-auth: { ca: CA }"), ("open.test", "")]);
    let forged: String = ALL_FIELDS.iter().map(|field| format!("{field}: forged\r\n")).collect();
    let mut connection = fixture.member(H1).1.connect(fixture.https, "closed.test").unwrap();
    assert_eq!(get(&mut connection, "closed.test", &forged).status, 200);
    let mut connection = fixture.stranger().connect(fixture.https, "open.test").unwrap();
    assert_eq!(get(&mut connection, "open.test", &forged).status, 200, "its upstream may be the same");
    for received in fixture.origin.received() {
        assert!(ALL_FIELDS.iter().all(|field| received.header(field).is_none()), "{:?}", received.headers);
    }
}

#[test]
fn http_2_is_asked_and_told_alike() {
    let fixture = Fixture::new();
    let hosts = [("closed.test", "client-auth: { ca: CA, forward: true }"), ("open.test", "")];
    let _weir = fixture.weir("", &hosts);
    let mut member = H2Client::tls(fixture.https, "closed.test", &fixture.member(H2).1);
    let answer =
        member.send("GET", "closed.test", "/", &[("x-client-subject", "forged"), ("client-cert", "forged")], None);
    assert_eq!(answer.status, 200);
    let received = fixture.origin.last_request();
    assert_eq!(received.headers("x-client-subject"), ["CN=member"]);
    assert_eq!(received.headers("client-cert").len(), 1);
    assert_eq!(member.get("open.test", "/").status, 200, "who has shown more may ask for less");
    assert_eq!(fixture.origin.last_request().header("client-cert"), None);

    // One certificate for both names: a browser would use the connection for either.
    let mut stranger = H2Client::tls(fixture.https, "open.test", &TlsClient::trusting(&fixture.authority, H2));
    assert_eq!(stranger.get("open.test", "/").status, 200);
    let answer = stranger.get("closed.test", "/");
    assert_eq!(answer.status, 421);
    assert!(answer.text().contains("demands a client certificate"), "{}", answer.text());
    assert_eq!(fixture.origin.request_count(), 3);
}

#[test]
fn a_request_for_a_host_that_demands_more_than_its_connection_agreed_on_is_misdirected() {
    let fixture = Fixture::new();
    let hosts = [
        ("closed.test", "client-auth: { ca: CA }"),
        ("maybe.test", "client-auth: { ca: CA, mode: optional }"),
        ("new.test", "min-version: 1.3"),
        ("open.test", ""),
    ];
    let _weir = fixture.weir("", &hosts);
    let stranger = fixture.stranger();
    let ask = |client: &TlsClient, sni: &str, host: &str| {
        get(&mut client.connect(fixture.https, sni).unwrap(), host, "").status
    };
    assert_eq!(ask(&stranger, "open.test", "closed.test"), 421);
    assert_eq!(ask(&stranger, "open.test", "CLOSED.test.:443"), 421, "however it is spelled");
    assert_eq!(ask(&stranger, "open.test", "maybe.test"), 421, "it was not asked");
    assert_eq!(ask(&stranger, "maybe.test", "closed.test"), 421, "it was asked, and had none");
    assert_eq!(ask(&TlsClient::trusting_anyone(H1), "unknown.test", "closed.test"), 421);
    assert_eq!(ask(&stranger.nameless(), "open.test", "closed.test"), 421, "no name at all");
    assert_eq!(ask(&stranger.nameless(), "open.test", "open.test"), 200);
    assert_eq!(ask(&fixture.member(H1).1, "maybe.test", "closed.test"), 200, "it showed what is demanded");

    let old = fixture.stranger().speaking(&rustls::version::TLS12);
    assert_eq!(ask(&old, "open.test", "new.test"), 421);
    assert_eq!(ask(&old, "open.test", "open.test"), 200);
    assert!(old.connect(fixture.https, "new.test").is_err(), "the handshake itself asks for 1.3");
    assert_eq!(ask(&stranger, "open.test", "new.test"), 200, "it is 1.3, whatever was demanded");
}

#[test]
fn paths_of_a_closed_host_are_not_told_to_strangers() {
    let fixture = Fixture::new();
    let file = fixture.file("", &[("closed.test", "client-auth: { ca: CA }"), ("open.test", "")]);
    let _weir = Weir::start(&file.replacen("path: /,", "path: /known,", 1));
    let mut connection = fixture.stranger().connect(fixture.https, "open.test").unwrap();
    assert_eq!(get(&mut connection, "closed.test", "").status, 421, "no 404");
}

#[test]
fn a_plain_listener_refuses_a_host_that_requires_a_certificate() {
    let fixture = Fixture::new();
    let hosts = [
        ("closed.test", "client-auth: { ca: CA }"),
        ("maybe.test", "client-auth: { ca: CA, mode: optional, forward: true }"),
    ];
    let file = fixture.file("", &hosts);
    let weir = Weir::start(&file);
    let answer = request(fixture.http, "GET", "/").host("closed.test").send();
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("speak TLS with it"), "{}", answer.text());
    eventually("the log warns", || weir.log().contains("requires client certificates, and listener").then_some(()));
    assert_eq!(fixture.origin.request_count(), 0);
    assert_eq!(request(fixture.http, "GET", "/").host("maybe.test").header("Client-Cert", "forged").send().status, 200);
    let received = fixture.origin.last_request();
    assert_eq!((received.header("x-client-verify"), received.header("client-cert")), (Some("NONE"), None));

    let redirecting = format!("http: {{ address: \"{}\", filters: [https-redirect] }}", fixture.http);
    weir.reload(&file.replace(&format!("http: {{ address: \"{}\" }}", fixture.http), &redirecting));
    let answer = request(fixture.http, "GET", "/").host("closed.test").send();
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://closed.test/")));
}

#[test]
fn a_session_that_began_without_a_certificate_is_not_resumed_where_one_is_demanded() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let fixture = Fixture::new();
        let weir = fixture.weir("", &[("closed.test", ""), ("maybe.test", "client-auth: { ca: CA, mode: optional }")]);
        let stranger = fixture.stranger().speaking(version);
        assert_eq!(stranger.visit(fixture.https, "closed.test"), (false, Some(200)));
        assert_eq!(stranger.visit(fixture.https, "closed.test"), (true, Some(200)), "sessions are resumed");
        assert_eq!(stranger.visit(fixture.https, "maybe.test"), (false, Some(200)));

        let required = [("closed.test", "client-auth: { ca: CA }"), ("maybe.test", "client-auth: { ca: CA }")];
        weir.reload(&fixture.file("", &required));
        for host in ["closed.test", "maybe.test"] {
            let (_, status) = stranger.visit(fixture.https, host);
            assert_eq!(status, None, "{version:?} {host}: the old session was good for it");
        }
        let member = fixture.member(H1).1.speaking(version);
        assert_eq!(member.visit(fixture.https, "closed.test"), (false, Some(200)));
        assert_eq!(
            member.visit(fixture.https, "closed.test"),
            (true, Some(200)),
            "with the certificate of its beginning"
        );
    }
}

#[test]
fn a_resumed_session_is_told_of_by_the_certificate_that_it_began_with() {
    let fixture = Fixture::new();
    let _weir = fixture.weir("", &[("closed.test", "client-auth: { ca: CA, forward: true }")]);
    let (_, member) = fixture.member(H1);
    assert_eq!(member.visit(fixture.https, "closed.test"), (false, Some(200)));
    assert_eq!(member.visit(fixture.https, "closed.test"), (true, Some(200)));
    let [first, second] = &fixture.origin.received()[..] else { panic!("two requests") };
    assert!(first.header("client-cert").is_some());
    assert_eq!(first.header("client-cert"), second.header("client-cert"));
}

#[test]
fn a_changed_authority_takes_effect_without_a_restart() {
    let fixture = Fixture::new();
    let weir = fixture.weir("", &[("closed.test", "client-auth: { ca: CA }")]);
    let (_, old) = fixture.member(H1);
    let successor = Authority::new("successor");
    let new = TlsClient::showing(&successor.issue(&["member"]), &fixture.authority, H1);
    let mut open = old.connect(fixture.https, "closed.test").unwrap();
    assert_eq!(get(&mut open, "closed.test", "").status, 200);
    assert_eq!(fixture.status(&new, "closed.test"), None);

    let before = weir.generation();
    std::fs::write(fixture.ca(), fixture.clients.pem() + &successor.pem()).unwrap();
    weir.wait_for_generation_after(before);
    eventually("the new authority is known", || fixture.status(&new, "closed.test"));
    assert_eq!(get(&mut open, "closed.test", "").status, 200, "who was good for less is good for more");

    let before = weir.generation();
    std::fs::write(fixture.ca(), successor.pem()).unwrap();
    weir.wait_for_generation_after(before);
    assert_eq!(get(&mut open, "closed.test", "").status, 421, "its authority has gone");
    eventually("the old authority is gone", || fixture.status(&old, "closed.test").is_none().then_some(()));

    std::fs::write(fixture.ca(), "nothing\n").unwrap();
    weir.wait_for_refusal("there is no certificate in");
    assert_eq!(fixture.status(&new, "closed.test"), Some(200), "what was served before is served on");
}

#[test]
fn who_is_refused_by_an_answer_is_told_400_and_others_by_their_name() {
    let fixture = Fixture::new();
    let hosts = [
        ("closed.test", "client-auth: { ca: CA, refuse: request, subject: '^CN=(member|guest)$' }"),
        ("maybe.test", "client-auth: { ca: CA, mode: optional, refuse: request }"),
        ("new.test", "client-auth: { ca: CA, mode: optional-of-anyone, forward: true }"),
    ];
    let _weir = fixture.weir("", &hosts);
    let elsewhere = Authority::new("elsewhere").issue(&["member"]);
    let elsewhere = TlsClient::showing(&elsewhere, &fixture.authority, H1);
    let expired = fixture.clients.issue_with(&["member"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let expired = TlsClient::showing(&expired, &fixture.authority, H1);
    let eve = TlsClient::showing(&fixture.clients.issue(&["eve"]), &fixture.authority, H1);
    let (stranger, member) = (fixture.stranger(), fixture.member(H1).1);
    for (client, statuses) in [
        (&member, [200, 200, 200]),
        (&stranger, [400, 200, 200]),
        (&elsewhere, [400, 400, 200]),
        (&expired, [400, 400, 400]),
        (&eve, [403, 200, 200]),
    ] {
        let found = hosts.map(|(host, _)| fixture.status(client, host));
        assert_eq!(found, statuses.map(Some));
    }
    assert_eq!(fixture.status(&elsewhere, "new.test"), Some(200));
    let told = fixture.origin.last_request();
    assert_eq!((told.header("x-client-verify"), told.header("x-client-subject")), (Some("FAILED"), Some("CN=member")));
    // A connection that was asked by another host has proven nothing here.
    let mut connection = elsewhere.connect(fixture.https, "new.test").unwrap();
    assert_eq!(get(&mut connection, "closed.test", "").status, 400);
}
