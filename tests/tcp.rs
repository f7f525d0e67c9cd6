//! Connections that are carried to an upstream: what goes in comes out, whoever ends it, and whatever happens around it.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    Authority, Blackhole, Connection, LIMIT, Signal, TcpOrigin, Weir, eventually, free_address, holds_for, indent,
    read_line, read_proxy_v2,
};

/// A file with one listener `db` at `address`, which carries to the endpoints.
fn file(address: SocketAddr, tcp: &str, listener: &str, endpoints: &[SocketAddr], upstream: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "listeners:\n  db:\n    address: \"{address}\"\n    tcp: {{ upstream: origin{tcp} }}\n{}\
         upstreams:\n  origin:\n    endpoints: [ {} ]\n{}",
        indent(listener, 4),
        endpoints.join(", "),
        indent(upstream, 4)
    )
}

fn start(endpoints: &[SocketAddr], upstream: &str) -> (Weir, SocketAddr) {
    let address = free_address();
    (Weir::start(&file(address, "", "", endpoints, upstream)), address)
}

/// The access log's lines about sessions, once there are so many.
#[track_caller]
fn sessions(weir: &Weir, count: usize) -> Vec<Value> {
    eventually(&format!("{count} sessions in the log"), || {
        let lines: Vec<Value> = weir
            .log()
            .lines()
            .filter(|line| line.contains("\"listener\":\"db\"") && line.contains("\"ended\""))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// The name that an origin says first.
fn name(connection: &mut Connection) -> String {
    connection.read_until("\n").trim().to_owned()
}

#[test]
fn bytes_go_both_ways_whatever_they_are() {
    let origin = TcpOrigin::echo();
    let (weir, address) = start(&[origin.address], "");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || {
        writing.write_all(&copy).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    assert!(back == sent, "{} of {} bytes came back", back.len(), sent.len());
    let line = &sessions(&weir, 1)[0];
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&3_000_000.into(), &3_000_000.into()));
}

#[test]
fn who_has_said_all_still_gets_the_answer() {
    // Answers only when the client has finished, as `nc -N` and many a batch protocol want it.
    let origin = TcpOrigin::start(|stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        write!(stream, "{} bytes", all.len())
    });
    let (_weir, address) = start(&[origin.address], "");
    let mut client = Connection::open(address);
    client.write("hello");
    client.finish_writing();
    assert_eq!(client.read_to_end(), b"5 bytes");
}

#[test]
fn an_upstream_that_has_said_all_still_hears_the_client() {
    let (heard, hears) = channel();
    let heard = Mutex::new(heard);
    let origin = TcpOrigin::start(move |stream| {
        stream.write_all(b"bye")?;
        stream.shutdown(Shutdown::Write)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        heard.lock().unwrap().send(all).unwrap();
        Ok(())
    });
    let (weir, address) = start(&[origin.address], "");
    let mut client = Connection::open(address);
    assert_eq!(client.read_to_end(), b"bye");
    client.write("last words");
    client.finish_writing();
    assert_eq!(hears.recv_timeout(LIMIT).unwrap(), b"last words");
    assert_eq!(sessions(&weir, 1)[0]["ended"], "completed");
}

#[test]
fn who_breaks_off_breaks_the_other_off() {
    let resetting = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (weir, address) = start(&[resetting.local_addr().unwrap()], "");
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let (mut upstream, _) = resetting.accept().unwrap();
    upstream.set_read_timeout(Some(LIMIT)).unwrap();
    // A reset at once might be taken for a connection that could not be made.
    client.write_all(b"?").unwrap();
    upstream.read_exact(&mut [0]).unwrap();
    socket2::SockRef::from(&upstream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(upstream);
    let error = client.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "an end that was not meant is none to the client");
    assert_eq!(sessions(&weir, 1)[0]["ended"], "upstream-reset");

    let mut client = TcpStream::connect(address).unwrap();
    let (mut upstream, _) = resetting.accept().unwrap();
    upstream.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(b"?").unwrap();
    upstream.read_exact(&mut [0]).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(upstream.read(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(sessions(&weir, 2)[1]["ended"], "client-closed");
}

#[test]
fn a_reader_that_does_not_read_holds_the_writer_up_and_costs_no_memory() {
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let origin = TcpOrigin::start(move |stream| {
        gate.lock().unwrap().recv_timeout(LIMIT * 2).unwrap();
        std::io::copy(stream, &mut std::io::sink()).map(drop)
    });
    let (weir, address) = start(&[origin.address], "");
    let mut client = TcpStream::connect(address).unwrap();
    let before = weir.resident_kib();
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let (mut written, piece) = (0, vec![7; 1 << 20]);
    while written < 256 << 20 {
        match client.write(&piece) {
            Ok(n) => written += n,
            Err(_) => break,
        }
    }
    assert!(written < 256 << 20, "nobody held the client up");
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more for what nobody has read");
    release.send(()).unwrap();
    client.set_write_timeout(Some(LIMIT)).unwrap();
    client.write_all(&piece).unwrap();
}

#[test]
fn connections_that_wait_hold_no_buffers() {
    let origin = TcpOrigin::echo();
    let (weir, address) = start(&[origin.address], "");
    let mut clients: Vec<_> = (0..20).map(|_| Connection::open(address)).collect();
    let exchange = |clients: &mut Vec<Connection>| {
        for client in clients {
            client.write("ping\n");
            client.read_until("ping\n");
        }
    };
    exchange(&mut clients);
    let before = weir.resident_kib();
    clients.extend((0..300).map(|_| Connection::open(address)));
    exchange(&mut clients);
    let each = weir.resident_kib().saturating_sub(before) / 300;
    // Two buffers of 16 KiB would be 32.
    assert!(each < 20, "{each} KiB for a connection that waits");
}

#[test]
fn the_upstream_is_told_of_the_client_by_either_version() {
    let (told, tells) = channel();
    let told = Mutex::new(told);
    let v1 = TcpOrigin::start(move |stream| {
        let line = read_line(stream)?;
        told.lock().unwrap().send(line).unwrap();
        support::echo(stream)
    });
    let address = free_address();
    let _weir = Weir::start(&file(address, ", send-proxy-protocol: v1", "", &[v1.address], ""));
    let mut client = Connection::open(address);
    client.write("ping\n");
    client.read_until("ping\n");
    let from = client.local_address();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}", from.port(), address.port());
    assert_eq!(tells.recv_timeout(LIMIT).unwrap(), expected);

    let (told, tells) = channel();
    let told = Mutex::new(told);
    let v2 = TcpOrigin::start(move |stream| {
        let between = read_proxy_v2(stream)?;
        told.lock().unwrap().send(between).unwrap();
        support::echo(stream)
    });
    let address = free_address();
    let _weir = Weir::start(&file(address, ", send-proxy-protocol: v2", "", &[v2.address], ""));
    let mut client = Connection::open(address);
    // The client need not speak first.
    assert_eq!(tells.recv_timeout(LIMIT).unwrap(), (client.local_address(), address));
    client.write("ping\n");
    client.read_until("ping\n");
}

#[test]
fn who_the_client_is_comes_in_by_the_proxy_protocol_and_goes_on_by_it() {
    let (told, tells) = channel();
    let told = Mutex::new(told);
    let origin = TcpOrigin::start(move |stream| {
        told.lock().unwrap().send(read_line(stream)?).unwrap();
        support::echo(stream)
    });
    let (address, listener) = (
        free_address(),
        "proxy-protocol: { trusted: [127.0.0.1/32] }\nlimits: { header-timeout: 500ms, max-connections: 5 }",
    );
    let weir = Weir::start(&file(address, ", send-proxy-protocol: v1", listener, &[origin.address], ""));
    let mut client = Connection::open(address);
    client.write("PROXY TCP4 203.0.113.9 192.0.2.1 4711 5432\r\nping\n");
    client.read_until("ping\n");
    assert_eq!(tells.recv_timeout(LIMIT).unwrap(), "PROXY TCP4 203.0.113.9 192.0.2.1 4711 5432");
    client.finish_writing();
    client.read_to_end();
    assert_eq!(sessions(&weir, 1)[0]["client"], "203.0.113.9");

    // Strangers, those who say nothing, and those who say something else.
    let mut stranger = Connection::try_open_from("127.0.0.2:0".parse().unwrap(), address).unwrap();
    let _ = stranger.try_write("PROXY TCP4 203.0.113.9 192.0.2.1 4711 5432\r\n");
    stranger.assert_closed();
    let begun = Instant::now();
    Connection::open(address).assert_closed();
    assert!(begun.elapsed() >= Duration::from_millis(400), "it had its time");
    let mut other = Connection::open(address);
    let _ = other.try_write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    other.assert_closed();
    let rejected = |reason: &str| weir.metric("weir_connections_rejected_total", &["listener=\"db\"", reason]);
    for reason in ["reason=\"untrusted\"", "reason=\"timeout\"", "reason=\"proxy-header\""] {
        eventually(reason, || (rejected(reason) == Some(1.0)).then_some(()));
    }
    assert_eq!(origin.connection_count(), 1);
}

#[test]
fn another_endpoint_is_tried_while_no_connection_could_be_made() {
    let origin = TcpOrigin::named("alive");
    let (dead, hole) = (free_address(), Blackhole::start());
    let keys = "timeouts: { connect: 300ms }\nretry: { attempts: 3 }\noutlier-detection: off";
    let (weir, address) = start(&[dead, hole.address, origin.address], keys);
    for _ in 0..6 {
        assert_eq!(name(&mut Connection::open(address)), "alive");
    }
    let retries = weir.metric("weir_upstream_retries_total", &["upstream=\"origin\""]).unwrap();
    assert!(retries >= 4.0, "{retries} retries");
}

#[test]
fn without_retries_a_connection_that_cannot_be_made_is_the_clients_end() {
    let dead = free_address();
    let (weir, address) = start(&[dead], "retry: { attempts: 1 }");
    Connection::open(address).assert_closed();
    let line = &sessions(&weir, 1)[0];
    assert_eq!((&line["ended"], &line["retries"]), (&"upstream-connect-failed".into(), &0.into()));
    assert_eq!(line["endpoint"], dead.to_string());
    let hole = Blackhole::start();
    weir.reload(&file(address, "", "", &[hole.address], "timeouts: { connect: 300ms }\nretry: { attempts: 1 }"));
    Connection::open(address).assert_closed();
    assert_eq!(sessions(&weir, 2)[1]["ended"], "upstream-connect-timeout");
}

#[test]
fn endpoints_have_their_turn_and_clients_can_be_kept_to_one() {
    let origins = [TcpOrigin::named("a"), TcpOrigin::named("b")];
    let endpoints = origins.each_ref().map(|origin| origin.address);
    let (weir, address) = start(&endpoints, "");
    let names: Vec<_> = (0..4).map(|_| name(&mut Connection::open(address))).collect();
    assert_eq!(names.iter().filter(|name| *name == "a").count(), 2, "{names:?}");

    weir.reload(&file(address, "", "", &endpoints, "balance: { hash: client-ip }"));
    for from in ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"] {
        let said = || name(&mut Connection::try_open_from(from.parse().unwrap(), address).unwrap());
        let first = said();
        assert!((0..5).all(|_| said() == first), "{from}");
    }

    weir.reload(&file(address, "", "", &endpoints, "balance: least-connections"));
    let mut held = Connection::open(address);
    let busy = name(&mut held);
    let next = name(&mut Connection::open(address));
    assert_ne!(busy, next, "the other one has fewer");
}

#[test]
fn a_backup_serves_while_the_first_is_unhealthy() {
    let backup = TcpOrigin::named("backup");
    let first = free_address();
    let upstream = format!(
        "upstreams:\n  origin:\n    endpoints: [ \"{first}\", {{ address: \"{}\", backup: true }} ]\n    \
         health-check: {{ tcp: {{}}, interval: 100ms, unhealthy-after: 1, healthy-after: 1 }}\n",
        backup.address
    );
    let address = free_address();
    let weir = Weir::start(&format!(
        "listeners:\n  db: {{ address: \"{address}\", tcp: {{ upstream: origin }} }}\n{upstream}"
    ));
    assert_eq!(name(&mut Connection::open(address)), "backup");
    let retries = weir.metric("weir_upstream_retries_total", &["upstream=\"origin\""]);
    assert_eq!(retries, Some(0.0), "nobody had to try the one that is down");
    let _first = TcpOrigin::named_at(first, "first");
    eventually("the first is asked again", || (name(&mut Connection::open(address)) == "first").then_some(()));
}

#[test]
fn an_endpoint_that_fails_the_traffic_is_left_alone() {
    let origin = TcpOrigin::named("alive");
    let dead = free_address();
    let keys = "outlier-detection: { failures: 2, window: 1m, eject-for: 10m, max-ejected: 100% }";
    let (weir, address) = start(&[dead, origin.address], keys);
    for _ in 0..12 {
        assert_eq!(name(&mut Connection::open(address)), "alive");
    }
    let failures = weir.metric("weir_endpoint_failures_total", &[&format!("endpoint=\"{dead}\"")]);
    assert_eq!(failures, Some(2.0));
}

#[test]
fn caps_hold_at_the_listener_and_at_the_endpoints() {
    let origin = TcpOrigin::named("origin");
    let address = free_address();
    let capped = |listener: &str, upstream: &str| file(address, "", listener, &[origin.address], upstream);
    let weir = Weir::start(&capped("limits: { max-connections: 2 }", ""));
    let mut held: Vec<_> = (0..2).map(|_| Connection::open(address)).collect();
    held.iter_mut().for_each(|client| assert_eq!(name(client), "origin"));
    Connection::open(address).assert_closed();
    let rejected = || weir.metric("weir_connections_rejected_total", &["listener=\"db\"", "reason=\"too-many\""]);
    assert_eq!(rejected(), Some(1.0));

    weir.reload(&capped("", "limits: { max-connections: 2, queue: 1, queue-timeout: 10s }"));
    // One waits for a place, and one more is too many.
    let mut waiting = Connection::open(address);
    eventually("it waits", || weir.admin("/upstreams").text().contains("\"waiting\": 1").then_some(()));
    Connection::open(address).assert_closed();
    assert_eq!(sessions(&weir, 1)[0]["ended"], "queue-overflow");
    held.pop();
    assert_eq!(name(&mut waiting), "origin");
}

#[test]
fn silence_on_both_sides_ends_it_and_a_word_on_either_does_not() {
    let origin = TcpOrigin::start(|stream| {
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(300));
            stream.write_all(b".")?;
        }
        support::echo(stream)
    });
    let address = free_address();
    let weir = Weir::start(&file(address, ", idle-timeout: 1s", "", &[origin.address], ""));
    let begun = Instant::now();
    let mut client = Connection::open(address);
    assert_eq!(client.read_to_end(), b"......");
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(6 * 300 + 900), "ended after {taken:?}");
    assert_eq!(sessions(&weir, 1)[0]["ended"], "idle-timeout");
    eventually("the upstream is let go, too", || (origin.active() == 0).then_some(()));
}

