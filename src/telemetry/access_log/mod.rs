//! The access log: one line for each request, in JSON or nginx's `combined`.
//!
//! ```text
//! RequestRecord + RequestText ──format──► this thread's batch ──32 KiB or 1 s──► bounded channel
//!                                                            ──► one writer thread ──► file or stdout
//! ```
//!
//! A request never waits: when the writer is stuck (a full pipe, a slow disk), batches are dropped and
//! counted. There is no lock; a batch belongs to the data-plane thread that fills it.

mod combined;
mod json;
mod writer;

#[cfg(test)]
mod tests;

pub use writer::{AccessLogWriter, WriterStuck};

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime};

use tokio::runtime::{Handle, RuntimeFlavor};

use super::metrics::Counter;
use super::record::{RequestRecord, RequestText};
use crate::model::AccessLogFormat;
use crate::telemetry::session::SessionRecord;

/// A batch is handed over when it is this large: about a hundred lines, and one allocation.
const BATCH_BYTES: usize = 32 << 10;
/// No line is held back longer.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Batches that wait for the writer; 4 MiB in all before lines are dropped.
const QUEUED_BATCHES: usize = 128;

/// Where requests write. Shared by snapshots and threads; closed by its [`AccessLogWriter`].
#[derive(Debug)]
pub struct AccessLog {
    format: AccessLogFormat,
    sender: SyncSender<Message>,
    dropped: Arc<Counter>,
    reopen: AtomicBool,
}

#[derive(Debug)]
enum Message {
    Batch(Batch),
    Finish,
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

impl AccessLog {
    /// Adds the request's line to this thread's batch. `record` is finished. Call it on a thread whose Tokio
    /// runtime is its own (`current_thread`); elsewhere each line is handed over at once.
    pub fn write(self: &Arc<Self>, record: &RequestRecord, text: &RequestText<'_>) {
        let now = SystemTime::now();
        PENDING.with_borrow_mut(|pending| {
            pending.append(self, |line| match self.format {
                AccessLogFormat::Json => json::append(line, record, text, now),
                AccessLogFormat::Combined => combined::append(line, record, text, now),
            });
        });
    }

    /// The same for a session.
    pub fn write_session(self: &Arc<Self>, session: &SessionRecord<'_>) {
        let now = SystemTime::now();
        PENDING.with_borrow_mut(|pending| {
            pending.append(self, |line| match self.format {
                AccessLogFormat::Json => json::append_session(line, session, now),
                AccessLogFormat::Combined => combined::append_session(line, session, now),
            });
        });
    }

    fn hand_over(&self, batch: Batch) {
        let lines = batch.lines;
        if self.sender.try_send(Message::Batch(batch)).is_err() {
            self.dropped.add(lines);
        }
    }

    fn ask_to_reopen(&self) {
        self.reopen.store(true, Relaxed);
    }
}

/// Hands over what this thread still has, for a process that ends.
pub fn flush() {
    PENDING.with_borrow_mut(Pending::flush);
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
}

/// Lines of this thread that the writer does not have yet, and the log they belong to.
#[derive(Default)]
struct Pending {
    log: Option<Arc<AccessLog>>,
    batch: Batch,
    timer: Timer,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Timer {
    #[default]
    Idle,
    Running,
}

impl Pending {
    fn append(&mut self, log: &Arc<AccessLog>, format: impl FnOnce(&mut Vec<u8>)) {
        if !self.log.as_ref().is_some_and(|current| Arc::ptr_eq(current, log)) {
            // A reload changed the log.
            self.flush();
            self.log = Some(log.clone());
        }
        if self.batch.bytes.capacity() == 0 {
            self.batch.bytes.reserve_exact(BATCH_BYTES + BATCH_BYTES / 8);
        }
        format(&mut self.batch.bytes);
        self.batch.lines += 1;
        if self.batch.bytes.len() >= BATCH_BYTES {
            self.flush();
        } else if self.timer == Timer::Idle {
            self.start_timer();
        }
    }

    /// At most one short task per thread and second, and none while there are no requests.
    fn start_timer(&mut self) {
        match Handle::try_current() {
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread => {
                self.timer = Timer::Running;
                let flush = FlushOnDrop;
                runtime.spawn(async move {
                    tokio::time::sleep(MAX_DELAY).await;
                    drop(flush);
                });
            }
            // A task could run on another thread and would find that thread's batch.
            Ok(_) | Err(_) => self.flush(),
        }
    }

    /// Hands over what there is. Lets go of the log, so that one which a reload replaced can end.
    fn flush(&mut self) {
        if let Some(log) = self.log.take()
            && self.batch.lines > 0
        {
            log.hand_over(mem::take(&mut self.batch));
        }
    }
}

/// A thread that ends hands over its last lines.
impl Drop for Pending {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Runs when the timer fires, and also when its runtime ends before.
struct FlushOnDrop;

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        // An error says that the thread is ending: `Pending` flushes itself.
        let _ = PENDING.try_with(|pending| {
            let mut pending = pending.borrow_mut();
            pending.timer = Timer::Idle;
            pending.flush();
        });
    }
}

/// Appends a whole number.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends an address.
fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write;
    // Writing to memory does not fail.
    let _ = write!(out, "{value}");
}
