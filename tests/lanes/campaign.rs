//! Many cases in several threads; what differs is played again, alone, and made small.
//!
//! ```text
//! seeds ──► workers: generate, play, compare ──differs──► again on fresh connections ──differs──► minimize ──► Report
//!                                                              └──does not──► counted as unsteady
//! ```
//!
//! Where one lane alone has ended a connection behind a case, which of the next cases sees it is chance: the case behind which it
//! ended is looked at instead.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::arena::Arena;
use super::case::{Afterwards, Case};
use super::compare::{Difference, compare, normalize};
use super::generate;
use super::laws;
use super::message::Message;
use super::minimize::minimize;
use super::show;
use super::stage::{Connection, Outcome, Patience, Side, play};

/// What there is to find out, and how long it may take.
pub struct Campaign {
    pub first_seed: u64,
    pub cases: u64,
    /// No case begins later than this.
    pub most: Duration,
    /// Silence in the run itself. Where a difference is looked at it is four times as long.
    pub patience: Duration,
}

/// What came out.
#[derive(Default)]
pub struct Report {
    pub cases: u64,
    pub requests: u64,
    /// First answers on the full lane, by status; 0: there was none.
    pub statuses: BTreeMap<u16, u64>,
    pub closed: u64,
    pub pushed: u64,
    pub took: Duration,
    /// By what they are about.
    pub findings: BTreeMap<String, Finding>,
    /// Differed in the run, and not again: the first of them, and how many they are.
    pub unsteady: Vec<String>,
    pub unsteady_cases: u64,
}

pub struct Finding {
    pub times: u64,
    /// In words, at its least.
    pub example: String,
}

/// Minimized of one kind; the others are only counted.
const EXAMPLES: usize = 1;

impl Campaign {
    pub fn run(&self, arena: &mut Arena) -> Report {
        let (begun, next) = (Instant::now(), AtomicU64::new(0));
        let report = Mutex::new(Report::default());
        std::thread::scope(|scope| {
            for sides in &mut arena.workers {
                let (next, report) = (&next, &report);
                scope.spawn(move || self.work(sides, begun, next, report));
            }
        });
        let mut report = report.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        report.took = begun.elapsed();
        report
    }

    fn work(&self, sides: &mut [Side], begun: Instant, next: &AtomicU64, report: &Mutex<Report>) {
        let mut tally = Report::default();
        // The last few: a difference may have begun before it showed.
        let mut before: Vec<(u64, Case)> = Vec::new();
        while begun.elapsed() < self.most {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.cases {
                break;
            }
            let seed = self.first_seed + number;
            let case = generate::case(seed);
            let Played { differences, outcomes, ended_by_one } = differ(sides, &case, Patience(self.patience));
            tally.count(&outcomes[0]);
            if let Some([full, lean]) = &ended_by_one
                && let Some(at) = before.iter().rposition(|(_, earlier)| earlier.client == case.client)
            {
                let (earlier, behind) = &before[at];
                let ended = Difference::of_connection_behind(*earlier, full, lean);
                self.look_closer(sides, *earlier, &before[..at], behind, &[ended], report);
            }
            if !differences.is_empty() {
                self.look_closer(sides, seed, &before, &case, &differences, report);
                before.clear();
            }
            if before.len() == KEPT {
                before.remove(0);
            }
            before.push((seed, case));
        }
        let mut report = lock(report);
        report.add(tally);
    }

    fn look_closer(
        &self,
        sides: &mut [Side],
        seed: u64,
        before: &[(u64, Case)],
        case: &Case,
        first: &[Difference],
        report: &Mutex<Report>,
    ) {
        let patience = Patience(self.patience * 4);
        let alone = Case { afterwards: Afterwards::Asked, ..case.clone() };
        let mut steady = steadily(sides, std::slice::from_ref(&alone), patience);
        let mut history = Vec::new();
        if steady.is_empty() {
            // It may be the case before that left something behind.
            history = before.iter().map(|(_, earlier)| earlier).chain([case]).cloned().collect();
            steady = steadily(sides, &history, patience);
        }
        if steady.is_empty() {
            let about: Vec<_> = first.iter().map(|one| format!("{}: {} / {}", one.about, one.full, one.lean)).collect();
            let mut report = lock(report);
            report.unsteady_cases += 1;
            if report.unsteady.len() < UNSTEADY_SHOWN {
                report.unsteady.push(format!("seed {seed}: {}", about.join("; ")));
            }
            sides.iter_mut().for_each(Side::forget_connections);
            return;
        }
        let about = steady[0].about.clone();
        let is_new = {
            let mut report = lock(report);
            let finding = report.findings.entry(about.clone()).or_insert(Finding { times: 0, example: String::new() });
            finding.times += 1;
            finding.times <= EXAMPLES as u64
        };
        if is_new {
            let example = self.example(sides, seed, &alone, &history, &about, patience);
            if let Some(finding) = lock(report).findings.get_mut(&about) {
                finding.example = example;
            }
        }
        sides.iter_mut().for_each(Side::forget_connections);
    }