#[test]
fn a_reload_ends_nothing_and_a_listener_that_goes_leaves_what_is_open() {
    let (first, second) = (TcpOrigin::named("first"), TcpOrigin::named("second"));
    let address = free_address();
    let weir = Weir::start(&file(address, "", "", &[first.address], ""));
    let mut old = Connection::open(address);
    assert_eq!(name(&mut old), "first");
    weir.reload(&file(address, ", idle-timeout: 5m", "", &[second.address], ""));
    assert_eq!(name(&mut Connection::open(address)), "second");
    old.write("still here\n");
    old.read_until("still here\n");

    // The same name and address, for requests now; and then not at all.
    let respond = "hosts: [ { names: [\"*\"], routes: [ { path: /, respond: { status: 204 } } ] } ]\n";
    weir.reload(&format!("listeners:\n  db: {{ address: \"{address}\" }}\n{respond}"));
    assert_eq!(support::request(address, "GET", "/").send().status, 204);
    old.write("still here\n");
    old.read_until("still here\n");
    weir.reload(respond);
    eventually("nobody listens", || TcpStream::connect(address).is_err().then_some(()));
    old.write("still here\n");
    old.read_until("still here\n");
    weir.reload(&file(address, "", "", &[second.address], ""));
    assert_eq!(name(&mut Connection::open(address)), "second");
    old.finish_writing();
    old.read_to_end();
    assert_eq!(first.connection_count(), 1);
}

