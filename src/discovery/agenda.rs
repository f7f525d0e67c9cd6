//! Which question is asked when: after its TTL, or sooner and then less and less often where it failed.
//! It knows no resolver, and time is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::snapshot::upstream::Question;

/// Whatever the TTL says: zero would ask without a pause.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// Whatever the TTL says: a moved service is found again without a restart.
const LONGEST_TTL: Duration = Duration::from_secs(300);

/// Doubled after each failure in a row. A container that is about to start is found within a second or two.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

const LONGEST_BACKOFF: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(super) struct Agenda(BTreeMap<Question, Entry>);

#[derive(Debug)]
struct Entry {
    step: Step,
    failures: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Waiting(Instant),
    Asked,
}

impl Agenda {
    /// Drops what nobody wants any more; what is new is due now.
    pub(super) fn keep_only(&mut self, wanted: &BTreeSet<Question>, now: Instant) {
        self.0.retain(|question, _| wanted.contains(question));
        for question in wanted {
            let due_now = || Entry { step: Step::Waiting(now), failures: 0 };
            self.0.entry(question.clone()).or_insert_with(due_now);
        }
    }

    /// The questions to ask now; they count as asked.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Question> {
        let is_due = |entry: &Entry| matches!(entry.step, Step::Waiting(due) if due <= now);
        let due = self.0.iter_mut().filter(|(_, entry)| is_due(entry));
        due.map(|(question, entry)| {
            entry.step = Step::Asked;
            question.clone()
        })
        .collect()
    }

    /// None while every question is being asked.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let waiting = |entry: &Entry| match entry.step {
            Step::Waiting(due) => Some(due),
            Step::Asked => None,
        };
        self.0.values().filter_map(waiting).min()
    }

    pub(super) fn answered(&mut self, question: &Question, ttl: Duration, now: Instant) {
        if let Some(entry) = self.0.get_mut(question) {
            *entry = Entry { step: Step::Waiting(now + ttl.clamp(SHORTEST_TTL, LONGEST_TTL)), failures: 0 };
        }
    }

    pub(super) fn failed(&mut self, question: &Question, now: Instant) {
        if let Some(entry) = self.0.get_mut(question) {
            let pause = FIRST_BACKOFF.saturating_mul(1 << entry.failures.min(16)).min(LONGEST_BACKOFF);
            *entry = Entry { step: Step::Waiting(now + pause), failures: entry.failures + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agenda(now: Instant) -> (Agenda, Question) {
        let (mut agenda, question) = (Agenda::default(), Question::Addresses("api.test".into()));
        agenda.keep_only(&[question.clone()].into(), now);
        (agenda, question)
    }

    #[test]
    fn a_new_question_is_due_at_once_and_asked_once() {
        let now = Instant::now();
        let (mut agenda, question) = agenda(now);
        assert_eq!(agenda.take_due(now), [question]);
        assert_eq!((agenda.take_due(now), agenda.next_due()), (vec![], None));
    }

    #[test]
    fn an_answer_is_asked_again_after_its_ttl_within_bounds() {
        let now = Instant::now();
        let (mut agenda, question) = agenda(now);
        for (ttl, pause) in [(0, 1), (30, 30), (86_400, 300)] {
            agenda.answered(&question, Duration::from_secs(ttl), now);
            assert_eq!(agenda.next_due(), Some(now + Duration::from_secs(pause)));
        }
    }

    #[test]
    fn failures_are_asked_again_less_and_less_often() {
        let now = Instant::now();
        let (mut agenda, question) = agenda(now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            agenda.failed(&question, now);
            pauses.push((agenda.next_due().unwrap() - now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15]);
        agenda.answered(&question, Duration::from_secs(60), now);
        agenda.failed(&question, now);
        assert_eq!(agenda.next_due(), Some(now + FIRST_BACKOFF));
    }
}
