//! Load that goes on while a test does its worst, and the choice between a short storm and a long one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

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

    /// What all its rounds came to.
    pub fn stop(self) -> WrkReport {
        self.stop.store(true, Ordering::SeqCst);
        self.rounds.join().expect("wrk ran")
    }
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
