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

/// Of each quarter of the time the middle reading, and the highest of all, which is shown and held to nothing.
#[derive(Debug)]
#[allow(dead_code)]
pub struct Held {
    pub resident_kib: [u64; 4],
    pub most_resident_kib: u64,
    pub files: [u64; 4],
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
        assert!(readings.len() >= 8, "too few readings: {}", readings.len());
        let quarter = |nth: usize| &readings[nth * readings.len() / 4..(nth + 1) * readings.len() / 4];
        let middle = |nth: usize, of: fn(&Reading) -> u64| {
            let mut values: Vec<u64> = quarter(nth).iter().map(of).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Held {
            resident_kib: [0, 1, 2, 3].map(|nth| middle(nth, |reading| reading.resident_kib)),
            most_resident_kib: readings.iter().map(|reading| reading.resident_kib).max().unwrap_or_default(),
            files: [0, 1, 2, 3].map(|nth| middle(nth, |reading| reading.files)),
        }
    }
}

pub fn open_files(process: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs").count() as u64
}
