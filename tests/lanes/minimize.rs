//! The least that still differs: whatever can be left out of a case is.
//!
//! ```text
//! case ──► a little less of it ──differs still?──yes──► go on from there
//!                  └──────────────────────────no──► the next little thing
//! ```

use std::time::{Duration, Instant};

use super::case::{Afterwards, Case, Client, Ending, Pace, Piece, Reply, Step, When};

/// Enough for anything that a person then reads.
const MOST_TIME: Duration = Duration::from_secs(8);

/// Leaves out what `differs` does not need.
pub fn minimize(case: &Case, mut differs: impl FnMut(&Case) -> bool) -> Case {
    let mut least = case.clone();
    let begun = Instant::now();
    loop {
        let smaller = simpler(&least).into_iter().chain(shorter(&least)).filter(|candidate| *candidate != least);
        let found = smaller.take_while(|_| begun.elapsed() < MOST_TIME).find(&mut differs);
        match found {
            Some(smaller) => least = smaller,
            None => return least,
        }
    }
}

/// Whole parts, the largest first.
fn simpler(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    let mut with = |change: &dyn Fn(&mut Case)| {
        let mut candidate = case.clone();
        change(&mut candidate);
        candidates.push(candidate);
    };
    with(&|case| case.ending = Ending::Waits);
    with(&|case| case.client = Client::Stranger);
    with(&|case| case.pace = Pace::Quick);
    with(&|case| case.afterwards = Afterwards::NotAsked);
    with(&|case| {
        let bytes = case.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
        case.pieces = vec![Piece { bytes, when: When::AtOnce }];
    });
    for at in (0..case.pieces.len()).filter(|_| case.pieces.len() > 1) {
        with(&|case| {
            case.pieces.remove(at);
            case.answers = case.answers.saturating_sub(1).max(1);
        });
    }
    with(&|case| case.replies = vec![Reply::send(&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..])]);
    for at in (0..case.replies.len()).filter(|_| case.replies.len() > 1) {
        with(&|case| drop(case.replies.remove(at)));
    }
    for reply in 0..case.replies.len() {
        with(&|case| {
            let steps = &mut case.replies[reply].steps;
            let sent =
                steps.iter().filter_map(|step| if let Step::Send(bytes) = step { Some(bytes.clone()) } else { None });
            let sent: Vec<u8> = sent.flatten().collect();
            steps.retain(|step| matches!(step, Step::Close));
            steps.insert(0, Step::Send(sent));
        });
        for step in 0..case.replies[reply].steps.len() {
            with(&|case| drop(case.replies[reply].steps.remove(step)));
        }
    }
    candidates
}

/// Lines and ends of what is sent, either way.
fn shorter(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    for piece in 0..case.pieces.len() {
        for bytes in shortened(&case.pieces[piece].bytes) {
            let mut candidate = case.clone();
            candidate.pieces[piece].bytes = bytes;
            candidates.push(candidate);
        }
    }
    for reply in 0..case.replies.len() {
        for step in 0..case.replies[reply].steps.len() {
            let Step::Send(bytes) = &case.replies[reply].steps[step] else { continue };
            for bytes in shortened(bytes) {
                let mut candidate = case.clone();
                candidate.replies[reply].steps[step] = Step::Send(bytes);
                candidates.push(candidate);
            }
        }
    }
    candidates
}

fn shortened(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut shorter = Vec::new();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    // Half of the fields, then one by one.
    if lines.len() > 8 {
        let (first, second) = lines.split_at(lines.len() / 2);
        shorter.push([&first[..1], second].concat().concat());
        shorter.push([first, &[b"\r\n"]].concat().concat());
    }
    for at in 0..lines.len().min(300) {
        let kept = lines.iter().enumerate().filter(|(number, _)| *number != at).map(|(_, line)| *line);
        shorter.push(kept.collect::<Vec<_>>().concat());
    }
    if bytes.len() > 200 {
        shorter.push(bytes[..bytes.len() - bytes.len() / 4].to_vec());
    }
    shorter
}
