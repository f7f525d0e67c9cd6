//! What must hold on either lane, whatever was sent: the comparison alone would not see what both do wrong.
//!
//! RFC 9110 §7.6.1 (fields of a connection stay behind), RFC 9112 §6 (one framing, and one reading of it), and that nobody gets
//! an answer to what he did not ask.

use super::case::{Case, Client};
use super::compare::Difference;
use super::message::{End, Fields, Message};
use super::stage::{Connection, Outcome};

/// What of it is broken, told as differences are: by which lane, and by what.
pub fn broken(case: &Case, full: &Outcome, lean: &Outcome) -> Vec<Difference> {
    let (by_full, by_lean) = (broken_by(case, full), broken_by(case, lean));
    let mut laws: Vec<&str> = by_full.iter().chain(&by_lean).map(|(law, _)| *law).collect();
    laws.sort_unstable();
    laws.dedup();
    let of = |broken: &[(&str, String)], law: &str| {
        let found = broken.iter().find(|(known, _)| *known == law);
        found.map(|(_, by)| by.clone()).unwrap_or_default()
    };
    let told = laws.into_iter().map(|law| {
        let (full, lean) = (of(&by_full, law), of(&by_lean, law));
        let lane = match (full.is_empty(), lean.is_empty()) {
            (false, false) => "both lanes break",
            (false, true) => "the full lane breaks",
            (true, _) => "the lean lane breaks",
        };
        Difference { about: format!("{lane} a law: {law}"), full, lean }
    });
    told.collect()
}

fn broken_by(case: &Case, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    let mut note = |law, message: &Message| broken.push((law, format!("{message:?}")));
    for request in &outcome.requests {
        laws_of_requests(case, request, &mut note);
    }
    for answer in &outcome.answers {
        laws_of_answers(answer, &mut note);
    }
    let announced = outcome.answers.last().is_some_and(|answer| answer.lists("connection", "close"));
    // An interim answer promises another; behind a switch of protocols nothing is HTTP.
    let is_final = |answer: &&Message| answer.end == End::Whole && answer.status() >= 200;
    let last_whole = outcome.answers.last().filter(is_final);
    if let Some(last) = last_whole
        && outcome.connection == Connection::Closed
        && outcome.pushes == 0
        && !announced
    {
        note("a connection is closed only where an answer says so", last);
    }
    broken
}

const TOLD: [&str; 6] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "x-request-id"];

fn laws_of_requests(case: &Case, request: &Message, note: &mut impl FnMut(&'static str, &Message)) {
    let mut hold = |law, holds: bool| {
        if !holds {
            note(law, request);
        }
    };
    let upgrades = request.lists("connection", "upgrade");
    let count = |name: &str| request.values(name).count();
    hold("an origin is never sent what is no request", request.end != End::Broken);
    hold("a request has one host", count("host") == 1 || request.fields.is_empty());
    hold("a request has one framing", count("content-length") + count("transfer-encoding") <= 1);
    hold("a length is a number", request.values("content-length").all(|value| value.iter().all(u8::is_ascii_digit)));
    hold("a coding is chunked", request.values("transfer-encoding").all(|value| value == b"chunked"));
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "http2-settings"] {
        hold("fields of the client's connection do not reach the origin", count(name) == 0 || upgrades);
    }
    hold("an upgrade has its connection option", count("upgrade") == 0 || upgrades);
    hold("no field holds control bytes", is_clean(&request.fields));
    hold(
        "a request line has three parts",
        request.first.is_empty() || request.first.split(|byte| *byte == b' ').count() == 3,
    );
    // What a trusted proxy says twice is its own.
    let names: &[&str] = if case.client == Client::TrustedProxy { &[] } else { &TOLD };
    for name in names {
        hold(
            "what tells of the client is said once",
            count(name) == 1 || request.fields.is_empty() || name.ends_with("-host"),
        );
    }
}

fn laws_of_answers(answer: &Message, note: &mut impl FnMut(&'static str, &Message)) {
    let mut hold = |law, holds: bool| {
        if !holds {
            note(law, answer);
        }
    };
    let count = |name: &str| answer.values(name).count();
    hold(
        "a client is never sent what is no answer",
        answer.end != End::Broken && answer.first.starts_with(b"HTTP/1.1 "),
    );
    let is_pingoras = answer.values("server").any(|server| server == b"Pingora");
    hold("Weir says in its own words what it refuses", !is_pingoras);
    hold("an answer has one framing", count("content-length") + count("transfer-encoding") <= 1);
    hold("a length is a number", answer.values("content-length").all(|value| value.iter().all(u8::is_ascii_digit)));
    hold("nobody is answered by what stood behind another answer", count("x-poison") == 0);
    for name in ["keep-alive", "proxy-connection", "trailer"] {
        hold(
            "fields of the origin's connection do not reach the client",
            count(name) == 0 || answer.status() / 100 == 1,
        );
    }
    hold("no field holds control bytes", is_clean(&answer.fields));
    hold(
        "answers of these statuses have no framing",
        !matches!(answer.status(), 100..=199 | 204) || count("transfer-encoding") == 0,
    );
}

fn is_clean(fields: &Fields) -> bool {
    let is_clean = |text: &[u8]| !text.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f);
    fields.iter().all(|(name, value)| !name.is_empty() && is_clean(name) && is_clean(value))
}