#[test]
fn the_end_of_the_process_waits_for_what_is_open_and_takes_nobody_new() {
    let origin = TcpOrigin::named("origin");
    let address = free_address();
    let text = file(address, "", "", &[origin.address], "");
    let mut weir = Weir::start(&format!("shutdown: {{ delay: 0s, timeout: 20s }}\n{text}"));
    let mut client = Connection::open(address);
    assert_eq!(name(&mut client), "origin");
    weir.signal(Signal::Terminate);
    eventually("nobody new is let in", || TcpStream::connect(address).is_err().then_some(()));
    client.write("to the end\n");
    client.read_until("to the end\n");
    client.finish_writing();
    client.read_to_end();
    let begun = Instant::now();
    assert!(weir.wait_for_exit().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "it did not wait for more");
    let mut weir = Weir::start(&format!("shutdown: {{ delay: 0s, timeout: 500ms }}\n{text}"));
    let mut client = Connection::open(address);
    assert_eq!(name(&mut client), "origin");
    weir.signal(Signal::Terminate);
    client.assert_closed();
    weir.wait_for_exit();
}

#[test]
fn an_upgrade_hands_the_port_on_and_ends_nothing() {
    let origin = TcpOrigin::named("origin");
    let address = free_address();
    let text = file(address, "", "", &[origin.address], "");
    let mut weir = Weir::start(&format!("shutdown: {{ delay: 0s, timeout: 20s }}\n{text}"));
    let mut old = Connection::open(address);
    assert_eq!(name(&mut old), "origin");
    weir.signal(Signal::Upgrade);
    let lines = || weir.log().matches("\"listening\"").count().max(weir.log().matches("listening").count());
    eventually("the successor serves", || (lines() >= 3).then_some(()));
    for _ in 0..10 {
        assert_eq!(name(&mut Connection::open(address)), "origin", "nobody is turned away");
    }
    old.write("still here\n");
    old.read_until("still here\n");
    old.finish_writing();
    old.read_to_end();
    assert!(weir.wait_for_exit().success(), "the predecessor has nothing left to do");
    assert_eq!(name(&mut Connection::open(address)), "origin");
}

