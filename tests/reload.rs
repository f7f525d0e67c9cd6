//! A changed file: taken up whole or not at all, and nobody connected notices.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use support::{
    Answer, Connection, H2Client, H2Origin, Nginx, Origin, Signal, WebSocket, WebSocketOrigin, Weir, eventually,
    free_address, grpc_message, holds_for, indent, request, wrk,
};

fn saying(word: &str) -> String {
    format!("hosts:\n  - names: [\"*\"]\n    routes: [ {{ path: /, respond: {{ status: 200, body: {word} }} }} ]\n")
}

fn listening(listeners: &[(&str, SocketAddr)], rest: &str) -> String {
    let listeners: String =
        listeners.iter().map(|(name, address)| format!("  {name}: {{ address: \"{address}\" }}\n")).collect();
    format!("listeners:\n{listeners}{}", indent(rest, 0))
}

#[test]
fn a_file_that_is_replaced_is_taken_up() {
    let weir = Weir::start(&saying("first"));
    assert_eq!(weir.get("/").text(), "first");
    weir.reload(&saying("second"));
    assert_eq!(weir.get("/").text(), "second");
}

#[test]
fn a_file_that_is_overwritten_in_place_is_taken_up() {
    let weir = Weir::start(&saying("first"));
    weir.overwrite(&saying("second"));
    eventually("the new file is in force", || (weir.get("/").text() == "second").then_some(()));
}

#[test]
fn a_config_map_whose_symlink_is_swapped_is_taken_up() {
    let weir = Weir::start(&saying("first"));
    let place = |version: &str, word: &str| {
        std::fs::create_dir(weir.folder().join(version)).unwrap();
        std::fs::write(weir.folder().join(version).join("weir.yaml"), weir.complete(&saying(word))).unwrap();
        std::os::unix::fs::symlink(version, weir.folder().join("..new")).unwrap();
        std::fs::rename(weir.folder().join("..new"), weir.folder().join("..data")).unwrap();
    };
    place("v1", "second");
    std::os::unix::fs::symlink("..data/weir.yaml", weir.folder().join("link")).unwrap();
    std::fs::rename(weir.folder().join("link"), weir.file()).unwrap();
    eventually("the link is followed", || (weir.get("/").text() == "second").then_some(()));
    place("v2", "third");
    eventually("the swap is seen", || (weir.get("/").text() == "third").then_some(()));
}

