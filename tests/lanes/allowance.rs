//! What one lane may do otherwise than the other in a case, because neither is wrong.
//!
//! | Where | May differ |
//! |---|---|
//! | a reply's chunks are none | Pingora takes an empty size line for the last chunk, and passes over line feeds in extensions: the lean lane may break off what the full one hands out as whole |
//! | a reply begins before its request is whole | how much of the request is sent on; whether the answer says that it is the last, as it does where the client is still sending |
//! | the same, and the request's chunks are none | whether the answer has gone out before they end it |
//! | an origin ends a connection behind an answer that does not say so | whether the next request still went there: one that may not be sent twice is lost |
//! | a request's body comes in chunks | whether it is refused for how it begins depends on what of it has come with the head; Pingora hears of a client that leaves only while its queue of four pieces has room: the full lane may still wait for the upstream where the lean one has ended |
//! | a reply has interim answers | whether they had been passed on when the rest failed, and so whether the request could be tried again: one lane may say that it failed where the other has tried it again, and gone on |

use super::case::{Begins, Case, Reply, Step};
use super::message::{End, Holds, Message, Reader};

#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub lean_breaks_off: bool,
    pub tried_again: bool,
    pub lost: bool,
    pub answered_early: bool,
    pub in_chunks: bool,
    pub breaks_a_body: bool,
}

impl Allowance {
    pub fn of(case: &Case) -> Allowance {
        let sent: Vec<Vec<u8>> = case.replies.iter().map(sent).collect();
        let is_interim = |bytes: &Vec<u8>| bytes.starts_with(b"HTTP/1.1 1");
        Allowance {
            lean_breaks_off: sent.iter().any(|bytes| is_broken(bytes)),
            tried_again: sent.iter().any(is_interim),
            lost: case.replies.iter().any(ends_unannounced),
            answered_early: case.replies.iter().any(|reply| reply.begins == Begins::AtHead),
            in_chunks: is_in_chunks(case),
            breaks_a_body: breaks_a_body(case),
        }
    }
}

/// Whether there is a body in chunks among what the client sends.
fn is_in_chunks(case: &Case) -> bool {
    sent_by_client(case).to_ascii_lowercase().windows(CODING.len()).any(|part| part == CODING)
}

/// Whether there are chunks that are none.
fn breaks_a_body(case: &Case) -> bool {
    let mut reader = Reader::new(Holds::Requests);
    reader.push(&sent_by_client(case));
    std::iter::from_fn(|| reader.next(|_| true)).any(|request| request.end == End::Broken)
}

fn sent_by_client(case: &Case) -> Vec<u8> {
    case.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
}

const CODING: &[u8] = b"transfer-encoding";

fn ends_unannounced(reply: &Reply) -> bool {
    let mut reader = Reader::new(Holds::Answers);
    reader.push(&sent(reply));
    let mut answers = std::iter::from_fn(|| reader.next(|answer| answer.status() >= 200));
    let announced = answers.any(|answer| answer.lists("connection", "close"));
    reply.steps.contains(&Step::Close) && !announced
}

fn sent(reply: &Reply) -> Vec<u8> {
    let pieces = reply.steps.iter().filter_map(|step| match step {
        Step::Send(bytes) => Some(bytes.as_slice()),
        Step::Breath | Step::AwaitTunnelled(_) | Step::Close | Step::Reset => None,
    });
    pieces.collect::<Vec<_>>().concat()
}

/// Whether a strict reader of its chunks would break off.
fn is_broken(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(Holds::Answers);
    reader.push(bytes);
    let has_body = |answer: &Message| answer.status() >= 200;
    while let Some(answer) = reader.next(has_body) {
        if answer.status() >= 200 {
            return answer.end != End::Whole || has_line_feed_in_extension(bytes);
        }
    }
    reader.end().is_some_and(|answer| answer.end != End::Whole)
}

fn has_line_feed_in_extension(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r')
}
