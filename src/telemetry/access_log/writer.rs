//! The thread that writes, and the owner that stops it.
//!
//! ```text
//! batches ──► write ──► stdout | file (appended to; opened anew on demand and when it was moved away)
//! ```
//!
//! Only this thread may block on the log's target.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Stdout, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{AccessLog, Batch, MAX_DELAY, Message, QUEUED_BATCHES};
use crate::model;
use crate::telemetry::metrics::Counter;

/// Owns an access log. Dropped without [`finish`](Self::finish), the thread ends with the last [`AccessLog`] handle.
#[derive(Debug)]
pub struct AccessLogWriter {
    pub(super) log: Arc<AccessLog>,
    /// Disconnected when the thread has ended.
    pub(super) ended: Receiver<()>,
}

/// The target took no more within the given time; lines may be missing from it.
#[derive(Debug, thiserror::Error)]
#[error("the access log could not be written to its end in time")]
pub struct WriterStuck;

impl AccessLogWriter {
    /// Opens the target and starts the thread. Lines that cannot be written are counted in `dropped`.
    pub fn open(settings: &model::AccessLog, dropped: Arc<Counter>) -> io::Result<Self> {
        let target = Target::open(&settings.target)?;
        let (sender, batches) = sync_channel(QUEUED_BATCHES);
        let (ending, ended) = sync_channel(0);
        let log = Arc::new(AccessLog {
            format: settings.format,
            sender,
            dropped: dropped.clone(),
            reopen: AtomicBool::new(false),
        });
        // Weak, so that the channel ends when nobody can write any more.
        let thread = Thread { target, batches, log: Arc::downgrade(&log), dropped, failing: Failing::No };
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            thread.run();
            drop(ending);
        })?;
        Ok(Self { log, ended })
    }

    pub fn log(&self) -> &Arc<AccessLog> {
        &self.log
    }

    /// A file is opened anew within a second: logrotate moved the old one away. Stdout stays.
    pub fn reopen(&self) {
        self.log.ask_to_reopen();
    }

    /// Writes what was handed over before and ends the thread. Lines that come later are dropped and counted.
    /// Blocks for `limit` at most.
    pub fn finish(self, limit: Duration) -> Result<(), WriterStuck> {
        let until = Instant::now() + limit;
        while let Err(TrySendError::Full(_)) = self.log.sender.try_send(Message::Finish) {
            if Instant::now() >= until {
                return Err(WriterStuck);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(WriterStuck),
        }
    }
}

struct Thread {
    target: Target,
    batches: Receiver<Message>,
    log: Weak<AccessLog>,
    dropped: Arc<Counter>,
    failing: Failing,
}

/// Whether the last write failed, so that a full disk is logged once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    No,
    Yes,
}

impl Thread {
    fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            let message = self.batches.recv_timeout(MAX_DELAY);
            let asked = self.log.upgrade().is_some_and(|log| log.reopen.swap(false, Relaxed));
            if asked || looked.elapsed() >= MAX_DELAY {
                looked = Instant::now();
                self.reopen_if_moved();
            }
            match message {
                Ok(Message::Batch(batch)) => self.write(&batch),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Finish) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, batch: &Batch) {
        let (written, result) = self.target.write(&batch.bytes);
        match (&result, self.failing) {
            (Ok(()), _) => self.failing = Failing::No,
            (Err(error), Failing::No) => {
                tracing::error!(%error, target = %self.target, "the access log cannot be written; lines are dropped");
                self.failing = Failing::Yes;
            }
            (Err(_), Failing::Yes) => {}
        }
        if result.is_err() {
            self.dropped.add(batch.lines.saturating_sub(written));
        }
    }

    fn reopen_if_moved(&mut self) {
        if let Err(error) = self.target.reopen_if_moved() {
            tracing::warn!(%error, target = %self.target, "the access log cannot be opened anew; the old file is kept");
        }
    }
}

enum Target {
    Stdout(Lines<Stdout>),
    File { path: PathBuf, file: Lines<File> },
}