#[test]
fn sessions_are_counted_and_logged() {
    let origin = TcpOrigin::named("origin");
    let (weir, address) = start(&[origin.address], "");
    let labels = ["listener=\"db\"", "upstream=\"origin\""];
    let metric = |name: &str| weir.metric(name, &labels);
    let mut client = Connection::open(address);
    assert_eq!(name(&mut client), "origin");
    client.write("12345");
    client.read_until("12345");
    eventually("bytes are counted as they pass", || {
        let counted = (metric("weir_session_input_bytes_total"), metric("weir_session_output_bytes_total"));
        (counted == (Some(5.0), Some(12.0))).then_some(())
    });
    assert_eq!(metric("weir_sessions_open"), Some(1.0));
    assert_eq!(weir.metric("weir_connections_open", &["listener=\"db\""]), Some(1.0));
    client.finish_writing();
    client.read_to_end();
    let line = &sessions(&weir, 1)[0];
    let shown = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [shown("client"), shown("protocol"), shown("upstream"), shown("endpoint"), shown("ended")],
        ["127.0.0.1", "TCP", "origin", &origin.address.to_string(), "completed"]
    );
    assert!(line["connect_ms"].is_number() && line["duration_ms"].is_number() && line.get("status").is_none());
    let ended = weir.metric("weir_sessions_total", &[labels[0], labels[1], "ended=\"completed\""]);
    assert_eq!((ended, metric("weir_sessions_open")), (Some(1.0), Some(0.0)));
    let new = weir.metric("weir_upstream_connections_total", &["upstream=\"origin\"", "state=\"new\""]);
    assert_eq!(new, Some(1.0));
}