#[test]
fn hangup_asks_for_the_file_again() {
    let mut weir = Weir::start(&saying("first"));
    weir.signal(Signal::Hangup);
    holds_for(Duration::from_millis(300), "weir serves", || weir.get("/").text() == "first");
    weir.write(&saying("second"));
    weir.signal(Signal::Hangup);
    eventually("the new file is in force", || (weir.get("/").text() == "second").then_some(()));
    assert!(weir.is_running());
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_is_reported_with_its_place() {
    let weir = Weir::start(&saying("first"));
    let before = weir.generation();
    for (broken, words) in [
        ("hosts: [ { names: [\"*\"], routes: [ { path: /, upstraem: nowhere } ] } ]\n", "upstraem"),
        ("hosts: [ { names: [\"*\"], routes: [ { path: /, upstream: nowhere } ] } ]\n", "nowhere"),
        ("hosts: [ unclosed\n", "weir.yaml"),
    ] {
        let rejected = weir.metric("weir_reloads_total", &["result=\"rejected\""]).unwrap_or(0.0);
        weir.write(broken);
        let status = weir.wait_for_refusal(words);
        assert!(status.contains("rejected"), "{status}");
        eventually("the refusal is counted", || {
            (weir.metric("weir_reloads_total", &["result=\"rejected\""])? > rejected).then_some(())
        });
        eventually("the log names it", || weir.log().contains(words).then_some(()));
        assert_eq!((weir.get("/").text().as_str(), weir.generation()), ("first", before));
    }
    weir.reload(&saying("mended"));
    assert_eq!(weir.get("/").text(), "mended");
    assert!(weir.admin("/config/status").text().contains("applied"));
}

#[test]
fn a_file_that_is_as_it_was_is_no_new_configuration() {
    let weir = Weir::start(&saying("first"));
    let before = weir.generation();
    let counted = |result: &str| weir.metric("weir_reloads_total", &[&format!("result=\"{result}\"")]).unwrap_or(0.0);
    weir.write(&saying("first"));
    eventually("it is seen", || (counted("unchanged") > 0.0).then_some(()));
    assert!(weir.admin("/config/status").text().contains("\"unchanged\""));
    assert_eq!((weir.generation(), counted("applied"), counted("rejected")), (before, 1.0, 0.0));

    weir.write("hosts: [ unclosed\n");
    weir.wait_for_refusal("rejected");
    weir.write(&saying("first"));
    eventually("the mend is seen", || (weir.metric("weir_config_last_reload_successful", &[])? > 0.0).then_some(()));
    assert_eq!((weir.generation(), weir.get("/").text().as_str()), (before, "first"));
}

#[test]
fn a_file_that_vanishes_changes_nothing() {
    let weir = Weir::start(&saying("first"));
    std::fs::remove_file(weir.file()).unwrap();
    holds_for(Duration::from_millis(500), "weir serves", || weir.get("/").text() == "first");
    weir.reload(&saying("second"));
    assert_eq!(weir.get("/").text(), "second");
}

#[test]
fn a_listener_comes_and_goes_with_the_file() {
    let (first, second) = (free_address(), free_address());
    let weir = Weir::start(&listening(&[("a", first)], &saying("here")));
    assert!(TcpStream::connect(second).is_err());

    weir.reload(&listening(&[("a", first), ("b", second)], &saying("here")));
    eventually("the new listener answers", || TcpStream::connect(second).ok());
    assert_eq!(request(second, "GET", "/").send().text(), "here");

    weir.reload(&listening(&[("b", second)], &saying("here")));
    eventually("the old listener is closed", || TcpStream::connect(first).is_err().then_some(()));
    assert_eq!(request(second, "GET", "/").send().text(), "here");
}

#[test]
fn connections_of_a_renamed_listener_go_on_with_what_is_served_now() {
    let address = free_address();
    let weir = Weir::start(&listening(&[("a", address)], &saying("first")));
    let (mut client, mut h2) = (Connection::open(address), H2Client::plain(address));
    for (name, word) in [("a", "first"), ("b", "second"), ("c", "third")] {
        if word != "first" {
            weir.reload(&listening(&[(name, address)], &saying(word)));
        }
        client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.read_response().text(), word);
        assert_eq!(h2.get("a.test", "/").text(), word);
    }
}

#[test]
fn connections_of_a_removed_listener_get_what_was_served_last_and_end() {
    let (stays, goes) = (free_address(), free_address());
    let weir = Weir::start(&listening(&[("a", stays), ("b", goes)], &saying("first")));
    let (mut client, mut h2) = (Connection::open(goes), H2Client::plain(goes));
    client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_response().text(), "first");
    assert_eq!(h2.get("a.test", "/").text(), "first");
    // Under another name before it goes: it is the same listener all the same.
    weir.reload(&listening(&[("a", stays), ("c", goes)], &saying("second")));
    weir.reload(&listening(&[("a", stays)], &saying("third")));

    client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let last = client.read_response();
    assert_eq!((last.text().as_str(), last.header("connection")), ("second", Some("close")));
    client.assert_closed();
    assert_eq!(h2.get("a.test", "/").text(), "second");
    assert!(h2.closed_in_order(), "a GOAWAY, not a reset");
    assert_eq!(request(stays, "GET", "/").send().text(), "third");
}

#[test]
fn a_listener_that_moves_leaves_its_old_address() {
    let (first, second) = (free_address(), free_address());
    let weir = Weir::start(&listening(&[("a", first)], &saying("here")));
    weir.reload(&listening(&[("a", second)], &saying("here")));
    eventually("the new address answers", || TcpStream::connect(second).ok());
    eventually("the old one does not", || TcpStream::connect(first).is_err().then_some(()));
}

