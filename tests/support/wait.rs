//! Waiting with a deadline.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// How long anything may take before a test calls it broken. Generous: the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Asks again and again until there is an answer; panics with `what` when there is none in time.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that something stays as it is; for what must *not* happen.
#[track_caller]
pub fn holds_for(duration: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        assert!(holds(), "{what}: not any longer");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a future on the harness's runtime; panics when it takes longer than [`LIMIT`].
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    match runtime().block_on(async { tokio::time::timeout(LIMIT, future).await }) {
        Ok(output) => output,
        Err(_) => panic!("nothing came of it within {LIMIT:?}"),
    }
}

/// Origins and clients that need one live here; it ends with the process.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}
