use std::fs;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::diagnostics::Origin;
use crate::model::{self, LogTarget};
use crate::telemetry::record::testing::{record, text};

const LIMIT: Duration = Duration::from_secs(10);

fn open(path: &Path) -> (AccessLogWriter, Arc<Counter>) {
    let dropped = Arc::new(Counter::default());
    let settings = model::AccessLog {
        origin: Origin::builtin(),
        format: AccessLogFormat::Combined,
        target: LogTarget::File(path.into()),
    };
    (AccessLogWriter::open(&settings, dropped.clone()).unwrap(), dropped)
}

/// On a thread with a runtime of its own, as the data plane has.
fn on_data_plane(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(work);
    })
    .join()
    .unwrap();
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn every_line_of_every_thread_is_in_the_file_after_finish() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    fs::write(&path, "what was there\n").unwrap();
    let (writer, dropped) = open(&path);
    for _ in 0..4 {
        let log = writer.log().clone();
        on_data_plane(async move { (0..1_000).for_each(|_| log.write(&record(), &text())) });
    }
    writer.finish(LIMIT).unwrap();
    assert_eq!((lines(&path), dropped.value()), (4_001, 0));
    assert!(fs::read_to_string(&path).unwrap().starts_with("what was there\n203.0.113.9 - ann ["));
}

#[test]
fn a_single_line_is_written_without_waiting_for_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let (writer, _) = open(&path);
    let (log, file) = (writer.log().clone(), path.clone());
    on_data_plane(async move {
        log.write(&record(), &text());
        assert_eq!(lines(&file), 0, "a line was not held back for its batch");
        tokio::time::sleep(MAX_DELAY).await;
        tokio::task::yield_now().await;
        wait_until("the write", || lines(&file) == 1);
    });
    writer.finish(LIMIT).unwrap();
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
    let (writer, _) = open(&path);
    writer.log().write(&record(), &text());
    wait_until("the first write", || lines(&path) == 1);
    fs::rename(&path, &moved).unwrap();
    writer.reopen();
    // Outside a runtime a line is handed over at once, and the writer looks at the file before it writes.
    writer.log().write(&record(), &text());
    writer.finish(LIMIT).unwrap();
    assert_eq!((lines(&moved), lines(&path)), (1, 1));
}

#[test]
fn a_stuck_target_drops_lines_and_counts_them_and_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // A reader that never reads: the pipe fills up and the writer waits for it.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (writer, dropped) = open(&path);
    let log = writer.log().clone();
    let written = 100_000;
    on_data_plane(async move { (0..written).for_each(|_| log.write(&record(), &text())) });
    assert!(dropped.value() > 0 && dropped.value() < written, "{} dropped", dropped.value());
    assert_eq!(writer.finish(Duration::from_millis(20)).unwrap_err().to_string(), WriterStuck.to_string());
    drop(reader);
}

#[test]
fn a_thread_that_changes_logs_hands_over_what_belongs_to_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old.log"), directory.path().join("new.log"));
    let ((old_writer, _), (new_writer, _)) = (open(&old), open(&new));
    let (old_log, new_log) = (old_writer.log().clone(), new_writer.log().clone());
    on_data_plane(async move {
        old_log.write(&record(), &text());
        new_log.write(&record(), &text());
    });
    old_writer.finish(LIMIT).unwrap();
    new_writer.finish(LIMIT).unwrap();
    assert_eq!((lines(&old), lines(&new)), (1, 1));
}

#[test]
fn lines_after_the_end_are_counted_as_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, dropped) = open(&directory.path().join("access.log"));
    let log = writer.log().clone();
    writer.finish(LIMIT).unwrap();
    log.write(&record(), &text());
    assert_eq!(dropped.value(), 1);
}

#[test]
fn a_writer_ends_when_its_last_handle_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, _) = open(&directory.path().join("access.log"));
    let AccessLogWriter { log, ended } = writer;
    drop(log);
    assert_eq!(ended.recv_timeout(LIMIT), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}
