//! dns-01 records in a real Knot DNS: written by dynamic update, waited for, looked for behind aliases.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use support::{Knot, OTHER_SECRET, SECRET, block_on, free_address};
use weir::acme::dns::{Solver, solver, target, wait};
use weir::http_client::HttpClient;
use weir::model::{DnsPropagation, DnsProvider, Rfc2136, TsigAlgorithm};

const NAME: &str = "_acme-challenge.a.test";

fn settings(server: SocketAddr, secret_file: PathBuf) -> Rfc2136 {
    let (key_name, algorithm) = ("weir.".into(), TsigAlgorithm::HmacSha256);
    Rfc2136 { server, zone: None, key_name, algorithm, secret_file }
}

fn updater(settings: Rfc2136) -> Box<dyn Solver> {
    solver(&DnsProvider::Rfc2136(settings), HttpClient::new(&[]).expect("a client"))
}

fn knot() -> Knot {
    Knot::start("hmac-sha256", &[("a.test", "")])
}

/// Why nothing was written, without the server's address.
fn refused(settings: Rfc2136) -> String {
    let server = settings.server;
    let reason = block_on(updater(settings).present(NAME, "value")).expect_err("nothing is written");
    reason.strip_prefix(&format!("{server}: ")).unwrap_or(&reason).to_owned()
}

fn propagation(servers: &[SocketAddr], timeout: Duration) -> DnsPropagation {
    DnsPropagation { delay: Duration::ZERO, timeout, servers: servers.to_vec() }
}

