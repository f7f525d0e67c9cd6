//! WebSockets over HTTP/2 (RFC 8441): a stream towards the client, an HTTP/1.1 upgrade towards the upstream, and
//! otherwise a request like any other.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use support::{
    Answer, Authority, H2Client, Nginx, Origin, Signal, TlsClient, WebSocket, WebSocketOrigin, Weir, eventually,
    free_address, free_port, holds_for,
};

#[test]
fn messages_are_carried_in_both_directions() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    let mut socket = WebSocket::over_h2(&mut client, "chat.test", "/room?id=1");
    socket.assert_echoes("hello");
    socket.assert_echoes("again");
    // More than all windows and buffers on the way hold.
    let large: Vec<u8> = (0..8_000_000u32).map(|i| (i % 251) as u8).collect();
    socket.send_binary(large.clone());
    assert_eq!(socket.receive().into_data(), large);
}

#[test]
fn the_origin_sees_the_handshake_of_http1() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_websocket("chat.test:8080", "/room?id=1");
    assert_eq!(stream.status(), 200, "RFC 8441 §5");
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert_eq!(stream.header(name), None, "{name} belongs to HTTP/1");
    }
    let handshake = &origin.handshakes()[0];
    assert_eq!((handshake.method().as_str(), handshake.uri().to_string().as_str()), ("GET", "/room?id=1"));
    let field = |name: &str| handshake.headers()[name].to_str().unwrap().to_ascii_lowercase();
    assert_eq!(
        (field("upgrade"), field("connection"), field("host")),
        ("websocket".into(), "upgrade".into(), "chat.test:8080".into())
    );
    assert_eq!((field("sec-websocket-version"), field("x-forwarded-for")), ("13".into(), "127.0.0.1".into()));
    assert_eq!(field("x-forwarded-host"), "chat.test:8080");
}

#[test]
fn sockets_share_a_connection_with_each_other_and_with_requests() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::start(&format!(
        "upstreams:\n  chat:\n    endpoints: [ \"{}\" ]\nhosts:\n  - names: [\"*\"]\n    routes:\n\
         \x20     - {{ path: /, upstream: chat }}\n\
         \x20     - {{ path: /page, respond: {{ status: 200, body: page }} }}\n",
        origin.address
    ));
    let mut client = H2Client::plain(weir.http);
    let mut sockets: Vec<_> = (0..30).map(|_| WebSocket::over_h2(&mut client, "chat.test", "/")).collect();
    assert_eq!(client.get("chat.test", "/page").text(), "page");
    sockets.iter_mut().enumerate().for_each(|(number, socket)| socket.assert_echoes(&number.to_string()));
    assert_eq!(origin.open_count(), 30);
}

/// A TLS listener in front of a WebSocket origin behind nginx's TLS.
#[test]
fn sockets_work_over_tls_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    let (cert, key) = authority.issue(&["chat.test", "inner.test"]).write(folder.path(), "chat");
    let (cert, key, ca) = (cert.display(), key.display(), authority.write_pem(folder.path()));
    let (origin, https) = (WebSocketOrigin::start(), free_address());
    let inner: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let _nginx = Nginx::start(&format!(
        "listen {inner} ssl; ssl_certificate {cert}; ssl_certificate_key {key};
         location / {{
             proxy_pass http://{}; proxy_http_version 1.1;
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
             proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;
         }}",
        origin.address
    ));
    for protocol in ["http1", "auto"] {
        let keys = format!("protocol: {protocol}\ntls: {{ server-name: inner.test, ca: {} }}", ca.display());
        let _weir = Weir::start(&format!(
            "listeners:\n  https:\n    address: \"{https}\"\n    tls: {{}}\n\
             certificates:\n  - file: {{ cert: {cert}, key: {key} }}\n{}",
            Weir::forwarding_to(&[inner], &keys)
        ));
        let mut client = H2Client::tls(https, "chat.test", &TlsClient::trusting(&authority, &[b"h2"]));
        WebSocket::over_h2(&mut client, "chat.test", "/").assert_echoes("secret");
        assert_eq!(origin.handshakes().last().unwrap().headers()["x-forwarded-proto"], "https", "{protocol}");
    }
}

