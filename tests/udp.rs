//! Datagrams that are carried to an upstream: who sends gets its answers, and from whom it asked.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Knot, LIMIT, Signal, Weir, eventually, free_address, holds_for, indent};

/// Answers each datagram with its name and what it was sent; as often as the datagram's first digit says.
struct UdpOrigin {
    address: SocketAddr,
    received: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpOrigin {
    fn named(name: &'static str) -> UdpOrigin {
        Self::named_at(free_address(), name)
    }

    fn named_at(address: SocketAddr, name: &'static str) -> UdpOrigin {
        let socket = UdpSocket::bind(address).expect("the origin's port is free");
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (received, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (received.clone(), stopped.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while !stop.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let times = buffer.first().filter(|byte| byte.is_ascii_digit()).map_or(1, |byte| byte - b'0');
                let answer = [name.as_bytes(), b" ", &buffer[..length]].concat();
                (0..times).for_each(|_| drop(socket.send_to(&answer, from)));
            }
        });
        UdpOrigin { address, received, stopped, thread: Some(thread) }
    }

    fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for UdpOrigin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Speaks with one address, and hears nobody else.
struct Client(UdpSocket);

impl Client {
    fn to(address: SocketAddr) -> Client {
        Self::from("127.0.0.1:0", address)
    }

    fn from(from: &str, address: SocketAddr) -> Client {
        let socket = UdpSocket::bind(from).unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Client(socket)
    }

