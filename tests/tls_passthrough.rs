//! TLS that ends at an upstream: who asks for its name is carried there, and everybody else is served as before.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    Authority, Connection, Identity, LIMIT, TcpOrigin, TlsClient, TlsEcho, Weir, eventually, free_address, read_line,
    request,
};

struct Fixture {
    authority: Authority,
    /// Weir's own, for every name.
    own: Identity,
    /// The upstream's.
    theirs: Identity,
    upstream: TlsEcho,
    https: SocketAddr,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let authority = Authority::new("test");
        let names = ["web.test", "*.web.test", "db.test", "*.db.test", "a.db.test"];
        let (own, theirs) = (authority.issue(&names), authority.issue(&names));
        let upstream = TlsEcho::start(&theirs);
        Fixture { authority, own, theirs, upstream, https: free_address(), folder: tempfile::tempdir().unwrap() }
    }

    /// `hosts`: items of the list; `listener`: more keys of it.
    fn file(&self, listener: &str, hosts: &str) -> String {
        let (cert, key) = self.own.write(self.folder.path(), "own");
        format!(
            "listeners:\n  https: {{ address: \"{}\", tls: {{}}{listener} }}\n\
             certificates: [ {{ file: {{ cert: {}, key: {} }} }} ]\n\
             upstreams: {{ db: {{ endpoints: [ \"{}\" ] }} }}\nhosts:\n{hosts}",
            self.https,
            cert.display(),
            key.display(),
            self.upstream.address
        )
    }

    fn start(&self, hosts: &str) -> Weir {
        Weir::start(&self.file("", hosts))
    }

    fn client(&self) -> TlsClient {
        self.authority.client()
    }

    /// Whether the upstream holds the handshake for this name; else Weir does.
    #[track_caller]
    fn is_passed(&self, name: &str) -> bool {
        let shown = TlsClient::trusting_anyone(&[b"http/1.1"]).certificate_for(self.https, name);
        assert!(shown == self.theirs.der() || shown == self.own.der(), "{name} is shown something else");
        shown == self.theirs.der()
    }
}

const WEB: &str = "  - { names: [web.test, \"*.web.test\"], routes: [ { path: /, respond: { body: web } } ] }\n";
const DB: &str = "  - { names: [db.test], tls: { passthrough: { upstream: db } } }\n";

#[track_caller]
fn assert_echoes(connection: &mut Connection) {
    connection.write("ping\n");
    connection.read_until("ping\n");
}

fn get(fixture: &Fixture, sni: &str, host: &str) -> u16 {
    let mut connection = fixture.client().connect(fixture.https, sni).unwrap();
    connection.write(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    connection.read_response().status
}

#[test]
fn one_name_ends_at_the_upstream_and_the_others_here() {
    let fixture = Fixture::new();
    let weir = fixture.start(&format!("{WEB}{DB}"));
    assert!(fixture.is_passed("db.test") && fixture.is_passed("DB.test"));
    assert!(!fixture.is_passed("web.test") && !fixture.is_passed("a.web.test") && !fixture.is_passed("a.db.test"));
    assert_eq!(fixture.client().nameless().certificate_for(fixture.https, "db.test"), fixture.own.der());

    let mut connection = fixture.client().connect(fixture.https, "db.test").unwrap();
    assert_echoes(&mut connection);
    assert_eq!(fixture.upstream.offered(), [b"http/1.1".to_vec()], "what the client offers arrives");
    assert_eq!(get(&fixture, "web.test", "web.test"), 200);
    drop(connection);
    let line = eventually("the session is logged", || {
        let log = weir.log();
        let line = log.lines().find(|line| line.contains("\"protocol\":\"TLS\"") && line.contains("completed"))?;
        serde_json::from_str::<Value>(line).ok()
    });
    let shown = ["listener", "upstream", "sni"].map(|key| line[key].as_str().unwrap_or_default());
    assert_eq!(shown, ["https", "db", "db.test"]);
    let counted = weir.metric("weir_sessions_total", &["listener=\"https\"", "upstream=\"db\"", "ended=\"completed\""]);
    assert!(counted >= Some(1.0), "{counted:?}");
}

#[test]
fn wildcards_and_the_catch_all_are_as_everywhere() {
    let fixture = Fixture::new();
    let passed = |names: &str| format!("  - {{ names: [{names}], tls: {{ passthrough: {{ upstream: db }} }} }}\n");
    let here = |names: &str| format!("  - {{ names: [{names}], routes: [ {{ path: /, respond: {{}} }} ] }}\n");
    let weir = fixture.start(&format!("{}{}", passed("\"*.db.test\""), here("a.db.test")));
    assert!(fixture.is_passed("b.db.test") && fixture.is_passed("c.b.db.test"));
    assert!(!fixture.is_passed("a.db.test") && !fixture.is_passed("db.test"));

    weir.reload(&fixture.file("", &format!("{}{}", here("\"*.db.test\""), passed("a.db.test"))));
    assert!(fixture.is_passed("a.db.test") && !fixture.is_passed("b.db.test"));

    weir.reload(&fixture.file("", &format!("{}{}", passed("\"*\""), here("web.test"))));
    assert!(fixture.is_passed("db.test") && fixture.is_passed("b.web.test") && !fixture.is_passed("web.test"));
    assert_eq!(fixture.client().nameless().certificate_for(fixture.https, "db.test"), fixture.theirs.der());
}

/// Takes one connection, and sends what its client says first on in these pieces.
fn in_pieces(to: SocketAddr, cut: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut back, mut answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut hello = vec![0; 64 << 10];
        let length = client.read(&mut hello).unwrap();
        for piece in cut(&hello[..length]) {
            server.write_all(&piece).unwrap();
            std::thread::yield_now();
        }
        let _ = std::io::copy(&mut client, &mut server);
    });
    address
}

