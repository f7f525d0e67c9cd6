//! Beside a real nginx with its stream module: the same bytes in, the same bytes out.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::{Authority, LIMIT, Nginx, TcpOrigin, TlsClient, TlsEcho, Weir, free_address, read_line};

/// One of each, before the same endpoints.
struct Pair {
    weir: SocketAddr,
    nginx: SocketAddr,
    _weir: Weir,
    _nginx: Nginx,
}

impl Pair {
    /// `tcp`: more keys of the listener's `tcp`; `server`: more directives of nginx's server.
    fn of(endpoints: &[SocketAddr], tcp: &str, listener: &str, server: &str) -> Pair {
        let (weir, nginx) = (free_address(), free_address());
        let list: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
        let servers: String = endpoints.iter().map(|endpoint| format!("server {endpoint};")).collect();
        let file = format!(
            "listeners:\n  db: {{ address: \"{weir}\", tcp: {{ upstream: o{tcp} }}{listener} }}\n\
             upstreams: {{ o: {{ endpoints: [ {} ], timeouts: {{ connect: 1s }} }} }}\n",
            list.join(", ")
        );
        let listen = if server.contains("#decode") { " proxy_protocol" } else { "" };
        let stream = format!(
            "upstream o {{ {servers} }} server {{ listen {nginx}{listen}; proxy_pass o; proxy_half_close on; \
             proxy_connect_timeout 1s; {} }}",
            server.replace("#decode", "")
        );
        Pair { weir, nginx, _weir: Weir::start(&file), _nginx: Nginx::start_stream(&stream) }
    }

    /// What both say to the same client.
    #[track_caller]
    fn alike<T: PartialEq + std::fmt::Debug>(&self, client: impl Fn(SocketAddr) -> T) -> T {
        let (ours, theirs) = (client(self.weir), client(self.nginx));
        assert_eq!(ours, theirs, "Weir, and then nginx");
        ours
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Writes, says that this was all, and reads to the end: whoever is not carried may have been closed before that.
fn exchange(to: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut stream = connect(to);
    let _ = stream.write_all(sent).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// An origin that tells what it hears, once the other side has said all.
fn hearing() -> (TcpOrigin, Receiver<Vec<u8>>) {
    let (heard, hears) = channel();
    let heard = Mutex::new(heard);
    let origin = TcpOrigin::start(move |stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        write!(stream, "heard {}", all.len())?;
        heard.lock().unwrap().send(all).unwrap();
        Ok(())
    });
    (origin, hears)
}

/// What the origin heard of a client that said `hello`: whoever looked whether nginx is there said nothing.
#[track_caller]
fn hello(hears: &Receiver<Vec<u8>>) -> Vec<u8> {
    loop {
        let heard = hears.recv_timeout(LIMIT).expect("the client is heard");
        if heard.ends_with(b"\r\nhello") {
            return heard;
        }
    }
}

#[test]
fn bytes_and_half_closed_connections_are_carried_alike() {
    let (origin, _hears) = hearing();
    let pair = Pair::of(&[origin.address], "", "", "");
    for sent in [&b""[..], b"hello", &[7; 300_000]] {
        let answer = pair.alike(|address| exchange(address, sent));
        assert_eq!(answer, format!("heard {}", sent.len()).as_bytes());
    }
}

#[test]
fn the_proxy_protocol_is_spoken_alike() {
    let (origin, hears) = hearing();
    let pair = Pair::of(&[origin.address], ", send-proxy-protocol: v1", "", "proxy_protocol on;");
    let told = pair.alike(|address| {
        exchange(address, b"hello");
        let heard = hello(&hears);
        let line = read_line(&mut &heard[..]).unwrap();
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        // The client's port is another each time, and so is the one that it came to.
        (words[..4].to_vec(), words.len())
    });
    assert_eq!(told, (["PROXY", "TCP4", "127.0.0.1", "127.0.0.1"].map(str::to_owned).to_vec(), 6));

    let listener = ", proxy-protocol: { trusted: [127.0.0.0/8] }";
    let pair = Pair::of(
        &[origin.address],
        ", send-proxy-protocol: v1",
        listener,
        "proxy_protocol on; set_real_ip_from 127.0.0.0/8; #decode",
    );
    for header in ["PROXY TCP4 203.0.113.9 192.0.2.1 4711 5432\r\n", "PROXY TCP6 2001:db8::9 2001:db8::1 4711 5432\r\n"]
    {
        let told = pair.alike(|address| {
            exchange(address, format!("{header}hello").as_bytes());
            read_line(&mut &hello(&hears)[..]).unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(told, header.split(' ').take(3).collect::<Vec<_>>().join(" "));
    }
    pair.alike(|address| exchange(address, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
}

#[test]
fn endpoints_that_are_away_are_passed_over_alike() {
    let (origin, _hears) = hearing();
    let dead = free_address();
    let pair = Pair::of(&[dead, origin.address], "", "", "");
    for _ in 0..4 {
        assert_eq!(pair.alike(|address| exchange(address, b"hello")), b"heard 5");
    }
    let pair = Pair::of(&[dead], "", "", "");
    assert_eq!(pair.alike(|address| exchange(address, b"hello")), b"");
}

#[test]
fn silence_ends_a_connection_alike() {
    let origin = TcpOrigin::echo();
    let pair = Pair::of(&[origin.address], ", idle-timeout: 1s", "", "proxy_timeout 1s;");
    let closed = pair.alike(|address| {
        let mut stream = connect(address);
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        let begun = Instant::now();
        let end = stream.read(&mut [0; 4]).unwrap();
        (end, begun.elapsed() >= Duration::from_millis(900))
    });
    assert_eq!(closed, (0, true));
}

#[test]
fn datagrams_and_their_answers_are_carried_alike() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let origin = server.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], from);
        }
    });
    let (weir, nginx) = (free_address(), free_address());
    let _weir = Weir::start(&format!(
        "listeners: {{ dns: {{ address: \"{weir}\", udp: {{ upstream: o, responses: 1 }} }} }}\n\
         upstreams: {{ o: {{ endpoints: [ \"{origin}\" ] }} }}\n"
    ));
    let tcp = free_address();
    let _nginx = Nginx::start_stream(&format!(
        "server {{ listen {nginx} udp; proxy_pass {origin}; proxy_responses 1; }} server {{ listen {tcp}; return ok; }}"
    ));
    // nginx cuts an answer off where its buffer ends, at 16 KiB.
    for size in [1, 1400, 16_000] {
        let ask = |address: SocketAddr| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(address).unwrap();
            client.set_read_timeout(Some(LIMIT)).unwrap();
            client.send(&vec![b'x'; size]).unwrap();
            client.recv(&mut vec![0; 64 << 10]).unwrap()
        };
        assert_eq!((ask(weir), ask(nginx)), (size, size));
    }
}