/// Who answers, by the listener.
fn named(listeners: &[(&str, SocketAddr)]) -> String {
    let host = |(name, _): &(&str, SocketAddr)| {
        format!(
            "  - names: [\"*\"]\n    listeners: [{name}]\n    routes: [ {{ path: /, respond: {{ body: {name} }} }} ]\n"
        )
    };
    listening(listeners, &format!("hosts:\n{}", listeners.iter().map(host).collect::<String>()))
}

#[test]
fn the_wildcards_of_both_families_share_a_port() {
    let port = free_address().port();
    let at = |ip: &str| format!("{ip}:{port}").parse::<SocketAddr>().unwrap();
    let both = [("four", at("0.0.0.0")), ("six", at("[::]"))];
    let weir = Weir::start(&named(&both));
    let answers = |ip| request(at(ip), "GET", "/").send().text();
    assert_eq!((answers("127.0.0.1"), answers("[::1]")), ("four".into(), "six".into()));
    weir.reload(&named(&both[1..]));
    eventually("IPv4 is served by what is left", || (answers("127.0.0.1") == "six").then_some(()));
    weir.reload(&named(&both));
    assert_eq!((answers("127.0.0.1"), answers("[::1]")), ("four".into(), "six".into()));
}

#[test]
fn a_listener_moves_between_an_address_and_the_wildcard_that_has_it() {
    let port = free_address().port();
    let at = |ip: &str| format!("{ip}:{port}").parse::<SocketAddr>().unwrap();
    let weir = Weir::start(&listening(&[("a", at("127.0.0.1"))], &saying("0")));
    for (number, ip) in ["0.0.0.0", "127.0.0.1", "[::]", "0.0.0.0"].into_iter().enumerate() {
        let word = format!("step-{number}");
        weir.reload(&listening(&[("a", at(ip))], &saying(&word)));
        assert_eq!(request(at("127.0.0.1"), "GET", "/").send().text(), word);
        eventually("other addresses are served with the wildcard alone", || {
            (TcpStream::connect(at("127.0.0.2")).is_ok() == (ip != "127.0.0.1")).then_some(())
        });
    }
}

#[test]
fn clients_that_connect_while_a_listener_moves_are_answered() {
    let port = free_address().port();
    let at = |ip: &str| format!("{ip}:{port}").parse::<SocketAddr>().unwrap();
    let weir = Weir::start(&listening(&[("a", at("127.0.0.1"))], &saying("0")));
    let over = AtomicBool::new(false);
    let (asked, failed) = std::thread::scope(|scope| {
        let clients = [(); 4].map(|()| {
            scope.spawn(|| {
                let mut answers = Vec::new();
                while !over.load(Relaxed) {
                    answers.push(request(at("127.0.0.1"), "GET", "/").try_send().map(|answer| answer.status));
                }
                answers
            })
        });
        for (number, ip) in ["0.0.0.0", "127.0.0.1"].into_iter().cycle().take(40).enumerate() {
            weir.reload(&listening(&[("a", at(ip))], &saying(&format!("step-{number}"))));
        }
        over.store(true, Relaxed);
        let answers: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (answers.len(), answers.iter().filter(|answer| !matches!(answer, Ok(200))).count())
    });
    assert!(asked > 1000, "only {asked} were sent");
    // Between the last look into a queue and its end the kernel may welcome one more.
    assert!(failed * 500 < asked, "{failed} of {asked} failed");
}

#[test]
fn a_listener_whose_port_is_taken_is_reported_and_the_old_file_stays() {
    let (first, taken) = (free_address(), free_address());
    let _other = std::net::TcpListener::bind(taken).unwrap();
    let weir = Weir::start(&listening(&[("a", first)], &saying("here")));
    weir.write(&listening(&[("a", first), ("b", taken)], &saying("changed")));
    weir.wait_for_refusal(&taken.to_string());
    assert_eq!(request(first, "GET", "/").send().text(), "here");
}