#[test]
fn records_are_added_and_taken_back_one_by_one_with_every_algorithm() {
    let algorithms = [
        ("hmac-sha256", TsigAlgorithm::HmacSha256),
        ("hmac-sha384", TsigAlgorithm::HmacSha384),
        ("hmac-sha512", TsigAlgorithm::HmacSha512),
    ];
    for (name, algorithm) in algorithms {
        let knot = Knot::start(name, &[("a.test", "")]);
        let updater = updater(Rfc2136 { algorithm, ..settings(knot.address, knot.secret_file(SECRET)) });
        for value in ["first", "second", "second"] {
            block_on(updater.present(NAME, value)).expect("it is written");
        }
        assert_eq!(knot.ask(NAME, "TXT"), ["\"first\"", "\"second\""], "{name}");
        for _ in 0..2 {
            block_on(updater.cleanup(NAME, "first")).expect("it is taken back, or not there");
            assert_eq!(knot.ask(NAME, "TXT"), ["\"second\""], "{name}");
        }
        block_on(updater.cleanup(NAME, "second")).expect("it is taken back");
        assert_eq!(knot.ask(NAME, "TXT"), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_closest_zone_is_found_and_a_configured_one_is_used() {
    let knot = Knot::start("hmac-sha256", &[("a.test", ""), ("b.a.test", ""), ("_acme-challenge.c.test", "")]);
    let settings = || settings(knot.address, knot.secret_file(SECRET));
    for name in ["_acme-challenge.w.a.test", "_acme-challenge.b.a.test", "_acme-challenge.c.test"] {
        block_on(updater(settings()).present(name, "value")).expect("it is written");
        assert_eq!(knot.ask(name, "TXT"), ["\"value\""], "{name}");
    }
    let given = Rfc2136 { zone: Some("a.test".into()), ..settings() };
    block_on(updater(given).present(NAME, "value")).expect("it is written");
    assert_eq!(knot.ask(NAME, "TXT"), ["\"value\""]);

    let elsewhere = Rfc2136 { zone: Some("b.a.test".into()), ..settings() };
    assert_eq!(refused(elsewhere), format!("{NAME} is not in the zone b.a.test.; write no zone, and it is found"));
    let error = block_on(updater(settings()).present("_acme-challenge.d.example", "value")).expect_err("no such zone");
    let expected = "the server has no zone for _acme-challenge.d.example (it answers \"Query Refused\"); is it the zone's primary?";
    assert_eq!(error, format!("{}: {expected}", knot.address));
}

#[test]
fn a_key_that_the_server_does_not_take_is_named_with_the_reason() {
    let knot = knot();
    let wrong = settings(knot.address, knot.secret_file(OTHER_SECRET));
    let file = wrong.secret_file.display().to_string();
    let key = "the server does not accept the key";
    assert_eq!(refused(wrong), format!("{key} weir.: the secret in {file} is not the server's (BADSIG)"));

    let unknown = "it knows none of this name and algorithm, or none that may update a.test. (BADKEY)";
    for name in ["nobody", "guest."] {
        let other = Rfc2136 { key_name: name.into(), ..settings(knot.address, knot.secret_file(SECRET)) };
        assert_eq!(refused(other), format!("{key} {}.: {unknown}", name.trim_end_matches('.')));
    }
    let longer = Rfc2136 { algorithm: TsigAlgorithm::HmacSha512, ..settings(knot.address, knot.secret_file(SECRET)) };
    assert_eq!(refused(longer), format!("{key} weir.: {unknown}"));
    assert_eq!(knot.ask(NAME, "TXT"), Vec::<String>::new());
}

#[test]
fn a_secret_is_read_anew_each_time_and_a_bad_file_is_named() {
    let knot = knot();
    let updater = updater(settings(knot.address, knot.secret_file(OTHER_SECRET)));
    block_on(updater.present(NAME, "value")).expect_err("the secret is another one");
    let path = knot.secret_file(SECRET);
    block_on(updater.present(NAME, "value")).expect("the secret was replaced");

    let reason = || block_on(updater.present(NAME, "value")).expect_err("the file is bad");
    knot.secret_file("key \"weir.\" { … }");
    let expected = "not base64; write the key's secret alone, as tsig-keygen prints it";
    assert_eq!(reason(), format!("{}: {expected}", path.display()));
    knot.secret_file("");
    assert_eq!(reason(), format!("{}: the file is empty; write the secret into it", path.display()));
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(reason(), format!("{}: No such file or directory (os error 2)", path.display()));
}

/// Answers each message with its own head, this code and nothing else: nobody's signature.
fn unsigned_server(code: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 14];
            stream.read_exact(&mut head).expect("a message with its length");
            let answer = [0, 12, head[2], head[3], head[4] | 0x80, code, 0, 0, 0, 0, 0, 0, 0, 0];
            stream.write_all(&answer).expect("it is taken");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

#[test]
fn an_answer_without_signature_is_not_believed_but_its_refusal_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, SECRET).expect("it can be written");
    for (code, expected) in [
        (0, "the answer is not signed with the key weir.; who answers there?"),
        (4, "the server knows no dynamic updates"),
        (5, "the server refuses updates of zone a.test.: does its policy allow the key to?"),
        (9, "the server is not authoritative for zone a.test., or does not accept the key weir. (NOTAUTH)"),
        (10, "the name is not in zone a.test. (NOTZONE)"),
    ] {
        let given = Rfc2136 { zone: Some("a.test".into()), ..settings(unsigned_server(code), file.clone()) };
        assert_eq!(refused(given), expected);
    }
    let nobody = settings(free_address(), file);
    assert_eq!(refused(nobody), "Connection refused (os error 111)");
}

#[test]
fn a_record_that_appears_is_waited_for_and_a_silent_server_is_no_hindrance() {
    let knot = knot();
    let updater = updater(settings(knot.address, knot.secret_file(SECRET)));
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    silent.set_nonblocking(true).expect("it can be");
    let servers = [knot.address, silent.local_addr().expect("an address")];
    block_on(async {
        let silent = tokio::net::UdpSocket::from_std(silent).expect("a socket");
        let settings = propagation(&servers, Duration::from_secs(14));
        let written = async {
            silent.recv(&mut [0; 512]).await.expect("a question: the first round has begun");
            updater.present(NAME, "value").await
        };
        let (waited, written) = tokio::join!(wait(NAME, "value", &settings, &[]), written);
        written.expect("it is written");
        waited.expect("it is seen");
    });
}

#[test]
fn servers_that_do_not_show_the_record_are_named() {
    let (with, without, other) = (knot(), knot(), knot());
    for (knot, value) in [(&with, "value"), (&other, "old")] {
        block_on(updater(settings(knot.address, knot.secret_file(SECRET))).present(NAME, value))
            .expect("it is written");
    }
    let settings = propagation(&[with.address, without.address, other.address], Duration::from_secs(1));
    let reason = block_on(wait(NAME, "value", &settings, &[])).expect_err("two do not show it");
    let expected = format!(
        "{NAME}: after 1s, these servers do not show the record: {}: there is no such name; {}: only other values",
        without.address, other.address
    );
    assert_eq!(reason, expected);
}

#[test]
fn servers_that_are_not_there_are_named_and_not_asked_without_a_time_limit() {
    let nobody = free_address();
    let reason =
        block_on(wait(NAME, "value", &propagation(&[nobody], Duration::from_secs(1)), &[])).expect_err("nobody");
    assert!(reason.starts_with(&format!("{NAME}: after 1s, no server answers: {nobody}: ")), "{reason}");
    block_on(wait(NAME, "value", &propagation(&[nobody], Duration::ZERO), &[])).expect("nobody is asked");
}

#[test]
fn without_servers_those_of_the_zone_are_asked() {
    let knot = knot();
    let zones_own = propagation(&[], Duration::from_secs(1));
    let reason =
        block_on(wait("_acme-challenge.b.a.test", "value", &zones_own, &[knot.address])).expect_err("no server there");
    let expected = "_acme-challenge.b.a.test: after 1s, no server answers: ns.a.test (127.0.0.77): ";
    assert!(reason.starts_with(expected), "{reason}");

    let nobody = free_address();
    let reason = block_on(wait(NAME, "value", &zones_own, &[nobody])).expect_err("no resolver there");
    let expected = format!("{NAME}: after 1s, the zone's name servers are not found: {NAME}: ");
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(reason.ends_with("; write whom to ask under dns-propagation.servers"), "{reason}");
}

#[test]
fn records_are_written_where_aliases_lead() {
    let records = "_acme-challenge CNAME a.b.test.\none CNAME two\ntwo CNAME one\nodd CNAME a\\&b.test.";
    let knot = Knot::start("hmac-sha256", &[("a.test", records), ("b.test", "a CNAME c\nd TXT here")]);
    let target = |name: &str| block_on(target(name, &[knot.address]));
    assert_eq!(target(NAME), "c.b.test");
    for itself in ["d.b.test", "nothing.b.test", "one.a.test", "odd.a.test", "elsewhere.example"] {
        assert_eq!(target(itself), itself);
    }
    assert_eq!(block_on(self::target(NAME, &[free_address()])), NAME, "DNS fails");

    let updater = updater(settings(knot.address, knot.secret_file(SECRET)));
    block_on(updater.present(&target(NAME), "value")).expect("it is written");
    assert_eq!(knot.ask("a.b.test", "TXT"), ["\"value\"", "c.b.test."]);
}
