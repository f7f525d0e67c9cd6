//! What is behind Weir: it answers with what it was asked, so that an answer that belongs to somebody else is seen.
//!
//! ```text
//! GET  /wild/get?seed=7              ──► "GET /wild/get?seed=7"
//! POST /steady/post?seed=7  + body   ──► "POST /steady/post?seed=7 whole", where the body is the one that the seed makes
//! GET  /steady/large?seed=7&size=9   ──► nine bytes that the seed makes
//! ```

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::{Answer, LIMIT, Origin, Received};

/// The largest body that is made.
pub const LARGEST: usize = 8 << 20;
/// No power of two: what is misplaced by a buffer's size is not what was meant.
const PERIOD: usize = 251;

/// So many bytes, which the seed chooses.
pub fn body(seed: usize, size: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| (0..LARGEST + PERIOD).map(|at| (at % PERIOD) as u8).collect());
    &bytes[seed % PERIOD..][..size]
}

/// What a request for this target, with its body, is answered with.
pub fn answer_to(method: &str, target: &str, body: Option<bool>) -> String {
    match body {
        None => format!("{method} {target}"),
        Some(true) => format!("{method} {target} whole"),
        Some(false) => format!("{method} {target} is not what was sent"),
    }
}

fn number(target: &str, name: &str) -> Option<usize> {
    let query = target.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn answer(request: &Received) -> Answer {
    let seed = number(&request.target, "seed").unwrap_or_default();
    if let Some(size) = number(&request.target, "size") {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        return Answer::Send([head.as_bytes(), body(seed, size)].concat());
    }
    let is_sent = request.header("content-length").is_some() || request.header("transfer-encoding").is_some();
    let is_whole = || number(&request.target, "sent").is_some_and(|size| request.body == body(seed, size));
    Answer::ok(&answer_to(&request.method, &request.target, is_sent.then(is_whole)))
}

/// Those that are there now.
pub struct Pool {
    origins: Vec<Origin>,
}

impl Pool {
    pub fn start(count: usize) -> Pool {
        // Made before anybody waits for it.
        body(0, 0);
        Pool { origins: (0..count).map(|_| Origin::forgetful(answer)).collect() }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.origins.iter().map(|origin| origin.address).collect()
    }

    pub fn grow(&mut self) {
        self.origins.push(Origin::forgetful(answer));
    }

    /// The one that was there first is taken out; whoever has it may stop it.
    pub fn take_oldest(&mut self) -> Origin {
        self.origins.remove(0)
    }
}

/// Nobody has been asking for so long: longer than a request needs from its choice of an endpoint to the endpoint.
const QUIET: Duration = Duration::from_secs(1);

/// Ends as a server does that is told to: what it has begun is done first.
pub fn stop_when_done(origin: Origin) {
    let deadline = Instant::now() + LIMIT;
    let (mut asked, mut since) = (origin.byte_count(), Instant::now());
    while since.elapsed() < QUIET {
        assert!(Instant::now() < deadline, "an origin that is in no file any more is asked all the same");
        std::thread::sleep(Duration::from_millis(20));
        let now = origin.byte_count();
        if now != asked || origin.busy_count() > 0 {
            (asked, since) = (now, Instant::now());
        }
    }
    origin.stop();
}
