//! What the kernel knows of this process, under the names every Prometheus client uses.
//!
//! ```text
//! /proc/self/{stat,status,limits,fd} ──at a scrape──► ProcessFacts
//! ```
//!
//! Elsewhere than on Linux there is nothing to read, and nothing is shown.

use std::fs;

/// `USER_HZ`: what /proc counts processor time in, on every architecture that Weir is built for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProcessFacts {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub threads: u64,
    pub open_fds: u64,
    pub max_fds: Option<u64>,
}

impl ProcessFacts {
    pub fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        // The listing itself holds one descriptor open.
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64;
        Self::parse(&stat, &status, &limits, open_fds)
    }

    fn parse(stat: &str, status: &str, limits: &str, open_fds: u64) -> Option<Self> {
        // The program's name stands in parentheses and may hold spaces; proc(5) counts fields from 1.
        let mut after_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system): (f64, f64) = (after_name.next()?.parse().ok()?, after_name.next()?.parse().ok()?);
        let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Some(Self {
            cpu_seconds: (user + system) / TICKS_PER_SECOND,
            resident_bytes: field(status, "VmRSS:")? * 1024,
            virtual_bytes: field(status, "VmSize:")? * 1024,
            threads: field(status, "Threads:")?,
            open_fds,
            max_fds: max_fds.and_then(|limits| limits.split_whitespace().next()?.parse().ok()),
        })
    }
}

/// The number after `name` in /proc/self/status.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "7 (we) ir (x) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 1 2 3";
        let status = "Name:\tweir\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t4\n";
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        let facts = ProcessFacts::parse(stat, status, limits, 9).unwrap();
        assert_eq!(
            facts,
            ProcessFacts {
                cpu_seconds: 2.0,
                resident_bytes: 1 << 20,
                virtual_bytes: 2 << 20,
                threads: 4,
                open_fds: 9,
                max_fds: Some(1024)
            }
        );
        assert_eq!(ProcessFacts::parse(stat, status, "Max open files unlimited", 9).unwrap().max_fds, None);
    }
}
