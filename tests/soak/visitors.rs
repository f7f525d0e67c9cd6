//! The steady load: so many requests a second, each at its time, whether those before it are answered or not.
//!
//! ```text
//! KINDS ──► a thread for each client: sleep until the next is due ──► ask ──► time since it was *due* ──► Times
//! ```
//!
//! What a client has to wait for counts, too: an answer that is late makes the next one late, and both are seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Times};
use super::lines::{Again, Doors, Errand, Line, Wire};

struct Kind {
    wire: Wire,
    errand: Errand,
    clients: u32,
    /// Of a thousand requests.
    share: u32,
}

const fn kind(wire: Wire, errand: Errand, clients: u32, share: u32) -> Kind {
    Kind { wire, errand, clients, share }
}

const KINDS: [Kind; 13] = [
    kind(Wire::Plain, Errand::Get, 16, 360),
    kind(Wire::Plain, Errand::Put, 4, 60),
    kind(Wire::Plain, Errand::Post(2 << 10), 5, 90),
    kind(Wire::Plain, Errand::PostInChunks(2 << 10), 4, 60),
    kind(Wire::Plain, Errand::Post(64 << 10), 3, 30),
    kind(Wire::Plain, Errand::Download(64 << 10), 3, 40),
    kind(Wire::Plain, Errand::Pipelined(4), 5, 100),
    kind(Wire::Tls, Errand::Get, 5, 100),
    kind(Wire::Tls, Errand::Post(2 << 10), 3, 30),
    kind(Wire::Tls, Errand::Download(64 << 10), 2, 10),
    kind(Wire::Http2, Errand::Get, 2, 30),
    kind(Wire::Http2Tls, Errand::Get, 4, 70),
    kind(Wire::Http2Tls, Errand::Post(2 << 10), 2, 20),
];

pub struct Visitors {
    stop: Arc<AtomicBool>,
    kinds: Vec<(String, Arc<Times>)>,
    clients: Vec<JoinHandle<()>>,
}

impl Visitors {
    /// All of them make `rate` requests a second.
    pub fn start(doors: Doors, rate: u32, ledger: &Arc<Ledger>) -> Visitors {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut kinds, mut clients) = (Vec::new(), Vec::new());
        for (nth, kind) in KINDS.iter().enumerate() {
            let times = Arc::new(Times::new());
            kinds.push((format!("{:?} {:?}", kind.wire, kind.errand), times.clone()));
            let a_second = f64::from(rate * kind.share) / 1000.0 / kind.errand.requests() as f64;
            let pause = Duration::from_secs_f64(f64::from(kind.clients) / a_second);
            for client in 0..kind.clients {
                let visitor = Visitor {
                    kind,
                    doors,
                    first_seed: (nth << 40) + ((client as usize) << 32),
                    begun: Instant::now() + pause * client / kind.clients,
                    pause,
                    times: times.clone(),
                    ledger: ledger.clone(),
                    stop: stop.clone(),
                };
                clients.push(std::thread::spawn(move || visitor.visit()));
            }
        }
        Visitors { stop, kinds, clients }
    }

    /// By kind, and of all.
    pub fn stop(self) -> (Vec<(String, Arc<Times>)>, Times) {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().expect("a visitor goes on"));
        let all = Times::new();
        self.kinds.iter().for_each(|(_, times)| all.add(times));
        (self.kinds, all)
    }
}

struct Visitor {
    kind: &'static Kind,
    doors: Doors,
    first_seed: usize,
    begun: Instant,
    pause: Duration,
    times: Arc<Times>,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
}

impl Visitor {
    fn visit(self) {
        let Kind { wire, errand, .. } = *self.kind;
        let mut line = None;
        for beat in 0.. {
            let due = self.begun + self.pause * beat;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let seed = self.first_seed + beat as usize * errand.requests();
            let kept = line.take();
            let answered = self.ledger.watch(|| {
                let mut line = kept.map_or_else(|| Line::open(wire, self.doors), Ok)?;
                Ok((line.run(errand, seed)?, line))
            });
            match answered {
                Ok((again, open)) => {
                    (0..errand.requests()).for_each(|_| self.times.note(due.elapsed()));
                    line = Some(open).filter(|_| again == Again::OnThis);
                }
                Err(what) => self.ledger.fail(format!("{wire:?} {what}")),
            }
        }
    }
}
