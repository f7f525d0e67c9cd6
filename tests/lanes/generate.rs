//! A case from a seed: one request or a few, their replies, and now and then bytes of either changed.

use super::case::{Afterwards, Begins, Case, Client, Ending, Pace, Piece, Pool, Step, When};
use super::mutate::mutate;
use super::random::Random;
use super::replies::{self, Written};
use super::requests::{self, Request};

pub fn case(seed: u64) -> Case {
    let random = &mut Random::new(seed);
    let count = if random.percent(88) { 1 } else { 2 + random.below(4) };
    let requests: Vec<Request> = (0..count).map(|_| requests::write(random)).collect();
    let written: Vec<Written> = requests.iter().map(|request| replies::write(random, request)).collect();
    let mut is_odd = requests.iter().any(|request| request.is_odd) || written.iter().any(|written| written.is_odd);
    let is_hurried = requests.iter().any(|request| request.head.windows(8).any(|word| word == b"/hurried"));
    let mut pieces = pieces(random, &requests);
    let mut replies: Vec<_> = written.into_iter().map(|written| written.reply).collect();
    if random.percent(8) {
        is_odd = true;
        let piece = random.below(pieces.len());
        mutate(random, &mut pieces[piece].bytes);
    }
    if random.percent(6) {
        is_odd = true;
        let reply = random.below(replies.len());
        for step in &mut replies[reply].steps {
            if let Step::Send(bytes) = step {
                mutate(random, bytes);
                break;
            }
        }
    }
    if is_hurried && random.percent(30) {
        replies.iter_mut().for_each(|reply| *reply = super::case::Reply { begins: Begins::AtEnd, steps: Vec::new() });
    }
    let asks = is_odd || random.permille(30) || replies.iter().any(|reply| reply.begins == Begins::AtHead);
    Case {
        client: if random.percent(25) { Client::TrustedProxy } else { Client::Stranger },
        answers: count,
        ending: ending(random, is_odd),
        pieces,
        replies,
        afterwards: if asks { Afterwards::Asked } else { Afterwards::NotAsked },
        pool: if is_odd { Pool::Empty } else { Pool::AsItIs },
        pace: if is_hurried { Pace::Patient } else { Pace::Quick },
    }
}

fn ending(random: &mut Random, is_odd: bool) -> Ending {
    match (is_odd, random.below(10)) {
        (true, 0..4) => Ending::HalfCloses,
        (true, 4) => Ending::Leaves,
        _ => Ending::Waits,
    }
}

fn pieces(random: &mut Random, requests: &[Request]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        // Pipelined, or one after the other.
        let when = match random.percent(70) {
            true => When::AtOnce,
            false => When::AfterAnswers(number),
        };
        let waits = request.expects && random.percent(80);
        if waits || request.upgrades {
            pieces.push(Piece { bytes: request.head.clone(), when });
            let (rest, when) = match request.upgrades {
                true => (b"ping".to_vec(), When::AfterSwitch),
                false => (request.body.clone(), When::AfterInterim(number)),
            };
            pieces.push(Piece { bytes: rest, when });
            continue;
        }
        let whole = [request.head.as_slice(), &request.body].concat();
        match random.below(100) {
            0..86 => pieces.push(Piece { bytes: whole, when }),
            // The body comes when the answer has.
            86 if !request.body.is_empty() => {
                pieces.push(Piece { bytes: request.head.clone(), when });
                pieces.push(Piece { bytes: request.body.clone(), when: When::AfterAnswers(number + 1) });
            }
            _ => split(random, &whole, when, &mut pieces),
        }
    }
    pieces
}

fn split(random: &mut Random, whole: &[u8], first: When, pieces: &mut Vec<Piece>) {
    let (mut rest, mut when) = (whole, first);
    for _ in 0..1 + random.below(4) {
        let (piece, left) = rest.split_at(random.below(rest.len() + 1));
        pieces.push(Piece { bytes: piece.to_vec(), when });
        (rest, when) = (left, When::AtOnce);
    }
    pieces.push(Piece { bytes: rest.to_vec(), when });
}
