//! gRPC through Weir: every kind of call, and every way for one to end early.

mod support;

use bytes::Bytes;
use support::{Authority, H2Client, H2Origin, H2Stream, TlsClient, Weir, eventually, free_address, grpc_message};

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "5S")];

fn in_front_of(service: &H2Origin) -> (Weir, H2Client) {
    let weir = Weir::start(&Weir::forwarding_to(&[service.address], "protocol: http2"));
    let client = H2Client::plain(weir.http);
    (weir, client)
}

fn call(client: &mut H2Client, method: &str) -> H2Stream {
    client.open_stream("POST", "grpc.test", &format!("/echo.Echo/{method}"), GRPC)
}

#[track_caller]
fn nothing_is_left(weir: &Weir) {
    eventually("nothing is left", || (weir.metric("weir_requests_in_flight", &[]) == Some(0.0)).then_some(()));
}

#[test]
fn what_grpc_needs_of_a_head_is_kept() {
    let service = H2Origin::plain();
    let (_weir, mut client) = in_front_of(&service);
    // Without a body a request takes another way through Weir.
    client.send("POST", "grpc.test", "/echo.Echo/Unary", GRPC, None);
    client.send("POST", "grpc.test", "/echo.Echo/Unary", GRPC, Some(grpc_message(b"ping")));
    for seen in service.received() {
        for (name, value) in GRPC {
            assert_eq!(seen.headers[*name], value, "{name}");
        }
    }
}

#[test]
fn a_client_streams_and_is_answered_at_the_end() {
    let service = H2Origin::plain();
    let (_weir, mut client) = in_front_of(&service);
    let mut stream = call(&mut client, "Unary");
    let message = grpc_message(&[b'x'; 10_000]);
    // More than every window on the way: it flows because the service reads.
    (0..200).for_each(|_| stream.send(message.clone()));
    stream.finish();
    assert_eq!(stream.text().len(), 200 * message.len());
    assert_eq!(stream.trailers().expect("trailers")["grpc-status"], "0");
}

#[test]
fn a_server_streams_its_answer() {
    let service = H2Origin::plain();
    let (_weir, mut client) = in_front_of(&service);
    let answer = client.send("POST", "grpc.test", "/echo.Echo/Repeat", GRPC, Some(grpc_message(b"ping")));
    assert_eq!(answer.body, grpc_message(b"ping").repeat(10));
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
}

#[test]
fn an_answer_arrives_while_the_call_is_open() {
    let service = H2Origin::plain();
    let (_weir, mut client) = in_front_of(&service);
    let mut held = call(&mut client, "Hold");
    held.send(grpc_message(b"ping"));
    assert_eq!(held.receive(), Some(grpc_message(b"first")), "nothing waits for the end");
}

#[test]
fn calls_that_are_cancelled_are_cancelled_upstream() {
    let service = H2Origin::plain();
    let (weir, mut client) = in_front_of(&service);

    let mut half_closed = call(&mut client, "Hold");
    half_closed.finish();
    assert_eq!(half_closed.receive(), Some(grpc_message(b"first")));
    half_closed.cancel();
    eventually("a call that waits for its answer", || (service.cancelled_count() == 1).then_some(()));

    let mut open = call(&mut client, "Stream");
    open.send(grpc_message(b"ping"));
    assert_eq!(open.receive(), Some(grpc_message(b"ping")));
    open.cancel();
    eventually("a call that still sends", || (service.cancelled_count() == 2).then_some(()));

    nothing_is_left(&weir);
    assert_eq!(service.connection_count(), 1, "the upstream connection outlives its streams");
    let answer = client.send("POST", "grpc.test", "/echo.Echo/Unary", GRPC, Some(grpc_message(b"ping")));
    assert_eq!(answer.trailer("grpc-status"), Some("0"), "both connections are in order");
}

#[test]
fn a_client_that_vanishes_cancels_all_its_calls() {
    let service = H2Origin::plain();
    let (weir, mut client) = in_front_of(&service);
    for _ in 0..5 {
        let mut held = call(&mut client, "Hold");
        held.finish();
        assert_eq!(held.receive(), Some(grpc_message(b"first")));
    }
    drop(client);
    eventually("all of them", || (service.cancelled_count() == 5).then_some(()));
    nothing_is_left(&weir);
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let service = H2Origin::plain();
    let (weir, mut client) = in_front_of(&service);
    let mut broken = call(&mut client, "Break");
    assert_eq!(broken.receive(), Some(grpc_message(b"first")));
    broken.send(Bytes::from("go"));
    assert!(broken.broken().is_reset());
    nothing_is_left(&weir);
}

#[test]
fn calls_work_over_tls_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    let identity = authority.issue(&["grpc.test", "inner.test"]);
    let (cert, key) = identity.write(folder.path(), "grpc");
    let (service, https) = (H2Origin::tls(&identity), free_address());
    let keys = format!(
        "protocol: auto\ntls: {{ server-name: inner.test, ca: {} }}",
        authority.write_pem(folder.path()).display()
    );
    let _weir = Weir::start(&format!(
        "listeners:\n  https:\n    address: \"{https}\"\n    tls: {{}}\n\
         certificates:\n  - file: {{ cert: {}, key: {} }}\n{}",
        cert.display(),
        key.display(),
        Weir::forwarding_to(&[service.address], &keys)
    ));
    let mut client = H2Client::tls(https, "grpc.test", &TlsClient::trusting(&authority, &[b"h2"]));
    let mut stream = call(&mut client, "Stream");
    for word in ["one", "two"] {
        stream.send(grpc_message(word.as_bytes()));
        assert_eq!(stream.receive(), Some(grpc_message(word.as_bytes())));
    }
    stream.finish();
    assert_eq!(stream.trailers().expect("trailers")["grpc-status"], "0");
}
