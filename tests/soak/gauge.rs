//! What Weir holds while it serves: memory, and open files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::resident_kib_of;

#[derive(Clone, Copy)]
struct Reading {
    resident_kib: u64,
    files: u64,
}

/// Reads until it is told to stop.
pub struct Gauge {
    stop: Arc<AtomicBool>,
    readings: JoinHandle<Vec<Reading>>,
}

#[derive(Debug)]
pub struct Held {
    /// The least of each quarter of the time: what bursts take comes and goes, what is lost stays.
    pub least_kib: [u64; 4],
    /// Of each quarter the middle reading.
    pub files: [u64; 4],
    /// The middle readings of twelve parts, and the highest of all: shown, and held to nothing.
    #[allow(dead_code)]
    course_kib: Vec<u64>,
    #[allow(dead_code)]
    most_kib: u64,
}

impl Gauge {
    pub fn start(process: u32, pause: Duration) -> Gauge {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let readings = std::thread::spawn(move || {
            let mut readings = Vec::new();
            while !told.load(Ordering::SeqCst) {
                readings.push(Reading { resident_kib: resident_kib_of(process), files: open_files(process) });
                std::thread::sleep(pause);
            }
            readings
        });
        Gauge { stop, readings }
    }

    pub fn stop(self) -> Held {
        self.stop.store(true, Ordering::SeqCst);
        let readings = self.readings.join().expect("the process ran");
        assert!(readings.len() >= 24, "too few readings: {}", readings.len());
        let sorted = |nth: usize, parts: usize, of: fn(&Reading) -> u64| {
            let part = &readings[nth * readings.len() / parts..(nth + 1) * readings.len() / parts];
            let mut values: Vec<u64> = part.iter().map(of).collect();
            values.sort_unstable();
            values
        };
        let middle = |values: Vec<u64>| values[values.len() / 2];
        Held {
            least_kib: [0, 1, 2, 3].map(|nth| sorted(nth, 4, |reading| reading.resident_kib)[0]),
            files: [0, 1, 2, 3].map(|nth| middle(sorted(nth, 4, |reading| reading.files))),
            course_kib: (0..12).map(|nth| middle(sorted(nth, 12, |reading| reading.resident_kib))).collect(),
            most_kib: readings.iter().map(|reading| reading.resident_kib).max().unwrap_or_default(),
        }
    }
}

pub fn open_files(process: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs").count() as u64
}
