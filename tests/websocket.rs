//! WebSockets: upgraded, carried in both directions, left open as long as the file allows.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Answer, Authority, Origin, WebSocket, WebSocketOrigin, Weir, eventually, free_address, holds_for};

/// `/` has the upstream's read timeout of 300 ms, `/ws` a week.
fn patient_on_ws(endpoint: SocketAddr) -> Weir {
    Weir::start(&format!(
        r#"
        upstreams:
          chat:
            endpoints: [ "{endpoint}" ]
            timeouts:
              read: 300ms
        hosts:
          - names: ["*"]
            routes:
              - path: /
                upstream: chat
              - path: /ws
                upstream: chat
                timeouts:
                  read: 7d
        "#
    ))
}

#[test]
fn messages_are_carried_in_both_directions() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[origin.address]);
    let mut socket = WebSocket::open(weir.http, "chat.test", "/room?id=1");
    socket.assert_echoes("hello");
    socket.assert_echoes("again");

    let large: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    socket.send_binary(large.clone());
    assert_eq!(socket.receive().into_data(), large);
}

#[test]
fn the_handshake_reaches_the_origin_whole() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[origin.address]);
    let _socket = WebSocket::open(weir.http, "chat.test", "/room?id=1");
    let handshake = &origin.handshakes()[0];
    assert_eq!(handshake.uri().to_string(), "/room?id=1");
    let field = |name: &str| handshake.headers()[name].to_str().unwrap().to_ascii_lowercase();
    assert_eq!(
        (field("upgrade"), field("connection"), field("host")),
        ("websocket".into(), "upgrade".into(), "chat.test".into())
    );
    assert_eq!((field("sec-websocket-version"), field("x-forwarded-for")), ("13".into(), "127.0.0.1".into()));
}

#[test]
fn an_end_that_closes_is_told_to_the_other() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[origin.address]);
    let socket = WebSocket::open(weir.http, "chat.test", "/");
    eventually("it is open", || (origin.open_count() == 1).then_some(()));
    socket.close();
    eventually("the origin sees the end", || (origin.open_count() == 0).then_some(()));

    let vanishing = WebSocket::open(weir.http, "chat.test", "/");
    eventually("it is open", || (origin.open_count() == 1).then_some(()));
    drop(vanishing);
    eventually("the origin sees a client that vanished", || (origin.open_count() == 0).then_some(()));
}

#[test]
fn a_socket_may_be_silent_for_as_long_as_its_route_says() {
    let origin = WebSocketOrigin::start();
    let weir = patient_on_ws(origin.address);
    let mut socket = WebSocket::open(weir.http, "chat.test", "/ws/room");
    holds_for(Duration::from_millis(1200), "the silent socket is open", || origin.open_count() == 1);
    socket.assert_echoes("still here");
}

#[test]
fn a_socket_that_is_silent_for_longer_is_closed() {
    let origin = WebSocketOrigin::start();
    let weir = patient_on_ws(origin.address);
    let opened = Instant::now();
    let _socket = WebSocket::open(weir.http, "chat.test", "/other");
    eventually("the silent socket is closed", || {
        (origin.open_count() == 0 && opened.elapsed() > Duration::from_millis(250)).then_some(())
    });
}

#[test]
fn the_listeners_timeouts_for_requests_do_not_end_a_socket() {
    let (origin, http) = (WebSocketOrigin::start(), free_address());
    let _weir = Weir::start(&format!(
        r#"
        listeners:
          http:
            address: "{http}"
            limits:
              header-timeout: 200ms
              body-timeout: 200ms
              idle-timeout: 200ms
        {}"#,
        support::indent(&Weir::forwarding_to(&[origin.address], ""), 8).trim_start()
    ));
    let mut socket = WebSocket::open(http, "chat.test", "/");
    holds_for(Duration::from_millis(800), "the silent socket is open", || origin.open_count() == 1);
    socket.assert_echoes("still here");
}

#[test]
fn an_origin_that_declines_the_upgrade_is_heard() {
    let origin = Origin::start(|_| Answer::status(403, "not you"));
    let weir = Weir::in_front_of(&[origin.address]);
    let answer = weir
        .request("GET", "/ws")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send();
    assert!(matches!(answer.status, 400 | 403), "without Connection: upgrade it is a plain GET");

    let mut connection = weir.connect();
    connection.write(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = connection.read_response();
    assert_eq!((answer.status, answer.text().as_str()), (403, "not you"));
}

#[test]
fn a_request_behind_one_whose_upgrade_is_declined_is_answered() {
    let origin = Origin::start(|request| Answer::ok(&request.target));
    let weir = Weir::in_front_of(&[origin.address]);
    let mut connection = weir.connect();
    connection.write(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
         GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n",
    );
    assert_eq!(connection.read_response().text(), "/ws");
    assert_eq!(connection.read_response().text(), "/next");
    assert_eq!(origin.received()[0].body, b"", "it is no part of the first one");
}

#[test]
fn what_the_client_sends_before_it_has_its_101_is_not_lost() {
    let origin = Origin::start(|_| {
        Answer::drive(|stream| {
            use std::io::{Read, Write};
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                .expect("weir reads");
            let mut said = [0; 5];
            stream.read_exact(&mut said).expect("the client has spoken");
            stream.write_all(&said).expect("weir reads");
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut connection = weir.connect();
    connection.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    assert_eq!(connection.read_head().expect("an answer").status, 101);
    connection.read_until("hello");
    connection.assert_closed();
}

#[test]
fn what_the_origin_sends_right_behind_its_101_is_not_lost() {
    let origin = Origin::start(|_| {
        Answer::drive(|stream| {
            use std::io::{Read, Write};
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst words",
                )
                .expect("weir reads");
            let mut said = [0; 5];
            stream.read_exact(&mut said).expect("the client speaks");
            stream.write_all(&said).expect("weir reads");
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut connection = weir.connect();
    connection.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(connection.read_head().expect("an answer").status, 101);
    connection.read_until("first words");
    connection.write("hello");
    connection.read_until("hello");
    connection.assert_closed();
}

#[test]
fn sockets_work_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    let (cert, key) = authority.issue(&["chat.test"]).write(folder.path(), "chat");
    let (origin, https) = (WebSocketOrigin::start(), free_address());
    let _weir = Weir::start(&format!(
        r#"
        listeners:
          https:
            address: "{https}"
            tls: {{}}
        certificates:
          - file:
              cert: {}
              key: {}
        {}"#,
        cert.display(),
        key.display(),
        support::indent(&Weir::forwarding_to(&[origin.address], ""), 8).trim_start()
    ));
    let mut socket = WebSocket::open_tls(https, "chat.test", "/", &authority.client());
    socket.assert_echoes("secret");
    assert_eq!(origin.handshakes()[0].headers()["x-forwarded-proto"], "https");
}

#[test]
fn a_hundred_sockets_are_open_at_once() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[origin.address]);
    let mut sockets: Vec<_> = (0..100).map(|_| WebSocket::open(weir.http, "chat.test", "/")).collect();
    eventually("all are open", || (origin.open_count() == 100).then_some(()));
    sockets.iter_mut().enumerate().for_each(|(number, socket)| socket.assert_echoes(&number.to_string()));
}