    /// The case, or the cases, at their least, in words.
    fn example(
        &self,
        sides: &mut [Side],
        seed: u64,
        alone: &Case,
        history: &[Case],
        about: &str,
        patience: Patience,
    ) -> String {
        let mut text = format!("seed {seed}\n");
        let differs = |sides: &mut [Side], cases: &[Case]| {
            again(sides, cases, patience).differences.iter().any(|difference| difference.about == about)
        };
        if history.is_empty() {
            let least = minimize(alone, |case| differs(sides, std::slice::from_ref(case)));
            text += &show::case(&least);
            text += &told(&steadily(sides, &[least], patience));
            return text;
        }
        // Without what does not matter.
        let mut kept = history.to_vec();
        let mut at = 0;
        while at + 1 < kept.len() {
            let mut fewer = kept.clone();
            fewer.remove(at);
            match differs(sides, &fewer) {
                true => kept = fewer,
                false => at += 1,
            }
        }
        kept.iter().for_each(|case| text += &show::case(case));
        text += &told(&steadily(sides, &kept, patience));
        text
    }
}

const UNSTEADY_SHOWN: usize = 20;

/// Cases that are played again with one that differs.
const KEPT: usize = 6;

/// What came of a case.
#[derive(Default)]
struct Played {
    differences: Vec<Difference>,
    outcomes: Vec<Outcome>,
    /// As the case found the connections, where one lane alone had ended its own.
    ended_by_one: Option<[Outcome; 2]>,
}

/// Plays a case as it comes, on the connections that are there. Where they have ended behind an earlier one, on fresh ones.
fn differ(sides: &mut [Side], case: &Case, patience: Patience) -> Played {
    let mut outcomes = play(sides, case, patience);
    let mut ended_by_one = None;
    if outcomes.iter().any(|outcome| outcome.was_stale) {
        sides.iter_mut().for_each(Side::forget_connections);
        let stale = std::mem::replace(&mut outcomes, play(sides, case, patience));
        ended_by_one = <[Outcome; 2]>::try_from(stale).ok().filter(|[full, lean]| full.was_stale != lean.was_stale);
    }
    for (outcome, side) in outcomes.iter_mut().zip(sides.iter()) {
        normalize(outcome, side);
    }
    let mut differences = Vec::new();
    if let [full, lean] = &outcomes[..] {
        differences = compare(case, full, lean);
        differences.extend(laws::broken(case, full, lean));
    }
    Played { differences, outcomes, ended_by_one }
}

/// What differs every time, on fresh connections, in the last of these cases. Where a lane does not do the same every time, nothing
/// is said: it is chance that decides, and not the lane.
fn steadily(sides: &mut [Side], cases: &[Case], patience: Patience) -> Vec<Difference> {
    let mut first: Option<Played> = None;
    for _ in 0..TIMES {
        let last = again(sides, cases, patience);
        let is_steady = first.as_ref().is_none_or(|first| alike(cases, &first.outcomes, &last.outcomes));
        if last.differences.is_empty() || !is_steady {
            return Vec::new();
        }
        first.get_or_insert(last);
    }
    first.map(|first| first.differences).unwrap_or_default()
}

/// On fresh connections; what came of the last.
fn again(sides: &mut [Side], cases: &[Case], patience: Patience) -> Played {
    sides.iter_mut().for_each(Side::forget_connections);
    cases.iter().map(|case| differ(sides, case, patience)).last().unwrap_or_default()
}

fn alike(cases: &[Case], some: &[Outcome], others: &[Outcome]) -> bool {
    let Some(case) = cases.last() else { return true };
    some.iter().zip(others).all(|(one, other)| compare(case, one, other).is_empty())
}

const TIMES: usize = 3;

fn told(differences: &[Difference]) -> String {
    let lines =
        differences.iter().map(|one| format!("  {}:\n    full {}\n    lean {}\n", one.about, one.full, one.lean));
    lines.collect()
}

/// What differs in one case, in words; none where nothing does.
pub fn difference_of(sides: &mut [Side], case: &Case, patience: Duration) -> Option<String> {
    let found = steadily(sides, std::slice::from_ref(case), Patience(patience));
    (!found.is_empty()).then(|| format!("{}{}", show::case(case), told(&found)))
}

/// One seed, and what came of it on each lane.
pub fn show_outcomes(sides: &mut [Side], seed: u64) -> String {
    let case = Case { afterwards: Afterwards::Asked, ..generate::case(seed) };
    let outcomes = play(sides, &case, Patience(Duration::from_millis(200)));
    let told = outcomes.iter().map(|outcome| format!("{outcome:#?}\n"));
    show::case(&case) + &told.collect::<String>()
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Report {
    fn count(&mut self, full: &Outcome) {
        self.cases += 1;
        self.requests += full.requests.len() as u64;
        let status = full.answers.first().map_or(0, Message::status);
        *self.statuses.entry(status).or_default() += 1;
        self.closed += u64::from(full.connection != Connection::Open);
        self.pushed += u64::from(full.pushes > 0);
    }

    fn add(&mut self, other: Report) {
        self.cases += other.cases;
        self.requests += other.requests;
        self.closed += other.closed;
        self.pushed += other.pushed;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }

    /// What kind of cases they were: whether they got as far as they should.
    pub fn profile(&self) -> String {
        format!(
            "{} requests at an origin, {} connections ended, {} silences; first answers: {:?}",
            self.requests, self.closed, self.pushed, self.statuses
        )
    }

    pub fn summary(&self) -> String {
        let rate = self.cases as f64 / self.took.as_secs_f64();
        format!(
            "{} cases in {:.1} s, {rate:.0} a second: {} kinds of differences, {} unsteady",
            self.cases,
            self.took.as_secs_f64(),
            self.findings.len(),
            self.unsteady_cases
        )
    }

    pub fn details(&self) -> String {
        let findings = self
            .findings
            .iter()
            .map(|(about, finding)| format!("=== {} × {about}\n{}\n", finding.times, finding.example));
        findings.collect()
    }
}