#[test]
fn an_end_that_closes_is_told_to_the_other() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    let is_open = |count| move |origin: &WebSocketOrigin| (origin.open_count() == count).then_some(());

    let socket = WebSocket::over_h2(&mut client, "chat.test", "/");
    eventually("it is open", || is_open(1)(&origin));
    socket.close();
    eventually("the origin sees the end", || is_open(0)(&origin));

    let cancelled = client.open_websocket("chat.test", "/");
    eventually("it is open", || is_open(1)(&origin));
    cancelled.cancel();
    eventually("the origin sees a stream that was reset", || is_open(0)(&origin));

    let _vanishing = client.open_websocket("chat.test", "/");
    eventually("it is open", || is_open(1)(&origin));
    drop(client);
    eventually("the origin sees a connection that vanished", || is_open(0)(&origin));
    eventually("nothing is left", || (weir.metric("weir_requests_in_flight", &[]) == Some(0.0)).then_some(()));
}

#[test]
fn an_origin_that_closes_ends_the_stream_in_order() {
    let origin = Origin::start(|_| {
        Answer::drive(|stream| {
            use std::io::Write;
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            // In one piece: what stands right behind the 101 belongs to the tunnel.
            stream.write_all(format!("{head}last words").as_bytes()).expect("weir reads");
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_websocket("a.test", "/");
    assert_eq!((stream.status(), stream.text().as_str()), (200, "last words"));
    eventually("it is logged as what it is", || {
        let line = weir.log().lines().find(|line| line.contains("\"upgraded\"")).map(str::to_owned)?;
        assert!(line.contains("HTTP/2"), "{line}");
        Some(())
    });
}

#[test]
fn an_origin_that_declines_is_heard() {
    let origin = Origin::start(|_| Answer::status(403, "not you"));
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    for _ in 0..2 {
        let mut declined = client.open_websocket("a.test", "/");
        assert_eq!((declined.status(), declined.text().as_str()), (403, "not you"));
    }
}

/// An origin that declined would wait for it, and take it from the connection's next request.
#[test]
fn what_a_client_says_of_a_body_is_not_said_to_the_origin() {
    let origin = Origin::start_at_head(|_| Answer::status(403, "not you"));
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    let mut declined =
        client.open_tunnel_with("websocket", "a.test", "/", &[("content-length", "200"), ("expect", "100-continue")]);
    assert_eq!((declined.status(), declined.text().as_str()), (403, "not you"));
    let request = origin.only_request();
    assert_eq!([request.header("content-length"), request.header("expect")], [None, None]);
}

#[test]
fn a_success_that_opens_no_tunnel_is_none() {
    let (origin, folder) = (Origin::named("a page"), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("a.txt"), "a file").unwrap();
    let weir = Weir::start(&format!(
        "upstreams:\n  chat:\n    endpoints: [ \"{}\" ]\nhosts:\n  - names: [\"*\"]\n    routes:\n\
             \x20     - {{ path: /, upstream: chat }}\n\
             \x20     - {{ path: /page, respond: {{ status: 200, body: page }} }}\n\
             \x20     - {{ path: /a.txt, files: {{ root: {} }} }}\n",
        origin.address,
        folder.path().display()
    ));
    let mut client = H2Client::plain(weir.http);
    for path in ["/", "/page", "/a.txt"] {
        assert_eq!(client.get("a.test", path).status, 200, "{path}");
        assert_eq!(client.open_websocket("a.test", path).status(), 502, "{path}");
    }
    eventually("the log says whose word it was", || {
        weir.log().lines().any(|line| line.contains("502") && line.contains("\"upstream-protocol\"")).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(client.open_websocket("a.test", "/").status(), 502);
    }
    assert_eq!(client.get("a.test", "/").status, 200, "the endpoint is not to blame");
}

#[test]
fn what_is_wrong_behind_weir_is_told_as_for_any_request() {
    let nobody = free_address();
    let weir = Weir::in_front_of(&[nobody]);
    let mut client = H2Client::plain(weir.http);
    assert_eq!(client.open_websocket("a.test", "/").status(), 502, "nobody there");

    let silent = Origin::start(|_| Answer::Silence);
    let weir = Weir::start(&Weir::forwarding_to(&[silent.address], "timeouts: { read: 200ms }"));
    let mut client = H2Client::plain(weir.http);
    assert_eq!(client.open_websocket("a.test", "/").status(), 504, "no answer");
}

#[test]
fn an_endpoint_that_is_down_is_passed_over() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::in_front_of(&[free_address(), origin.address]);
    let mut client = H2Client::plain(weir.http);
    for _ in 0..4 {
        WebSocket::over_h2(&mut client, "chat.test", "/").assert_echoes("hello");
    }
}

#[test]
fn routes_and_their_checks_hold_as_for_a_get() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::start(&format!(
        "upstreams:\n  chat:\n    endpoints: [ \"{}\" ]\nhosts:\n  - names: [chat.test]\n    routes:\n\
         \x20     - {{ path: /ws, upstream: chat }}\n\
         \x20     - {{ path: /moved, redirect: {{ path: /ws }} }}\n",
        origin.address
    ));
    let mut client = H2Client::plain(weir.http);
    assert_eq!(client.open_websocket("chat.test", "/nowhere").status(), 404);
    assert_eq!(client.open_websocket("other.test", "/ws").status(), 404);
    assert_eq!(client.open_websocket("chat.test", "/moved").header("location").as_deref(), Some("http://chat.test/ws"));
    assert_eq!(client.open_websocket("chat.test", "/ws").status(), 200);
}

#[test]
fn a_plain_connect_is_refused_and_so_are_other_protocols() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    assert_eq!(client.send("CONNECT", "a.test:80", "", &[], None).status, 405);
    assert_eq!(client.open_tunnel("connect-udp", "a.test", "/").status(), 405);
    assert_eq!(client.get("a.test", "/").status, 200, "the connection is in order");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn silence_is_bounded_by_the_routes_read_timeout_and_not_by_the_listeners() {
    let (origin, http) = (WebSocketOrigin::start(), free_address());
    let _weir = Weir::start(&format!(
        "listeners:\n  http:\n    address: \"{http}\"\n\
         \x20   limits: {{ header-timeout: 200ms, body-timeout: 200ms, idle-timeout: 200ms }}\n\
         upstreams:\n  chat:\n    endpoints: [ \"{}\" ]\n    timeouts: {{ read: 300ms }}\n\
         hosts:\n  - names: [\"*\"]\n    routes:\n\
         \x20     - {{ path: /, upstream: chat }}\n\
         \x20     - {{ path: /ws, upstream: chat, timeouts: {{ read: 7d }} }}\n",
        origin.address
    ));
    let mut client = H2Client::plain(http);
    let mut patient = WebSocket::over_h2(&mut client, "chat.test", "/ws/room");
    let _impatient = WebSocket::over_h2(&mut client, "chat.test", "/other");
    eventually("the silent one is closed", || (origin.open_count() == 1).then_some(()));
    holds_for(Duration::from_millis(800), "the patient one is open", || origin.open_count() == 1);
    patient.assert_echoes("still here");
}

#[test]
fn the_last_request_of_an_upstream_connection_may_be_an_upgrade() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::start(&Weir::forwarding_to(&[origin.address], "keepalive: { max-requests: 1 }"));
    let mut client = H2Client::plain(weir.http);
    WebSocket::over_h2(&mut client, "chat.test", "/").assert_echoes("hello");
    WebSocket::open(weir.http, "chat.test", "/").assert_echoes("hello");
}

#[test]
fn the_time_for_the_request_is_over_with_the_handshake() {
    let origin = WebSocketOrigin::start();
    let weir = Weir::start(&Weir::forwarding_to(&[origin.address], "timeouts: { request: 300ms }"));
    let mut client = H2Client::plain(weir.http);
    let (mut over_h2, mut over_h1) =
        (WebSocket::over_h2(&mut client, "chat.test", "/"), WebSocket::open(weir.http, "chat.test", "/"));
    holds_for(Duration::from_millis(600), "both are open", || origin.open_count() == 2);
    over_h2.assert_echoes("still here");
    over_h1.assert_echoes("here, too");
}

#[test]
fn a_drain_lets_open_sockets_finish() {
    let origin = WebSocketOrigin::start();
    let mut weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    let mut socket = WebSocket::over_h2(&mut client, "chat.test", "/");
    socket.assert_echoes("before");
    weir.signal(Signal::Terminate);
    eventually("it drains", || (weir.admin("/readyz").status == 503).then_some(()));
    socket.assert_echoes("after");
    socket.close();
    assert!(client.closed_in_order());
    assert!(weir.wait_for_exit().success());
}

#[test]
fn a_client_that_does_not_read_holds_the_origin_back() {
    let origin = Origin::start(|_| {
        Answer::drive(|stream| {
            use std::io::Write;
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                .expect("weir reads");
            stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a socket");
            let piece = [b'x'; 64 << 10];
            // 256 MiB, unless somebody stops it.
            let _ = (0..4096).try_for_each(|_| stream.write_all(&piece));
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let before = weir.resident_kib();
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_websocket("a.test", "/");
    assert_eq!(stream.status(), 200);
    holds_for(Duration::from_millis(400), "nothing piles up", || weir.resident_kib() < before + (24 << 10));
    stream.send(Bytes::from("x"));
}