#[test]
fn an_access_log_or_admin_address_that_cannot_be_had_is_reported_and_the_old_file_stays() {
    let weir = Weir::start(&saying("first"));
    let taken = free_address();
    let _other = std::net::TcpListener::bind(taken).unwrap();
    let before = weir.generation();
    for (key, words) in [
        ("access-log: { file: /nowhere/access.log }\n", "access-log.file"),
        (&*format!("admin: {{ address: \"{taken}\" }}\n"), "admin.address"),
    ] {
        weir.write(&format!("{key}{}", saying("second")));
        let status = weir.wait_for_refusal(words);
        assert!(status.contains("rejected") && status.contains("\"line\": 1"), "{status}");
        assert_eq!((weir.get("/").text().as_str(), weir.generation()), ("first", before));
    }
}

#[test]
fn the_admin_listener_stays_where_it_is_while_another_part_of_the_file_is_refused() {
    let weir = Weir::start(&saying("first"));
    std::fs::write(weir.folder().join("file"), b"").unwrap();
    let (elsewhere, taken) = (free_address(), weir.folder().join("file"));
    weir.write(&format!(
        "admin: {{ address: \"{elsewhere}\" }}\ncache-stores: {{ files: {{ disk: {{ path: \"{}\", size: 1MiB }} }} }}\n{}",
        taken.display(),
        saying("second")
    ));
    weir.wait_for_refusal("answers cannot be kept in");
    assert!(TcpStream::connect(elsewhere).is_err());
    assert_eq!(weir.get("/").text(), "first");
}

#[test]
fn a_request_under_way_ends_as_it_began() {
    let origin = Origin::named("old");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc");
    weir.reload(&saying("new"));
    client.write("def");
    assert_eq!(client.read_response().text(), "old");
    client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_response().text(), "new", "the same connection, the next request");
}

#[test]
fn sockets_and_streams_live_through_many_reloads() {
    let (sockets, service) = (WebSocketOrigin::start(), H2Origin::plain());
    let file = |number: usize| {
        format!(
            r#"
            upstreams:
              sockets:
                endpoints: [ "{}" ]
              service:
                endpoints: [ "{}" ]
                protocol: http2
            hosts:
              - names: ["*"]
                routes:
                  - path: /ws
                    upstream: sockets
                  - path: /
                    upstream: service
                  - exact: /generation
                    respond:
                      status: 200
                      body: "{number}"
            "#,
            sockets.address, service.address
        )
    };
    let weir = Weir::start(&file(0));
    let mut open: Vec<_> = (0..20).map(|_| WebSocket::open(weir.http, "a.test", "/ws")).collect();
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_stream("POST", "a.test", "/echo.Echo/Stream", &[("te", "trailers")]);
    for number in 1..=20 {
        weir.reload(&file(number));
        assert_eq!(weir.get("/generation").text(), number.to_string());
        open.iter_mut().for_each(|socket| socket.assert_echoes("still here"));
        stream.send(grpc_message(b"still here"));
        assert_eq!(stream.receive(), Some(grpc_message(b"still here")));
    }
    assert_eq!(sockets.open_count(), 20);
    stream.finish();
    assert_eq!(stream.receive(), None);
}

