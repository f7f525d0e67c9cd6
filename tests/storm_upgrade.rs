//! Hot upgrade (SIGUSR2): a successor takes the ports over, and nobody is turned away.

mod support;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::{Nginx, Signal, WebSocket, WebSocketOrigin, Weir, WrkReport, eventually, weir_binary, wrk_with};

const LOAD: Duration = Duration::from_secs(5);

/// Forwards to the shared nginx over a plain and a TLS listener.
struct Scene {
    weir: Weir,
    https: std::net::SocketAddr,
    file: String,
}

impl Scene {
    fn start(upstream_keys: &str) -> Scene {
        let https = support::free_address();
        let http = support::free_address();
        let nginx = Nginx::shared().address;
        let file = format!(
            "listeners:\n  http: {{ address: \"{http}\" }}\n  https: {{ address: \"{https}\", tls: {{}} }}\n{}",
            Weir::forwarding_to(&[nginx], upstream_keys).replace("127.0.0.1:", "localhost:")
        );
        let mut weir = Weir::spawn(&format!("shutdown: {{ delay: 0s, timeout: 10s }}\n{file}"));
        weir.http = http;
        weir.wait_until_ready();
        Scene { weir, https, file }
    }

    /// Kept-alive connections, plain and TLS, and new ones for every request.
    fn load(&self) -> Vec<(&'static str, JoinHandle<WrkReport>)> {
        let (plain, tls) = (format!("http://{}/", self.weir.http), format!("https://{}/", self.https));
        let run = |url: &str, arguments: &'static [&str], connections| {
            let url = url.to_owned();
            std::thread::spawn(move || wrk_with(arguments, &url, connections, LOAD))
        };
        vec![
            ("kept alive", run(&plain, &[], 16)),
            ("kept alive, TLS", run(&tls, &[], 8)),
            ("a connection each", run(&plain, &["-HConnection: close"], 4)),
        ]
    }

    fn wait_for_load(&self) {
        let requests = || self.weir.metric("weir_requests_total", &[]).is_some_and(|count| count > 200.0);
        eventually("the load has begun", || requests().then_some(()));
    }
}

#[track_caller]
fn assert_unharmed(load: Vec<(&'static str, JoinHandle<WrkReport>)>) {
    let reports: Vec<_> = load.into_iter().map(|(kind, load)| (kind, load.join().expect("wrk ran"))).collect();
    println!("{reports:#?}");
    for (kind, report) in &reports {
        assert!(report.requests > 100, "{kind}: {report:?}");
        assert_eq!((report.bad_answers, report.socket_errors), (0, 0), "{kind}: {reports:?}");
    }
}

#[test]
fn an_upgrade_under_load_turns_nobody_away() {
    let mut scene = Scene::start("");
    let load = scene.load();
    scene.wait_for_load();
    scene.weir.signal(Signal::Upgrade);
    assert!(scene.weir.wait_for_exit().success(), "the old process drains and ends while the load goes on");
    assert!(load.iter().any(|(_, load)| !load.is_finished()), "the successor has served, too");
    assert_unharmed(load);
    assert_eq!(scene.weir.admin("/readyz").status, 200, "the successor has the admin address");
    assert_eq!(scene.weir.get("/").status, 200);
    scene.weir.reload(&format!("{}      - exact: /new\n        respond: {{ status: 204 }}\n", scene.file));
    assert_eq!(scene.weir.get("/new").status, 204, "it follows the file");
}

#[test]
fn a_successor_that_cannot_start_leaves_everything_as_it_was() {
    let mut scene = Scene::start("");
    let load = scene.load();
    scene.wait_for_load();
    scene.weir.write("hosts: [ broken\n");
    scene.weir.wait_for_refusal("weir.yaml");
    scene.weir.signal(Signal::Upgrade);
    eventually("the failure is told", || scene.weir.log().contains("no successor; serving on").then_some(()));
    eventually("the admin listener is back", || {
        (support::Request::try_get(scene.weir.admin, "/readyz").ok()?.status == 200).then_some(())
    });
    assert_unharmed(load);
    assert!(scene.weir.is_running());

    scene.weir.reload(&scene.file);
    scene.weir.signal(Signal::Upgrade);
    assert!(scene.weir.wait_for_exit().success(), "with a good file there is one");
    assert_eq!(scene.weir.get("/").status, 200);
}

#[test]
fn a_socket_stays_with_the_old_process_until_its_time_to_drain_is_over() {
    let origin = WebSocketOrigin::start();
    let file = Weir::forwarding_to(&[origin.address], "");
    let mut weir = Weir::start(&format!("shutdown: {{ delay: 0s, timeout: 2s }}\n{file}"));
    let mut socket = WebSocket::open(weir.http, "a.test", "/");
    let begun = Instant::now();
    weir.signal(Signal::Upgrade);
    eventually("the successor serves", || weir.log().contains("the successor serves").then_some(()));
    socket.assert_echoes("still here");
    WebSocket::open(weir.http, "a.test", "/").assert_echoes("and here");
    socket.assert_echoes("still here");
    assert!(weir.is_running(), "it waits for the socket");
    weir.wait_for_exit();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    eventually("the origin sees the end of both", || (origin.open_count() == 0).then_some(()));
    WebSocket::open(weir.http, "a.test", "/").assert_echoes("the successor goes on");
}

#[test]
fn a_program_that_was_replaced_is_upgraded_to_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("weir");
    install(&program);
    let mut weir = Weir::spawn_program(&program, &Weir::forwarding_to(&[Nginx::shared().address], ""));
    weir.wait_until_ready();
    install(&program);
    weir.signal(Signal::Upgrade);
    assert!(weir.wait_for_exit().success(), "{}", weir.log());
    assert_eq!(weir.get("/").status, 200);
}

#[test]
fn a_successor_that_hangs_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("weir");
    install(&program);
    let mut weir = Weir::spawn_program(&program, &Weir::forwarding_to(&[Nginx::shared().address], ""));
    weir.wait_until_ready();
    let staged = program.with_extension("new");
    std::fs::write(&staged, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&staged, std::fs::metadata(&program).unwrap().permissions()).unwrap();
    std::fs::rename(&staged, &program).unwrap();
    weir.signal(Signal::Upgrade);
    eventually("it is given up", || weir.log().contains("did not serve in time").then_some(()));
    assert!(weir.is_running());
    assert_eq!(weir.get("/").status, 200);
    weir.wait_until_ready();
}

/// Puts a program in its place by renaming, as package managers do: what runs keeps its file, which has no name any more.
fn install(program: &Path) {
    let staged: PathBuf = program.with_extension("new");
    std::fs::copy(weir_binary(), &staged).unwrap();
    std::fs::rename(&staged, program).unwrap();
}