impl Target {
    fn open(target: &model::LogTarget) -> io::Result<Self> {
        match target {
            model::LogTarget::Stdout => Ok(Self::Stdout(Lines::to(io::stdout()))),
            model::LogTarget::File(path) => Ok(Self::File { path: path.clone(), file: append_to(path)? }),
        }
    }

    fn write(&mut self, lines: &[u8]) -> (u64, io::Result<()>) {
        match self {
            Self::Stdout(stdout) => stdout.write(lines),
            Self::File { file, .. } => file.write(lines),
        }
    }

    /// A file that still stands at its path is the one that is open: nothing to do, even when asked.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let Self::File { path, file } = self else { return Ok(()) };
        let opened = file.out.metadata()?;
        let is_opened = |found: Metadata| (found.dev(), found.ino()) == (opened.dev(), opened.ino());
        if !std::fs::metadata(&*path).is_ok_and(is_opened) {
            *file = append_to(path)?;
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<Lines<File>> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(Lines { out: file, last: last_line_of(path) })
}

/// As another run has left it. A file that is empty, or may not be read, is taken for a whole one.
fn last_line_of(path: &Path) -> LastLine {
    let last_byte = || -> io::Result<u8> {
        let (mut file, mut last) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last).map(|()| last[0])
    };
    // Whoever opens a pipe to read waits for somebody who writes.
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let is_torn = is_file && last_byte().is_ok_and(|last| last != b'\n');
    if is_torn { LastLine::Torn } else { LastLine::Whole }
}

/// Where lines go, and how what was written last ends.
struct Lines<W> {
    out: W,
    last: LastLine,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LastLine {
    Whole,
    /// The disk was full in the middle of it.
    Torn,
}

impl<W: Write> Lines<W> {
    fn to(out: W) -> Self {
        Self { out, last: LastLine::Whole }
    }

    /// Returns how many of the lines stand there whole. A torn one is ended before the next one begins.
    fn write(&mut self, lines: &[u8]) -> (u64, io::Result<()>) {
        if self.last == LastLine::Torn
            && let Err(error) = self.out.write_all(b"\n")
        {
            return (0, Err(error));
        }
        self.last = LastLine::Whole;
        let (mut written, mut result) = (0, Ok(()));
        while written < lines.len() && result.is_ok() {
            match self.out.write(&lines[written..]) {
                Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        if result.is_ok() {
            // Standard output holds lines back.
            result = self.out.flush();
        }
        let written = &lines[..written];
        if written.last().is_some_and(|byte| *byte != b'\n') {
            self.last = LastLine::Torn;
        }
        (written.iter().filter(|byte| **byte == b'\n').count() as u64, result)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout(_) => f.write_str("stdout"),
            Self::File { path, .. } => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has room for so many bytes.
    #[derive(Default)]
    struct Disk {
        room: usize,
        content: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= length;
            self.content.extend(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_full_disk_tears_is_ended_before_the_next_and_only_lost_ones_are_missed() {
        let mut lines = Lines::to(Disk { room: 6, ..Disk::default() });
        let (written, result) = lines.write(b"one\ntwo\nthree\n");
        assert_eq!((written, result.is_err()), (1, true));
        let (written, result) = lines.write(b"four\n");
        assert_eq!((written, result.is_err()), (0, true));
        lines.out.room = 100;
        let (written, result) = lines.write(b"five\nsix\n");
        assert_eq!((written, result.is_ok()), (2, true));
        assert_eq!(lines.write(b"seven\n").0, 1);
        assert_eq!(String::from_utf8_lossy(&lines.out.content), "one\ntw\nfive\nsix\nseven\n");
    }

    #[test]
    fn what_another_run_has_torn_is_ended_too() {
        let folder = tempfile::tempdir().unwrap();
        for (before, after) in [("", "new\n"), ("old\n", "old\nnew\n"), ("old\nto", "old\nto\nnew\n")] {
            let path = folder.path().join("access.log");
            std::fs::write(&path, before).unwrap();
            let (written, result) = append_to(&path).unwrap().write(b"new\n");
            assert_eq!((written, result.is_ok()), (1, true));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
