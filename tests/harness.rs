//! The harness itself: what a wire test relies on must hold before it can blame Weir.

mod support;

use std::io::Write;
use std::time::Duration;

use support::{
    Answer, Authority, Blackhole, Connection, H2Client, H2Origin, Nginx, Origin, Request, TlsClient, WebSocket,
    WebSocketOrigin, curl, free_address, grpc_message, request, wrk,
};

#[test]
fn an_origin_keeps_what_it_was_sent_and_answers_from_its_script() {
    let origin = Origin::start(|request| Answer::with_headers("X-Seen: yes\r\n", &request.target));
    let mut connection = Connection::open(origin.address);
    connection.write("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let answer = connection.read_response();
    assert_eq!((answer.status, answer.header("x-seen"), answer.text().as_str()), (200, Some("yes"), "/a"));
    connection.write("GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(connection.read_response().text(), "/b");

    let received = origin.received();
    assert_eq!(received[0].body, b"abc");
    assert!(received[0].raw.ends_with(b"0\r\n\r\n"));
    assert_eq!((received[1].method.as_str(), received[1].connection, origin.connection_count()), ("GET", 0, 1));
}

#[test]
fn an_origin_that_resets_or_was_stopped_is_seen_as_such() {
    let origin = Origin::start(|_| Answer::Reset);
    let error = Request::try_get(origin.address, "/").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let address = origin.address;
    origin.stop();
    assert_eq!(Request::try_get(address, "/").unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let again = Origin::named_at(address, "again");
    assert_eq!(request(again.address, "GET", "/").send().text(), "again");
}

#[test]
fn an_origin_that_is_asked_after_the_head_leaves_the_body_to_its_script() {
    let origin = Origin::start_at_head(|request| {
        assert!(request.body.is_empty());
        Answer::drive(|stream| stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap())
    });
    let mut connection = Connection::open(origin.address);
    connection.write("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(connection.read_response().status, 204);
    connection.assert_closed();
}

#[test]
fn a_blackhole_lets_nobody_in() {
    let hole = Blackhole::start();
    let error = std::net::TcpStream::connect_timeout(&hole.address, Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn nginx_serves_its_folder_and_curl_and_wrk_report_what_they_saw() {
    let nginx = Nginx::start("location = / { return 200 'hello'; } location /no { return 503; }");
    let bytes = nginx.write_file("a.bin", 100_000);
    assert_eq!(request(nginx.address, "GET", "/files/a.bin").send().body, bytes);

    let seen = curl(&[&format!("http://{}/", nginx.address)]);
    assert_eq!((seen.success, seen.status, seen.body.as_str()), (true, 200, "hello"));

    let good = wrk(&format!("http://{}/", nginx.address), 4, Duration::from_secs(1));
    assert!(good.requests > 10 && good.bad_answers == 0 && good.socket_errors == 0, "{good:?}");
    let bad = wrk(&format!("http://{}/no", nginx.address), 4, Duration::from_secs(1));
    assert!(bad.bad_answers > 10, "{bad:?}");
}

#[test]
fn a_tls_client_trusts_its_authority_and_names_what_it_asks_for() {
    let (authority, stranger) = (Authority::new("test"), Authority::new("stranger"));
    let folder = tempfile::tempdir().unwrap();
    let identity = authority.issue(&["a.test"]);
    let (cert, key) = identity.write(folder.path(), "a");
    let tls = free_address();
    let _nginx = Nginx::start(&format!(
        "listen {tls} ssl; ssl_certificate {}; ssl_certificate_key {}; location / {{ return 200 $ssl_server_name; }}",
        cert.display(),
        key.display()
    ));
    let mut connection = authority.client().connect(tls, "a.test").unwrap();
    connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(connection.read_response().text(), "a.test");
    assert_eq!(authority.client().certificate_for(tls, "a.test"), identity.der());
    assert!(stranger.client().connect(tls, "a.test").is_err());
    assert!(authority.client().connect(tls, "b.test").is_err());
}

#[test]
fn websockets_are_echoed() {
    let origin = WebSocketOrigin::start();
    let mut socket = WebSocket::open(origin.address, "ws.test", "/x");
    socket.assert_echoes("hello");
    assert_eq!((origin.open_count(), origin.handshakes()[0].uri().path()), (1, "/x"));
}

#[test]
fn grpc_messages_pass_in_both_directions_with_trailers() {
    let authority = Authority::new("test");
    let origins = [H2Origin::plain(), H2Origin::tls(&authority.issue(&["grpc.test"]))];
    let trusting = TlsClient::trusting(&authority, &[b"h2"]);
    let clients = [H2Client::plain(origins[0].address), H2Client::tls(origins[1].address, "grpc.test", &trusting)];
    for mut client in clients {
        let answer = client.send("POST", "grpc.test", "/echo.Echo/Unary", &[], Some(grpc_message(b"ping")));
        assert_eq!((answer.status, answer.trailer("grpc-status")), (200, Some("0")));
        assert_eq!(answer.body, grpc_message(b"ping"));

        let mut stream = client.open_stream("POST", "grpc.test", "/echo.Echo/Stream", &[]);
        stream.send(grpc_message(b"one"));
        assert_eq!(stream.receive(), Some(grpc_message(b"one")));
        stream.finish();
        assert_eq!(stream.receive(), None);
        assert_eq!(stream.trailers().unwrap()["grpc-status"], "0");
    }
}
