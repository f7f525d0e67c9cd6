//! Reloads and dying origins under load: nobody who could be served notices.
//!
//! A storm of seconds in the normal run; `WEIR_STORM=full` makes it as long as the promise, best against a release:
//! `WEIR_STORM=full WEIR_BIN=target/release/weir cargo test --test storm -- --test-threads=1 --nocapture`

mod support;

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant, SystemTime};

use support::{
    Chatter, Load, Nginx, Request, Signal, WebSocket, WebSocketOrigin, Weir, eventually, free_address, full_storm,
};

/// The file of the reload storm, in whatever shape.
struct Sea {
    weir: Weir,
    http: SocketAddr,
    https: SocketAddr,
    extra: SocketAddr,
    nginx: SocketAddr,
    sockets: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extra {
    Listens,
    IsGone,
}

impl Sea {
    fn start(sockets: &WebSocketOrigin) -> Sea {
        let [http, https, extra] = [free_address(), free_address(), free_address()];
        let mut sea = Sea {
            weir: Weir::spawn("hosts: []\n"),
            http,
            https,
            extra,
            nginx: Nginx::shared().address,
            sockets: sockets.address,
        };
        let mut weir = Weir::spawn(&sea.file(0, Extra::IsGone));
        weir.wait_until_ready();
        sea.weir = weir;
        sea
    }

    fn file(&self, number: usize, extra: Extra) -> String {
        let Sea { http, https, nginx, sockets, .. } = self;
        let extra = match extra {
            Extra::Listens => format!("  extra: {{ address: \"{}\" }}\n", self.extra),
            Extra::IsGone => String::new(),
        };
        // By turns: another policy, another name of the upstream, the origin by its name.
        let balance = ["round-robin", "least-connections", "random"][number % 3];
        let (name, host) = (format!("web-{}", number % 2), ["127.0.0.1", "localhost"][number / 2 % 2]);
        format!(
            r#"
access-log: off
listeners:
  http: {{ address: "{http}" }}
  https: {{ address: "{https}", tls: {{}} }}
{extra}
upstreams:
  {name}:
    endpoints: [ "{host}:{port}" ]
    balance: {balance}
    health-check: {{ tcp: {{}}, interval: 200ms }}
  sockets:
    endpoints: [ "{sockets}" ]
hosts:
  - names: ["*"]
    routes:
      - {{ path: /, upstream: {name} }}
      - {{ path: /ws, upstream: sockets, timeouts: {{ read: 1h }} }}
      - {{ exact: /number, respond: {{ status: 200, body: "{number}" }} }}
"#,
            port = nginx.port()
        )
    }

    /// One reload, of a kind that the number chooses; returns when Weir has taken it up or refused it.
    fn wave(&self, number: usize) {
        let before = self.reloads();
        match number % 8 {
            0 => self.weir.write(&self.file(number, Extra::IsGone)),
            1 => self.weir.write("hosts: [ { names: [\"*\"], routes: [ { path: /, upstraem: nowhere } ] } ]\n"),
            2 => self.weir.overwrite(&self.file(number, Extra::IsGone)),
            3 => self.touch(),
            4 => self.swap_config_map(number),
            5 => self.weir.signal(Signal::Hangup),
            6 => self.weir.write(&self.file(number, Extra::Listens)),
            _ => self.weir.write(&self.file(number, Extra::IsGone)),
        }
        match number % 8 {
            1 | 3 | 5 => eventually(&format!("wave {number} is looked at"), || (self.reloads() > before).then_some(())),
            kind => {
                let in_force = || support::request(self.http, "GET", "/number").send().text() == number.to_string();
                eventually(&format!("wave {number} is in force"), || in_force().then_some(()));
                let listens = || Request::try_get(self.extra, "/").is_ok();
                eventually(&format!("the extra listener, wave {number}"), || (listens() == (kind == 6)).then_some(()));
            }
        }
    }

    /// Those that changed something, and those that were refused.
    fn reloads(&self) -> u64 {
        self.weir.metric("weir_reloads_total", &[]).unwrap_or(0.0) as u64
    }

    fn touch(&self) {
        let file = std::fs::File::options().append(true).open(self.weir.file()).expect("the file is there");
        file.set_modified(SystemTime::now()).expect("the file can be touched");
    }

