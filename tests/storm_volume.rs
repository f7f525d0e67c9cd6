//! Much of everything: connections, requests, bytes, hosts. Memory must not follow.
//!
//! Small in the normal run, where the bounds allow for a debug build; `WEIR_STORM=full` asks for the promised numbers:
//! `WEIR_STORM=full WEIR_BIN=target/release/weir cargo test --test storm_volume -- --test-threads=1 --nocapture`

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::{Answer, Nginx, Origin, Request, Weir, eventually, free_address, full_storm, request, wrk};

fn quiet(file: &str) -> String {
    format!("access-log: off\n{file}")
}

#[test]
fn an_idle_connection_costs_little_memory() {
    // So many that what the allocator holds in reserve does not hide them.
    let (connections, limit) = (5000, 2 << 10);
    raise_file_limit();
    let weir = Weir::start(&quiet(&Weir::forwarding_to(&[Nginx::shared().address], "")));
    // What is made once, for the first of each kind.
    drop((0..50).map(|nth| connected(&weir, nth)).collect::<Vec<_>>());
    let before = weir.anonymous_kib();
    let open: Vec<TcpStream> = (0..connections).map(|nth| connected(&weir, nth)).collect();
    let each = weir.anonymous_kib().saturating_sub(before) * 1024 / connections;
    println!("{connections} idle connections: {each} bytes each, over {before} KiB");
    assert!(each < limit, "{each} bytes each");
    drop(open);
}

/// A connection that has had one answer and is kept alive. Every other one has sent a body.
fn connected(weir: &Weir, nth: u64) -> TcpStream {
    let body = "x".repeat(if nth.is_multiple_of(2) { 0 } else { 40_000 });
    let mut stream = TcpStream::connect(weir.http).expect("a connection");
    let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"nginx /") {
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece).expect("an answer");
        assert!(n > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..n]);
    }
    stream
}

/// Both ends of every connection are files: the clients' are this process's, Weir inherits the limit.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on a structure of ours.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

#[test]
fn memory_does_not_grow_with_the_number_ofrequests() {
    let (warm_up, requests) = if full_storm() { (100_000, 1_000_000) } else { (10_000, 40_000) };
    let weir = Weir::start(&quiet(&Weir::forwarding_to(&[Nginx::shared().address], "")));
    let url = format!("http://{}/", weir.http);
    let run = |requests: u64| {
        let mut sum = support::WrkReport::default();
        while sum.requests < requests {
            sum += wrk(&url, 32, Duration::from_secs(2));
        }
        sum
    };
    run(warm_up);
    let before = weir.resident_kib();
    let (begun, report) = (Instant::now(), run(requests));
    let after = weir.resident_kib();
    println!("{report:?} in {:?}; resident {before} KiB before, {after} KiB after", begun.elapsed());
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(after.saturating_sub(before) < 4 << 10, "{before} KiB before, {after} KiB after");
}

/// The most memory that a process has had while something was done.
struct HighWater {
    stop: Arc<AtomicBool>,
    watch: JoinHandle<u64>,
}

impl HighWater {
    fn watch(process: u32) -> HighWater {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let watch = std::thread::spawn(move || {
            let mut highest = 0;
            while !told.load(Ordering::SeqCst) {
                highest = highest.max(support::resident_kib_of(process));
                std::thread::sleep(Duration::from_millis(5));
            }
            highest
        });
        HighWater { stop, watch }
    }

    fn kib(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.watch.join().expect("the process ran")
    }
}

