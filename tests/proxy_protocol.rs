//! The PROXY protocol: the client's address from a load balancer in front, and from nobody else.

mod support;

use std::net::SocketAddr;

use support::{Authority, Connection, Origin, Weir, free_address};

struct Fixture {
    origin: Origin,
    http: SocketAddr,
    _weir: Weir,
}

impl Fixture {
    /// Only 127.0.0.1 may say who the client is.
    fn new() -> Fixture {
        let (origin, http) = (Origin::named("origin"), free_address());
        let weir = Weir::start(&format!(
            "listeners:\n  http:\n    address: \"{http}\"\n    proxy-protocol: {{ trusted: [ 127.0.0.1/32 ] }}\n    \
             limits: {{ header-timeout: 500ms }}\n{}",
            Weir::forwarding_to(&[origin.address], "")
        ));
        Fixture { origin, http, _weir: weir }
    }

    /// The client's address as the origin is told it, after this header and a GET.
    fn told(&self, header: &[u8]) -> String {
        let mut connection = Connection::open(self.http);
        connection.write([header, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat());
        assert_eq!(connection.read_response().status, 200);
        self.origin.last_request().header("x-real-ip").expect("the origin is told").to_owned()
    }

    /// Asserts that the connection is closed without an answer from the origin.
    fn assert_refused(&self, mut connection: Connection, bytes: &[u8]) {
        let _ = connection.try_write(bytes);
        let answer = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
        assert_eq!(self.origin.byte_count(), 0);
    }
}

/// A version 2 header: PROXY, over TCP, with these addresses and further fields.
fn version_2(family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = (addresses.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..], &[family << 4 | 1], &length, addresses].concat()
}

#[test]
fn version_1_tells_the_client_address() {
    let fixture = Fixture::new();
    assert_eq!(fixture.told(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n"), "203.0.113.9");
    assert_eq!(fixture.told(b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n"), "2001:db8::9");
    assert_eq!(fixture.told(b"PROXY UNKNOWN\r\n"), "127.0.0.1", "what is not known stays as it is");
}

#[test]
fn version_2_tells_the_client_address() {
    let fixture = Fixture::new();
    let v4 = [203, 0, 113, 9, 192, 0, 2, 1, 0x12, 0x67, 0, 80];
    assert_eq!(fixture.told(&version_2(1, &v4)), "203.0.113.9");

    let v6: Vec<u8> = [0x2001_0db8u32, 0, 0, 9, 0x2001_0db8, 0, 0, 1].iter().flat_map(|w| w.to_be_bytes()).collect();
    assert_eq!(fixture.told(&version_2(2, &[&v6[..], &[0x12, 0x67, 0, 80]].concat())), "2001:db8::9");

    let with_fields = [&v4[..], &[0x05, 0, 3, b'i', b'd', b'1']].concat();
    assert_eq!(fixture.told(&version_2(1, &with_fields)), "203.0.113.9", "fields behind the addresses are passed over");
}

#[test]
fn a_balancers_own_check_is_not_a_client() {
    let fixture = Fixture::new();
    // LOCAL: the balancer speaks for itself.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    assert_eq!(fixture.told(local), "127.0.0.1");
}

#[test]
fn a_header_that_comes_in_pieces_is_put_together() {
    let fixture = Fixture::new();
    let mut connection = Connection::open(fixture.http);
    for piece in ["PROX", "Y TCP4 203.0.113.9 192.0.2.1 4711 80\r", "\nGET / HTTP/1.1\r\nHost: a", ".test\r\n\r\n"] {
        connection.write(piece);
        std::thread::yield_now();
    }
    assert_eq!(connection.read_response().status, 200);
    assert_eq!(fixture.origin.only_request().header("x-forwarded-for"), Some("203.0.113.9"));
}

#[test]
fn the_address_holds_for_every_request_of_the_connection() {
    let fixture = Fixture::new();
    let mut connection = Connection::open(fixture.http);
    connection.write("PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n");
    for _ in 0..2 {
        connection.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(connection.read_response().status, 200);
    }
    assert!(fixture.origin.received().iter().all(|request| request.header("x-real-ip") == Some("203.0.113.9")));
}

#[test]
fn a_stranger_may_not_say_who_it_is() {
    let fixture = Fixture::new();
    let stranger = Connection::try_open_from(([127, 0, 0, 2], 0).into(), fixture.http).unwrap();
    fixture.assert_refused(stranger, b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_connection_without_the_header_is_refused() {
    let fixture = Fixture::new();
    fixture.assert_refused(Connection::open(fixture.http), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_broken_header_is_refused() {
    for header in [
        &b"PROXY TCP4 203.0.113.9\r\n"[..],
        b"PROXY TCP4 999.0.113.9 192.0.2.1 4711 80\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 99999\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ] {
        let fixture = Fixture::new();
        let bytes = [header, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        fixture.assert_refused(Connection::open(fixture.http), &bytes);
    }
}

#[test]
fn a_header_that_does_not_end_is_cut_off() {
    let fixture = Fixture::new();
    fixture.assert_refused(Connection::open(fixture.http), &[b"PROXY TCP4 ".as_slice(), &[b'1'; 4096]].concat());
    fixture.assert_refused(Connection::open(fixture.http), b"PROXY TCP4 203");
}

#[test]
fn the_header_stands_before_tls() {
    let (origin, https) = (Origin::named("origin"), free_address());
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    let (cert, key) = authority.issue(&["a.test"]).write(folder.path(), "a");
    let _weir = Weir::start(&format!(
        "listeners:\n  https:\n    address: \"{https}\"\n    tls: {{}}\n    proxy-protocol: {{ trusted: [ 127.0.0.0/8 ] }}\n\
         certificates:\n  - file: {{ cert: {}, key: {} }}\n{}",
        cert.display(),
        key.display(),
        Weir::forwarding_to(&[origin.address], "")
    ));
    let mut tcp = Connection::open(https);
    tcp.write("PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n");
    let mut connection = authority.client().over(tcp, "a.test").unwrap();
    connection.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(connection.read_response().status, 200);
    assert_eq!(origin.only_request().header("x-real-ip"), Some("203.0.113.9"));
}