#[test]
fn a_connection_can_be_carried_to_an_upstream_in_tls() {
    let authority = Authority::new("test");
    let origin = support::TlsEcho::start(&authority.issue(&["db.test"]));
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write_pem(folder.path());
    let tls = |name: &str| format!("tls: {{ ca: {}, server-name: {name} }}\nretry: {{ attempts: 1 }}", ca.display());
    let (weir, address) = start(&[origin.address], &tls("db.test"));
    let mut client = Connection::open(address);
    client.write("ping\n");
    client.read_until("ping\n");
    client.finish_writing();
    assert_eq!(client.read_to_end(), b"", "the end passes through TLS");
    assert_eq!(origin.offered(), Vec::<Vec<u8>>::new(), "no protocol of HTTP is offered");

    weir.reload(&file(address, "", "", &[origin.address], &tls("other.test")));
    Connection::open(address).assert_closed();
    assert_eq!(sessions(&weir, 2)[1]["ended"], "upstream-tls-failed");
    let skip = "tls: { verify: skip, server-name: other.test }";
    weir.reload(&file(address, "", "", &[origin.address], skip));
    let mut client = Connection::open(address);
    client.write("ping\n");
    client.read_until("ping\n");
}

#[test]
fn http_is_served_beside_it() {
    let (origin, http) = (TcpOrigin::named("origin"), free_address());
    let address = free_address();
    let weir = Weir::start(&format!(
        "listeners:\n  web: {{ address: \"{http}\" }}\n  db: {{ address: \"{address}\", tcp: {{ upstream: origin }} }}\n\
         upstreams:\n  origin: {{ endpoints: [ \"{}\" ] }}\n\
         hosts: [ {{ names: [\"*\"], routes: [ {{ path: /, respond: {{ status: 204 }} }} ] }} ]\n",
        origin.address
    ));
    assert_eq!(name(&mut Connection::open(address)), "origin");
    assert_eq!(support::request(http, "GET", "/").send().status, 204);
    assert!(weir.admin("/config").text().contains("tcp_listeners"));
}