/// How the first bytes of a client are cut into pieces.
type Cut = fn(&[u8]) -> Vec<Vec<u8>>;

/// The same handshake message in records of so many bytes.
fn records(hello: &[u8], size: usize) -> Vec<Vec<u8>> {
    let record = |piece: &[u8]| [&[22, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat();
    hello[5..].chunks(size).map(record).collect()
}

#[test]
fn a_hello_may_come_in_any_number_of_segments_and_records() {
    let fixture = Fixture::new();
    let _weir = fixture.start(&format!("{WEB}{DB}"));
    let cuts: [Cut; 4] = [
        |hello| hello.chunks(1).map(<[u8]>::to_vec).collect(),
        |hello| records(hello, 7),
        |hello| vec![records(hello, 100).concat()],
        |hello| records(hello, 1).iter().flat_map(|record| record.chunks(3).map(<[u8]>::to_vec)).collect(),
    ];
    for (number, cut) in cuts.into_iter().enumerate() {
        for (name, expected) in [("db.test", &fixture.theirs), ("web.test", &fixture.own)] {
            let shown = fixture.client().certificate_for(in_pieces(fixture.https, cut), name);
            assert!(shown == expected.der(), "{name}, cut {number}");
        }
    }
    // Larger than any piece that is read at one time.
    let protocols: Vec<Vec<u8>> = (0..40).map(|number| vec![b'a' + (number % 26) as u8; 200]).collect();
    let mut offered: Vec<&[u8]> = protocols.iter().map(Vec::as_slice).collect();
    offered.push(b"http/1.1");
    let client = TlsClient::trusting(&fixture.authority, &offered);
    assert_eq!(client.certificate_for(fixture.https, "web.test"), fixture.own.der());
    let mut connection = client.connect(fixture.https, "db.test").unwrap();
    assert_echoes(&mut connection);
    assert_eq!(fixture.upstream.offered().len(), 41);
}

#[test]
fn a_hello_that_does_not_come_that_is_too_large_or_none_ends_the_connection() {
    let fixture = Fixture::new();
    let weir = Weir::start(&fixture.file(", limits: { header-timeout: 500ms }", DB));
    let rejected = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        weir.metric("weir_connections_rejected_total", &["listener=\"https\"", &label]).unwrap_or_default()
    };
    let begun = Instant::now();
    let mut slow = Connection::open(fixture.https);
    slow.write(b"\x16\x03\x01\x02\x00\x01\x00");
    slow.assert_closed();
    assert!(begun.elapsed() >= Duration::from_millis(400));
    eventually("it took too long", || (rejected("timeout") == 1.0).then_some(()));

    let mut other = Connection::open(fixture.https);
    let begun = Instant::now();
    let _ = other.try_write("GET / HTTP/1.1\r\nHost: db.test\r\n\r\n");
    other.read_to_end();
    assert!(begun.elapsed() < LIMIT);
    eventually("that was no hello", || (rejected("handshake") == 1.0).then_some(()));

    // It says that it is the longest that may be, and goes on for ever in small records.
    weir.reload(&fixture.file("", DB));
    let mut large = Connection::open(fixture.https);
    let record = [&b"\x16\x03\x01\x01\x00"[..], &[0; 256]].concat();
    let _ = large.try_write([&b"\x16\x03\x01\x00\x04\x01\x00\xff\xf0"[..], &record.repeat(300)].concat());
    large.read_to_end();
    eventually("that was too much", || (rejected("handshake") == 2.0).then_some(()));
    assert!(fixture.is_passed("db.test"));
}

#[test]
fn the_upstream_is_told_of_the_client_before_its_hello() {
    let (told, tells) = channel();
    let told = Mutex::new(told);
    let fixture = Fixture::new();
    let inner = fixture.upstream.address;
    // Takes the header off, and hands the rest to the upstream.
    let outer = TcpOrigin::start(move |stream| {
        told.lock().unwrap().send(read_line(stream)?).unwrap();
        let mut upstream = TcpStream::connect(inner)?;
        let (mut there, mut back) = (stream.try_clone()?, upstream.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut there, &mut back));
        std::io::copy(&mut upstream, stream).map(drop)
    });
    let listener = ", proxy-protocol: { trusted: [127.0.0.1/32] }";
    let host = "  - { names: [db.test], tls: { passthrough: { upstream: outer, send-proxy-protocol: v1, idle-timeout: 1h } } }\n";
    let text = fixture
        .file(listener, host)
        .replace("upstreams: {", &format!("upstreams: {{ outer: {{ endpoints: [ \"{}\" ] }},", outer.address));
    let _weir = Weir::start(&text);
    let mut tcp = Connection::open(fixture.https);
    tcp.write("PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n");
    let mut connection = fixture.client().over(tcp, "db.test").unwrap();
    assert_echoes(&mut connection);
    assert_eq!(tells.recv_timeout(LIMIT).unwrap(), "PROXY TCP4 203.0.113.9 192.0.2.1 4711 443");
}