#[test]
fn large_bodies_pass_in_both_directions_at_flat_memory() {
    let size: u64 = if full_storm() { 1 << 30 } else { 128 << 20 };
    let nginx = Nginx::start("");
    nginx.write_sparse_file("large", size);
    let taker = Origin::start_at_head(move |head| {
        let already = head.raw.len() - (head.raw.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4);
        Answer::drive(move |stream| {
            let got = already as u64 + pour(&mut stream.take(size - already as u64));
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{got}", got.to_string().len());
            stream.write_all(answer.as_bytes()).expect("somebody waits");
        })
    });
    let weir = Weir::start(&quiet(&format!(
        "upstreams:\n  files: {{ endpoints: [ \"{}\" ] }}\n  taker: {{ endpoints: [ \"{}\" ] }}\n\
         hosts:\n  - names: [\"*\"]\n    routes: [ {{ path: /, upstream: files }}, {{ path: /up, upstream: taker }} ]\n",
        nginx.address, taker.address
    )));
    let before = weir.resident_kib();
    let memory = HighWater::watch(weir.id());

    let begun = Instant::now();
    let mut down = TcpStream::connect(weir.http).expect("a connection");
    down.write_all(b"GET /files/large HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").expect("it is sent");
    let received = pour(&mut down);
    assert!((size..size + 4096).contains(&received), "{received} bytes came for {size} and a head");
    let downloaded = begun.elapsed();

    let begun = Instant::now();
    let mut up = TcpStream::connect(weir.http).expect("a connection");
    up.write_all(format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n").as_bytes())
        .expect("sent");
    let piece = vec![b'x'; 1 << 20];
    (0..size >> 20).for_each(|_| up.write_all(&piece).expect("Weir takes it"));
    let mut answer = [0; 4096];
    let n = up.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    assert!(answer.ends_with(&size.to_string()), "{answer}");
    let uploaded = begun.elapsed();

    let highest = memory.kib();
    println!("{} MiB: down {downloaded:?}, up {uploaded:?}; {before} KiB before, {highest} KiB at most", size >> 20);
    assert!(highest.saturating_sub(before) < 16 << 10, "{before} KiB before, {highest} KiB at most");
}

/// Reads to the end and counts.
fn pour(stream: &mut impl Read) -> u64 {
    let mut piece = vec![0; 256 << 10];
    let mut sum = 0;
    loop {
        match stream.read(&mut piece).expect("the stream goes on") {
            0 => return sum,
            n => sum += n as u64,
        }
    }
}

fn many_hosts(hosts: usize, word: &str) -> String {
    let nginx = Nginx::shared().address;
    let host = |number| {
        format!(
            "  - names: [h{number}.test, www.h{number}.test]\n    routes:\n      - {{ path: /api, upstream: origin }}\n      \
             - {{ path: /, upstream: origin }}\n      - {{ exact: /word, respond: {{ status: 200, body: {word} }} }}\n"
        )
    };
    let hosts: String = (0..hosts).map(host).collect();
    quiet(&format!(
        "upstreams: {{ origin: {{ endpoints: [ \"{nginx}\" ] }} }}\nhosts:\n  - names: [\"*\"]\n    \
         routes: [ {{ path: /, upstream: origin }} ]\n{hosts}"
    ))
}

#[test]
fn thousands_of_hosts_are_reloaded_within_a_moment_and_nobody_waits() {
    let hosts = if full_storm() { 10_000 } else { 1_000 };
    let weir = Weir::start(&many_hosts(hosts, "first"));
    let pulse = Pulse::start(&weir);
    std::thread::sleep(Duration::from_secs(2));
    let undisturbed = pulse.stop();
    let pulse = Pulse::start(&weir);
    let mut taken = Vec::new();
    for word in ["second", "third", "fourth", "fifth", "sixth"] {
        let text = weir.complete(&many_hosts(hosts, word));
        let staged = weir.folder().join(".new");
        std::fs::write(&staged, text).unwrap();
        let begun = Instant::now();
        std::fs::rename(&staged, weir.file()).unwrap();
        let host = format!("h{}.test", hosts - 1);
        eventually("it is served", || {
            (request(weir.http, "GET", "/word").host(&host).send().text() == word).then_some(())
        });
        taken.push(begun.elapsed());
    }
    let disturbed = pulse.stop();
    println!("{hosts} hosts, from rename to served: {taken:?}; {disturbed:?}, undisturbed {undisturbed:?}");
    if full_storm() {
        assert!(taken.iter().all(|taken| *taken < Duration::from_millis(500)), "{taken:?}");
        assert!(disturbed.p99 < undisturbed.p99 + Duration::from_millis(5), "{disturbed:?}, before {undisturbed:?}");
    }
}

/// Requests at a steady pace, as many users make them: other than wrk it leaves the processor to who needs it.
struct Pulse {
    stop: Arc<AtomicBool>,
    beat: JoinHandle<Vec<Duration>>,
}

/// Printed whole; only the p99 is held to something.
#[derive(Debug)]
#[allow(dead_code)]
struct Latency {
    requests: usize,
    p99: Duration,
    slowest: Duration,
}

impl Pulse {
    fn start(weir: &Weir) -> Pulse {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, mut client) = (stop.clone(), weir.connect());
        let beat = std::thread::spawn(move || {
            let mut taken = Vec::new();
            while !told.load(Ordering::SeqCst) {
                let begun = Instant::now();
                client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                assert_eq!(client.read_response().status, 200);
                taken.push(begun.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
            taken
        });
        Pulse { stop, beat }
    }

    fn stop(self) -> Latency {
        self.stop.store(true, Ordering::SeqCst);
        let mut taken = self.beat.join().expect("every request was answered");
        taken.sort();
        let at = |part: usize| taken[(taken.len() - 1) * part / 100];
        Latency { requests: taken.len(), p99: at(99), slowest: at(100) }
    }
}

#[test]
fn the_first_answer_comes_soon_after_the_start() {
    let (http, nginx) = (free_address(), Nginx::shared().address);
    let file = format!("listeners: {{ http: {{ address: \"{http}\" }} }}\n{}", Weir::forwarding_to(&[nginx], ""));
    let begun = Instant::now();
    let _weir = Weir::spawn(&file);
    eventually("there is an answer", || Request::try_get(http, "/").ok().filter(|answer| answer.status == 200));
    let taken = begun.elapsed();
    println!("first answer after {taken:?}");
    assert!(!full_storm() || taken < Duration::from_millis(200), "{taken:?}");
}