#[test]
fn who_holds_a_handshake_goes_by_the_name_alike() {
    let authority = Authority::new("test");
    let (db, other) = (authority.issue(&["db.test"]), authority.issue(&["other.test"]));
    let (db_origin, other_origin) = (TlsEcho::start(&db), TlsEcho::start(&other));
    let (weir, nginx) = (free_address(), free_address());
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = other.write(folder.path(), "other");
    let _weir = Weir::start(&format!(
        "listeners: {{ https: {{ address: \"{weir}\", tls: {{}} }} }}\n\
         certificates: [ {{ file: {{ cert: {}, key: {} }} }} ]\n\
         upstreams: {{ db: {{ endpoints: [ \"{}\" ] }}, other: {{ endpoints: [ \"{}\" ] }} }}\n\
         hosts:\n  - {{ names: [db.test], tls: {{ passthrough: {{ upstream: db }} }} }}\n  \
         - {{ names: [\"*\"], tls: {{ passthrough: {{ upstream: other }} }} }}\n",
        cert.display(),
        key.display(),
        db_origin.address,
        other_origin.address
    ));
    let _nginx = Nginx::start_stream(&format!(
        "map $ssl_preread_server_name $to {{ db.test {}; default {}; }} \
         server {{ listen {nginx}; ssl_preread on; proxy_pass $to; }}",
        db_origin.address, other_origin.address
    ));
    let anyone = TlsClient::trusting_anyone(&[b"http/1.1"]);
    for (client, name, expected) in [
        (anyone.clone(), "db.test", &db),
        (anyone.clone(), "DB.TEST", &db),
        (anyone.clone(), "a.db.test", &other),
        (anyone.nameless(), "db.test", &other),
    ] {
        let shown = [weir, nginx].map(|address| client.certificate_for(address, name));
        assert!(shown[0] == shown[1] && shown[0] == expected.der(), "{name}");
    }
}