#[test]
fn a_request_for_it_on_another_connection_is_sent_to_one_of_its_own() {
    let fixture = Fixture::new();
    let catch_all = "  - { names: [\"*\"], routes: [ { path: /, respond: { status: 200 } } ] }\n";
    let _weir = fixture.start(&format!("{WEB}{DB}{catch_all}"));
    assert_eq!(get(&fixture, "web.test", "db.test"), 421);
    assert_eq!(get(&fixture, "web.test", "other.test"), 200);
}

#[test]
fn another_host_may_have_the_name_on_a_plain_listener() {
    let fixture = Fixture::new();
    let http = free_address();
    let hosts = "  - { names: [db.test], listeners: [https], tls: { passthrough: { upstream: db } } }\n\
                 \x20 - { names: [db.test], listeners: [http], filters: [https-redirect], routes: [ { path: /, respond: {} } ] }\n";
    let text =
        fixture.file("", hosts).replace("listeners:\n", &format!("listeners:\n  http: {{ address: \"{http}\" }}\n"));
    let _weir = Weir::start(&text);
    assert!(fixture.is_passed("db.test"));
    let answer = request(http, "GET", "/").host("db.test").send();
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://db.test/")));
}

#[test]
fn a_reload_ends_nothing_and_changes_who_holds_the_next_handshake() {
    let fixture = Fixture::new();
    let weir = fixture.start(&format!("{WEB}{DB}"));
    let mut passed = fixture.client().connect(fixture.https, "db.test").unwrap();
    let mut here = fixture.client().connect(fixture.https, "web.test").unwrap();
    weir.reload(&fixture.file("", "  - { names: [db.test, web.test], routes: [ { path: /, respond: {} } ] }\n"));
    assert!(!fixture.is_passed("db.test"));
    assert_echoes(&mut passed);
    here.write("GET / HTTP/1.1\r\nHost: web.test\r\n\r\n");
    assert_eq!(here.read_response().status, 200);
    weir.reload(&fixture.file("", &format!("{WEB}{DB}")));
    assert!(fixture.is_passed("db.test"));
    assert_echoes(&mut passed);
}

#[test]
fn an_upstream_that_is_away_ends_the_connection() {
    let fixture = Fixture::new();
    let text = fixture.file("", &format!("{WEB}{DB}"));
    let dead = free_address().to_string();
    let _weir = Weir::start(&text.replace(&fixture.upstream.address.to_string(), &dead));
    assert!(fixture.client().connect(fixture.https, "db.test").is_err());
    assert_eq!(get(&fixture, "web.test", "web.test"), 200);
}

#[test]
fn curl_and_openssl_see_the_upstream_s_own_certificate() {
    let fixture = Fixture::new();
    let _weir = fixture.start(&format!("{WEB}{DB}"));
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &fixture.https.to_string(), "-servername", "db.test", "-showcerts"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    let shown = String::from_utf8_lossy(&output.stdout).replace('\n', "");
    let theirs = fixture.theirs.cert.replace(['\r', '\n'], "");
    assert!(shown.contains(theirs.trim()), "{shown}");
    let ca = fixture.authority.write_pem(fixture.folder.path());
    let seen = support::curl(&[
        "--cacert",
        &ca.display().to_string(),
        "--resolve",
        &format!("web.test:{}:127.0.0.1", fixture.https.port()),
        &format!("https://web.test:{}/", fixture.https.port()),
    ]);
    assert_eq!((seen.status, seen.body.as_str(), seen.version.as_str()), (200, "web", "2"));
}

#[test]
fn it_is_explained_who_holds_the_handshake() {
    let fixture = Fixture::new();
    let weir = fixture.start(&format!("{WEB}{DB}"));
    let url = format!("https://db.test:{}/", fixture.https.port());
    let output =
        support::weir_command().arg("explain").arg(weir.file()).args(["GET", &url]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("TLS is not held here: carried to upstream db as it comes"), "{said}");
    assert!(said.contains(&fixture.upstream.address.to_string()), "{said}");
}