#[test]
fn a_client_that_never_speaks_is_not_waited_for() {
    // Servers that speak first: SMTP, MySQL, SSH.
    let greeted = std::sync::Arc::new(AtomicUsize::new(0));
    let count = greeted.clone();
    let origin = TcpOrigin::start(move |stream| {
        stream.write_all(b"220 ready\r\n")?;
        count.fetch_add(1, Ordering::SeqCst);
        support::echo(stream)
    });
    let (_weir, address) = start(&[origin.address], "");
    let mut client = Connection::open(address);
    client.read_until("220 ready\r\n");
    holds_for(Duration::from_millis(300), "it stays open", || client.read_available().is_empty());
    assert_eq!(greeted.load(Ordering::SeqCst), 1);
}

#[test]
fn it_is_explained_where_a_connection_would_go() {
    let (address, endpoint) = (free_address(), free_address());
    let weir = Weir::start(&file(address, ", send-proxy-protocol: v2, idle-timeout: 5m", "", &[endpoint], ""));
    let explained = |url: &str| {
        let output =
            support::weir_command().arg("explain").arg(weir.file()).args(["GET", url]).output().expect("it starts");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = explained(&format!("tcp://{address}"));
    let outcome =
        "carried to upstream origin as it comes, behind a PROXY header of version 2 (timeouts: connect 5s, idle 5m)";
    assert!(said.contains("listener  db") && said.contains(outcome) && said.contains(&endpoint.to_string()), "{said}");
    assert!(explained("tcp://a.test:1").contains(&format!("those that do: {}", address.port())));
    let said = explained(&format!("http://{address}/"));
    assert!(said.contains("carries connections, and looks into none"), "{said}");
}