#[test]
fn reloads_under_load_fail_no_request() {
    let nginx = Nginx::shared();
    let file = |number: usize| {
        let file = Weir::forwarding_to(&[nginx.address], "");
        format!("{file}      - exact: /generation\n        respond: {{ status: 200, body: \"{number}\" }}\n")
    };
    let weir = Weir::start(&file(0));
    let url = format!("http://{}/", weir.http);
    let load = std::thread::spawn(move || wrk(&url, 16, Duration::from_secs(4)));
    let mut number = 0;
    while !load.is_finished() {
        number += 1;
        match number % 3 {
            0 => weir.write("hosts: [ broken\n"),
            _ => weir.write(&file(number)),
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    let report = load.join().expect("wrk ran");
    assert!(number > 20 && report.requests > 1000, "{number} reloads, {report:?}");
    assert_eq!((report.bad_answers, report.socket_errors), (0, 0), "{report:?}");
}

#[test]
fn memory_does_not_grow_with_the_number_of_reloads() {
    let weir = Weir::start(&saying("begin"));
    (0..20).for_each(|number| weir.reload(&saying(&format!("warm-{number}"))));
    let before = weir.resident_kib();
    (0..200).for_each(|number| weir.reload(&saying(&format!("word-{number}"))));
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more after 200 reloads");
}

#[test]
fn what_is_known_of_an_endpoint_is_carried_over() {
    let sick = Origin::start(|request| match request.target.as_str() {
        "/health" => Answer::status(500, ""),
        _ => Answer::ok("sick"),
    });
    let keys =
        "health-check: { http: { path: /health }, interval: 200ms, unhealthy-after: 3 }\nwhen-all-unhealthy: refuse";
    let weir = Weir::start(&Weir::forwarding_to(&[sick.address], keys));
    eventually("it is known to be sick", || (weir.get("/").status == 503).then_some(()));
    let extra = "      - exact: /other\n        respond: { status: 200, body: other }\n";
    weir.reload(&format!("{}{extra}", Weir::forwarding_to(&[sick.address], keys)));
    assert_eq!(weir.get("/other").text(), "other");
    assert_eq!(weir.get("/").status, 503, "a reload does not make it well");
}

#[test]
fn connections_to_an_origin_are_carried_over() {
    let origin = Origin::named("origin");
    let file = Weir::forwarding_to(&[origin.address], "");
    let weir = Weir::start(&format!("threads: 1\n{file}"));
    for number in 0..5 {
        assert_eq!(weir.get("/").status, 200);
        weir.reload(&format!("threads: 1\n{file}      - exact: /{number}\n        respond: {{ status: 200 }}\n"));
    }
    assert_eq!(origin.connection_count(), 1);
}

#[test]
fn an_upstream_that_changes_is_used_from_the_next_request_on() {
    let (old, new) = (Origin::named("old"), Origin::named("new"));
    let weir = Weir::in_front_of(&[old.address]);
    let mut client = Connection::open(weir.http);
    for (origin, name) in [(&old, "old"), (&new, "new"), (&old, "old")] {
        weir.write(&Weir::forwarding_to(&[origin.address], ""));
        eventually("the other origin answers", || {
            client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            (client.read_response().text() == name).then_some(())
        });
    }
}

#[test]
fn a_large_file_is_in_force_within_a_moment() {
    let hosts = |word: &str| {
        let host = |number| {
            format!(
                "  - names: [h{number}.test]\n    routes: [ {{ path: /, respond: {{ status: 200, body: {word} }} }} ]\n"
            )
        };
        format!("hosts:\n{}", (0..2000).map(host).collect::<String>())
    };
    let weir = Weir::start(&hosts("first"));
    weir.reload(&hosts("second"));
    assert_eq!(weir.request("GET", "/").host("h1999.test").send().text(), "second");
}

#[test]
fn a_name_that_is_new_is_resolved_before_requests_meet_it() {
    let nginx = Nginx::shared().address;
    let by_address = Weir::forwarding_to(&[nginx], "");
    let by_name = by_address.replace("127.0.0.1:", "localhost:");
    let weir = Weir::start(&by_address);
    let url = format!("http://{}/", weir.http);
    let load = std::thread::spawn(move || wrk(&url, 8, Duration::from_secs(2)));
    while !load.is_finished() {
        weir.reload(&by_name);
        weir.reload(&by_address);
    }
    let report = load.join().expect("wrk ran");
    assert_eq!((report.bad_answers, report.socket_errors), (0, 0), "{report:?}");
}