    /// As Kubernetes changes a ConfigMap: a new folder, and one link swapped to it.
    fn swap_config_map(&self, number: usize) {
        let place = |name: &str| self.weir.folder().join(name);
        let version = format!("..version-{number}");
        std::fs::create_dir(place(&version)).unwrap();
        let text = self.weir.complete(&self.file(number, Extra::IsGone));
        std::fs::write(place(&version).join("weir.yaml"), text).unwrap();
        symlink(&version, place("..new")).unwrap();
        std::fs::rename(place("..new"), place("..data")).unwrap();
        symlink("..data/weir.yaml", place(".link")).unwrap();
        std::fs::rename(place(".link"), self.weir.file()).unwrap();
    }
}

#[test]
fn reloads_of_every_kind_fail_no_request_and_close_no_socket() {
    let waves = if full_storm() { 1000 } else { 64 };
    let origin = WebSocketOrigin::start();
    let sea = Sea::start(&origin);
    let client = support::TlsClient::trusting_anyone(&[b"http/1.1"]);
    let plain = (0..50).map(|_| WebSocket::open(sea.http, "a.test", "/ws"));
    let secure = (0..50).map(|_| WebSocket::open_tls(sea.https, "a.test", "/ws", &client));
    let chatter = Chatter::start(plain.chain(secure).collect());
    let plain = Load::start(format!("http://{}/", sea.http), 16);
    let secure = Load::start(format!("https://{}/", sea.https), 8);

    let begun = Instant::now();
    let memory: Vec<u64> = (0..4)
        .map(|quarter| {
            (1..=waves / 4).for_each(|number| sea.wave(quarter * waves / 4 + number));
            sea.weir.resident_kib()
        })
        .collect();
    let taken = begun.elapsed();

    let (plain, secure, echoes) = (plain.stop(), secure.stop(), chatter.stop());
    println!("{waves} reloads in {taken:?}: plain {plain:?}, TLS {secure:?}");
    println!("100 WebSockets, {echoes} echoes; resident after each quarter: {memory:?} KiB");
    assert_eq!((plain.failures(), secure.failures()), (0, 0), "plain {plain:?}, TLS {secure:?}");
    // Each socket has talked, and the loads ran: how much a busy machine lets through says nothing.
    assert!(plain.requests > 1000 && secure.requests > 1000 && echoes >= 100, "{echoes} echoes");
    let grown = memory[3].saturating_sub(memory[1]);
    assert!(grown < 8 << 10, "{grown} KiB more in the second half: {memory:?}");
}

const INTERVAL: Duration = Duration::from_millis(300);
const READ_TIMEOUT: Duration = Duration::from_millis(400);

/// Forwards to these, with health checks, passive detection and retries as a careful file has them.
fn checked(endpoints: &[SocketAddr]) -> Weir {
    let keys = format!(
        "health-check: {{ http: {{ path: / }}, interval: {}ms, timeout: 200ms, unhealthy-after: 1, healthy-after: 1 }}\n\
         timeouts: {{ connect: 300ms, read: {}ms }}\n\
         retry: {{ attempts: 3, on: [connect, reset, timeout] }}",
        INTERVAL.as_millis(),
        READ_TIMEOUT.as_millis()
    );
    Weir::start(&format!("access-log: off\n{}", Weir::forwarding_to(endpoints, &keys)))
}

fn origin_at(address: SocketAddr) -> Nginx {
    Nginx::start_at(address, "location / { return 200 'fine'; }")
}

/// What single requests met, one after the other, beside the load.
#[derive(Debug, Default)]
struct Watch {
    requests: usize,
    failed: usize,
    slowest: Duration,
}

impl Watch {
    /// Asks for as long as `duration`.
    fn keep(weir: &Weir, duration: Duration) -> Watch {
        let (end, mut watch) = (Instant::now() + duration, Watch::default());
        while Instant::now() < end {
            let begun = Instant::now();
            watch.requests += 1;
            watch.failed += usize::from(weir.get("/").status != 200);
            watch.slowest = watch.slowest.max(begun.elapsed());
        }
        watch
    }
}

#[test]
fn origins_that_die_hang_and_come_back_cost_nothing_while_one_can_serve() {
    let rounds = if full_storm() { 10 } else { 1 };
    let addresses = [free_address(), free_address(), free_address()];
    let mut origins = addresses.map(origin_at);
    let weir = checked(&addresses);
    let load = Load::start(format!("http://{}/", weir.http), 16);
    let pause = Duration::from_millis(1200);
    for round in 0..rounds {
        let victim = round % 3;
        origins[victim].kill();
        let killed = Watch::keep(&weir, pause);
        origins[victim] = origin_at(addresses[victim]);
        let restarted = Watch::keep(&weir, pause);
        origins[(victim + 1) % 3].pause();
        let paused = Watch::keep(&weir, pause);
        origins[(victim + 1) % 3].resume();
        let resumed = Watch::keep(&weir, pause);
        println!("killed {killed:?}\nrestarted {restarted:?}\npaused {paused:?}\nresumed {resumed:?}");
        let longest = INTERVAL + READ_TIMEOUT + Duration::from_millis(300);
        for watch in [&killed, &restarted, &paused, &resumed] {
            assert_eq!(watch.failed, 0, "{watch:?}");
            assert!(watch.slowest < longest, "one interval and a retry: {watch:?}");
        }
        // Every third request would have waited out its time there: nine of them would be done by then.
        assert!(paused.requests > 12, "the hanging one is passed over: {paused:?}");
    }
    let report = load.stop();
    println!("{rounds} rounds under load: {report:?}");
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(report.requests > 1000, "{report:?}");
}

#[test]
fn only_while_every_origin_is_dead_are_requests_refused() {
    let addresses = [free_address(), free_address()];
    let origins = addresses.map(origin_at);
    let weir = checked(&addresses);
    let load = Load::start(format!("http://{}/", weir.http), 8);
    assert_eq!(Watch::keep(&weir, Duration::from_millis(500)).failed, 0);
    origins.iter().for_each(Nginx::kill);
    eventually("nobody serves", || (weir.get("/").status == 502).then_some(()));
    drop(origins);
    let dead = Watch::keep(&weir, Duration::from_millis(500));
    assert_eq!(dead.failed, dead.requests, "{dead:?}");
    let _origins = addresses.map(origin_at);
    let back = Instant::now();
    eventually("somebody serves again", || (weir.get("/").status == 200).then_some(()));
    let taken = back.elapsed();
    eventually("both are healthy", || {
        (weir.metric("weir_endpoint_healthy", &[]).is_none_or(|healthy| healthy >= 2.0)).then_some(())
    });
    let after = Watch::keep(&weir, Duration::from_millis(500));
    let report = load.stop();
    println!("back after {taken:?}; all dead {dead:?}; after {after:?}; load {report:?}");
    assert_eq!(report.socket_errors, 0, "an error page breaks no connection: {report:?}");
    assert_eq!(after.failed, 0, "{after:?}");
    assert!(taken < 2 * INTERVAL + Duration::from_millis(500), "{taken:?}");
}