    fn send(&self, text: &str) {
        self.0.send(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn receive(&self) -> String {
        let mut buffer = vec![0; 64 << 10];
        match self.0.recv(&mut buffer) {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    #[track_caller]
    fn ask(&self, text: &str) -> String {
        self.send(text);
        self.receive()
    }

    /// Asks until somebody answers: a datagram may be lost while nobody is there.
    #[track_caller]
    fn ask_until_answered(&self, text: &str) -> String {
        self.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let answer = eventually("an answer", || {
            let _ = self.0.send(text.as_bytes());
            let mut buffer = vec![0; 64 << 10];
            let length = self.0.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        });
        self.0.set_read_timeout(Some(LIMIT)).unwrap();
        answer
    }
}

fn file(address: SocketAddr, udp: &str, endpoints: &[SocketAddr], upstream: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "listeners:\n  dns: {{ address: \"{address}\", udp: {{ upstream: origin{udp} }} }}\n\
         upstreams:\n  origin:\n    endpoints: [ {} ]\n{}",
        endpoints.join(", "),
        indent(upstream, 4)
    )
}

fn start(udp: &str, endpoints: &[SocketAddr]) -> (Weir, SocketAddr) {
    let address = free_address();
    (Weir::start(&file(address, udp, endpoints, "")), address)
}

#[track_caller]
fn sessions(weir: &Weir, count: usize) -> Vec<Value> {
    eventually(&format!("{count} sessions in the log"), || {
        let lines: Vec<Value> = weir
            .log()
            .lines()
            .filter(|line| line.contains("\"protocol\":\"UDP\""))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn a_client_stays_with_one_endpoint_and_the_next_one_gets_the_other() {
    let origins = [UdpOrigin::named("a"), UdpOrigin::named("b")];
    let (weir, address) = start("", &origins.each_ref().map(|origin| origin.address));
    let clients: Vec<_> = (0..4).map(|_| Client::to(address)).collect();
    let first: Vec<_> = clients.iter().map(|client| client.ask("ping")).collect();
    assert_eq!(first.iter().filter(|answer| *answer == "a ping").count(), 2, "{first:?}");
    for (client, first) in clients.iter().zip(&first) {
        assert!((0..3).all(|_| client.ask("ping") == *first));
    }
    assert_eq!(weir.metric("weir_sessions_open", &["listener=\"dns\"", "upstream=\"origin\""]), Some(4.0));
    assert_eq!(origins.iter().map(UdpOrigin::received).sum::<usize>(), 16);
}

#[test]
fn datagrams_of_any_size_pass_as_they_are() {
    let origin = UdpOrigin::named("a");
    let (_weir, address) = start("", &[origin.address]);
    let client = Client::to(address);
    for size in [1, 512, 1500, 9000, 60_000] {
        let text = "x".repeat(size);
        assert_eq!(client.ask(&text), format!("a {text}"));
    }
    // Several answers to one, and one that is empty.
    client.send("3 times");
    assert!((0..3).all(|_| client.receive() == "a 3 times"));
    assert_eq!(client.ask(""), "a ");
}

#[test]
fn the_address_that_was_asked_answers() {
    let origin = UdpOrigin::named("a");
    let port = free_address().port();
    let _weir = Weir::start(&file(SocketAddr::from(([0, 0, 0, 0], port)), "", &[origin.address], ""));
    // A connected socket hears nobody else.
    for asked in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
        assert_eq!(Client::to(SocketAddr::new(asked.parse().unwrap(), port)).ask("ping"), "a ping");
    }
    // One socket that asks at two addresses has two sessions.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    for asked in ["127.0.0.3", "127.0.0.4"] {
        let asked = SocketAddr::new(asked.parse().unwrap(), port);
        socket.send_to(b"ping", asked).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 64]).unwrap();
        assert_eq!(from, asked);
    }
}

#[test]
fn a_session_is_over_with_its_answers_or_when_it_is_idle() {
    let origin = UdpOrigin::named("a");
    let (weir, address) = start(", responses: 2, idle-timeout: 1s", &[origin.address]);
    let client = Client::to(address);
    client.send("2");
    assert!((0..2).all(|_| client.receive() == "a 2"));
    let line = &sessions(&weir, 1)[0];
    assert_eq!((&line["ended"], &line["bytes_in"], &line["bytes_out"]), (&"completed".into(), &1.into(), &6.into()));
    assert_eq!(
        (&line["listener"], &line["upstream"], &line["endpoint"]),
        (&"dns".into(), &"origin".into(), &origin.address.to_string().into())
    );
    let open = || weir.metric("weir_sessions_open", &["listener=\"dns\""]);
    assert_eq!(open(), Some(0.0));

    let begun = Instant::now();
    assert_eq!(client.ask("1"), "a 1");
    assert_eq!(open(), Some(1.0), "one answer is still owed");
    assert_eq!(sessions(&weir, 2)[1]["ended"], "idle-timeout");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert_eq!(open(), Some(0.0));
}

#[test]
fn there_are_no_more_sessions_than_there_may_be() {
    let origin = UdpOrigin::named("a");
    let (weir, address) = start(", max-sessions: 2, idle-timeout: 2s", &[origin.address]);
    let held = [Client::to(address), Client::to(address)];
    held.iter().for_each(|client| assert_eq!(client.ask("ping"), "a ping"));
    let third = Client::to(address);
    third.send("ping");
    let rejected = || weir.metric("weir_connections_rejected_total", &["listener=\"dns\"", "reason=\"too-many\""]);
    eventually("it is one too many", || (rejected() >= Some(1.0)).then_some(()));
    assert_eq!(third.ask_until_answered("ping"), "a ping", "places come free");
}

#[test]
fn an_endpoint_that_refuses_is_left_for_another() {
    let origin = UdpOrigin::named("alive");
    let dead = free_address();
    let address = free_address();
    let keys = "outlier-detection: { failures: 1, window: 1m, eject-for: 10m, max-ejected: 100% }";
    let weir = Weir::start(&file(address, "", &[dead, origin.address], keys));
    for _ in 0..4 {
        assert!(Client::to(address).ask_until_answered("ping").starts_with("alive"));
    }
    let failures = weir.metric("weir_endpoint_failures_total", &[&format!("endpoint=\"{dead}\"")]);
    assert_eq!(failures, Some(1.0));
    assert_eq!(sessions(&weir, 1)[0]["ended"], "upstream-connect-failed");
}

#[test]
fn silence_speaks_against_an_endpoint_where_an_answer_is_due() {
    let origin = UdpOrigin::named("a");
    let (weir, address) = start(", responses: 1, idle-timeout: 500ms", &[origin.address]);
    Client::to(address).send("0 answers");
    assert_eq!(sessions(&weir, 1)[0]["ended"], "idle-timeout");
    let failures = weir.metric("weir_endpoint_failures_total", &[&format!("endpoint=\"{}\"", origin.address)]);
    assert_eq!(failures, Some(1.0));
}

#[test]
fn a_reload_ends_no_session_whose_endpoint_stays_and_a_port_that_goes_is_free() {
    let (first, second) = (UdpOrigin::named("first"), UdpOrigin::named("second"));
    let (weir, address) = start("", &[first.address]);
    let old = Client::to(address);
    // No more than there are: who goes elsewhere keeps his place.
    let keys = ", idle-timeout: 5m, max-sessions: 3";
    assert_eq!(old.ask("ping"), "first ping");
    weir.reload(&file(address, keys, &[first.address, second.address], ""));
    let all: Vec<_> = (0..2).map(|_| Client::to(address).ask("ping")).collect();
    assert!(all.contains(&"second ping".to_owned()), "{all:?}");
    holds_for(Duration::from_millis(400), "it stays", || old.ask("ping") == "first ping");

    // The client never pauses: nothing but its endpoint ends the session.
    weir.reload(&file(address, keys, &[second.address], ""));
    eventually("it goes to another", || (old.ask("ping") == "second ping").then_some(()));
    let ended = sessions(&weir, 1);
    assert_eq!((&ended[0]["ended"], ended.len()), (&"upstream-reset".into(), 1));
    assert_eq!(old.ask("ping"), "second ping");
    assert_eq!(sessions(&weir, 1).len(), 1, "and stays there");

    weir.reload("hosts: [ { names: [\"*\"], routes: [ { path: /, respond: {} } ] } ]\n");
    eventually("the port is free", || UdpSocket::bind(address).ok());
    weir.reload(&file(address, "", &[second.address], ""));
    assert_eq!(old.ask_until_answered("ping"), "second ping");
}

#[test]
fn the_same_port_may_carry_connections_too() {
    let (udp, tcp) = (UdpOrigin::named("udp"), support::TcpOrigin::named("tcp"));
    let address = free_address();
    let _weir = Weir::start(&format!(
        "listeners:\n  dns: {{ address: \"{address}\", udp: {{ upstream: udp }} }}\n  \
         dns-tcp: {{ address: \"{address}\", tcp: {{ upstream: tcp }} }}\n\
         upstreams:\n  udp: {{ endpoints: [ \"{}\" ] }}\n  tcp: {{ endpoints: [ \"{}\" ] }}\n",
        udp.address, tcp.address
    ));
    assert_eq!(Client::to(address).ask("ping"), "udp ping");
    assert_eq!(support::Connection::open(address).read_until("\n"), "tcp\n");
}

#[test]
fn a_port_that_is_taken_refuses_the_file() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let origin = UdpOrigin::named("a");
    let (weir, address) = start("", &[origin.address]);
    weir.write(&file(taken.local_addr().unwrap(), "", &[origin.address], ""));
    weir.wait_for_refusal("another process listens there");
    assert_eq!(Client::to(address).ask("ping"), "a ping");
}

#[test]
fn the_end_waits_for_answers_and_an_upgrade_hands_the_port_on() {
    let origin = UdpOrigin::named("a");
    let address = free_address();
    let text = file(address, ", responses: 1, idle-timeout: 2s", &[origin.address], "");
    let mut weir = Weir::start(&format!("shutdown: {{ delay: 0s, timeout: 20s }}\n{text}"));
    assert_eq!(Client::to(address).ask("ping"), "a ping");
    weir.signal(Signal::Upgrade);
    assert!(weir.wait_for_exit().success());
    for _ in 0..10 {
        assert_eq!(Client::to(address).ask("ping"), "a ping", "nobody is turned away");
    }
}

#[test]
fn a_name_server_answers_through_it() {
    let knot = Knot::start("hmac-sha256", &[("a.test", "")]);
    let (weir, address) = start(", responses: 1", &[knot.address]);
    let ask = |arguments: &[&str]| {
        let output = std::process::Command::new("kdig")
            .args([&format!("@{}", address.ip()), "-p", &address.port().to_string(), "+notcp", "+timeout=5"])
            .args(arguments)
            .output()
            .expect("kdig is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let answer = ask(&["a.test", "SOA"]);
    assert!(answer.contains("status: NOERROR") && answer.contains("SOA"), "{answer}");
    let line = &sessions(&weir, 1)[0];
    assert_eq!((&line["ended"], &line["endpoint"]), (&"completed".into(), &knot.address.to_string().into()));
    holds_for(Duration::from_millis(200), "no session is left", || {
        weir.metric("weir_sessions_open", &["listener=\"dns\""]) == Some(0.0)
    });
}
