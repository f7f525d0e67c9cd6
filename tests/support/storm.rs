//! Load that goes on while a test does its worst, and the choice between a short storm and a long one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http1::Connection;
use super::tools::{WrkReport, wrk};
use super::websocket::WebSocket;

/// `WEIR_STORM=full` asks for the storms as the project's promises are worded: minutes instead of seconds, and their figures
/// asserted, which only a release build can meet (`WEIR_BIN=target/release/weir`).
pub fn full_storm() -> bool {
    std::env::var("WEIR_STORM").is_ok_and(|value| value == "full")
}

/// wrk on one URL until it is told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    rounds: JoinHandle<WrkReport>,
}

impl Load {
    pub fn start(url: String, connections: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let rounds = std::thread::spawn(move || {
            let mut sum = WrkReport::default();
            while !told.load(Ordering::SeqCst) {
                sum += wrk(&url, connections, Duration::from_secs(1));
            }
            sum
        });
        Load { stop, rounds }
    }

    /// So many requests a second for this host, at an even pace, over connections that are kept.
    pub fn start_paced(to: SocketAddr, host: &'static str, rate: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let rounds = std::thread::spawn(move || {
            let visitors: Vec<_> = (0..VISITORS)
                .map(|_| {
                    let told = told.clone();
                    std::thread::spawn(move || visit(to, host, Duration::from_secs(1) * VISITORS / rate, &told))
                })
                .collect();
            let reports = visitors.into_iter().map(|visitor| visitor.join().expect("a visitor goes on"));
            reports.fold(WrkReport::default(), |mut sum, report| {
                sum += report;
                sum
            })
        });
        Load { stop, rounds }
    }

    /// What all its rounds came to.
    pub fn stop(self) -> WrkReport {
        self.stop.store(true, Ordering::SeqCst);
        self.rounds.join().expect("wrk ran")
    }
}

const VISITORS: u32 = 8;

/// One client with one connection.
fn visit(to: SocketAddr, host: &str, pause: Duration, told: &AtomicBool) -> WrkReport {
    let mut connection = Connection::open(to);
    let (begun, mut report, mut times) = (Instant::now(), WrkReport::default(), Vec::new());
    while !told.load(Ordering::SeqCst) {
        let due = begun + pause * u32::try_from(report.requests).expect("few enough");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        let sent = connection.try_write(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        match sent.and_then(|()| connection.try_read_response("GET")) {
            Ok(answer) if answer.status == 200 => {
                // As after so many requests as a connection may carry.
                if answer.header("connection") == Some("close") {
                    connection = Connection::open(to);
                }
            }
            Ok(_) => report.bad_answers += 1,
            Err(_) => {
                report.socket_errors += 1;
                connection = Connection::open(to);
            }
        }
        report.requests += 1;
        times.push(asked.elapsed());
    }
    times.sort();
    report.p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    report
}

/// Open WebSockets that talk, one after the other, until they are told to stop.
pub struct Chatter {
    stop: Arc<AtomicBool>,
    talk: JoinHandle<u64>,
}

impl Chatter {
    pub fn start(mut sockets: Vec<WebSocket>) -> Chatter {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let talk = std::thread::spawn(move || {
            let mut echoes = 0;
            while !told.load(Ordering::SeqCst) {
                for socket in &mut sockets {
                    socket.assert_echoes(&format!("echo {echoes}"));
                    echoes += 1;
                }
            }
            echoes
        });
        Chatter { stop, talk }
    }

    /// How many messages came back. Panics where one did not, or a socket was closed.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.talk.join().expect("every socket stayed open and echoed")
    }
}
