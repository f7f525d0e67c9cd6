//! What differs between two outcomes, once what must differ is taken out.
//!
//! | Taken out | Why |
//! |---|---|
//! | the coding of a request whose body is empty | Pingora leaves it out where it sends such a request again |
//! | `Chunked` for `chunked` | the name of a coding has no case (RFC 9112 §7) |
//! | order of fields of different names, case of names | no reader may depend on it (RFC 9110 §5.1, §5.3); the order within a name is kept |
//! | request ids that Weir makes: 32 hexadecimal digits, in fields and pages | random |
//! | `Date` and `Expires` near the present | the two lanes answer a moment apart |
//! | the listener's port in `X-Forwarded-Port`, the origin's address in any value | each lane has its own |
//! | the sticky cookie's value | it names the endpoint |
//! | what `Connection` says where the client has ended its side | nobody heeds it |
//! | 400 or 413 for a body that is both broken and too large | which is seen first is chance |
//! | whether a body that begins with no chunk is refused, or another last answer comes before it is read | whether it has come with its head is chance |
//! | more than one repetition of a request | it depends on what waits in the pools, and each lane has its own |
//! | interim answers before an error of Weir's about the upstream | whether they were on their way already is chance |
//! | what goes through a tunnel behind the four bytes that an origin waits for | it ends the tunnel when it has them |
//! | a request that never became whole, where it reached one origin alone | how much of it came along with its head is chance |
//! | the length of a body that was cut off: one is the beginning of the other | how much was on its way is chance |
//! | sizes of reads and of chunks | framing, not content; the reader has put them together |

use std::time::{Duration, SystemTime};

use super::allowance::Allowance;
use super::case::Case;
use super::message::{End, Message};
use super::show::escaped;
use super::stage::{Connection, Outcome, Side};

/// Something that the two lanes do not agree on.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// What it is about, without its values: the same for all cases in which it shows.
    pub about: String,
    pub full: String,
    pub lean: String,
}

impl Difference {
    /// One lane has ended a connection that the other has kept, behind an earlier case than this.
    pub fn of_connection_behind(seed: u64, full: &Outcome, lean: &Outcome) -> Difference {
        let told = |outcome: &Outcome| if outcome.was_stale { "ended" } else { "open" };
        let about = format!("connection behind seed {seed}");
        Difference { about, full: told(full).to_owned(), lean: told(lean).to_owned() }
    }
}

/// Takes out what must differ.
pub fn normalize(outcome: &mut Outcome, side: &Side) {
    let origin = side.origin.address.to_string();
    let port = side.weir.port().to_string();
    outcome.refused_at_once = outcome.answers.last().is_some_and(refuses_at_once);
    if let Some(last) = outcome.answers.last_mut().filter(|last| refuses_a_body(last)) {
        last.first = b"HTTP/1.1 400 the body is refused".to_vec();
        last.fields.retain(|(name, _)| is_connection(name));
        last.body.clear();
    }
    if let Some(failure) = outcome.answers.pop_if(|last| is_failure(last) && last.end == End::Whole) {
        while outcome.answers.pop_if(|before| (100..200).contains(&before.status())).is_some() {}
        outcome.answers.push(failure);
    }
    for request in outcome.requests.iter_mut().filter(|request| request.end == End::Whole && request.body.is_empty()) {
        request.fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"transfer-encoding"));
    }
    for message in outcome.requests.iter_mut().chain(&mut outcome.answers) {
        for (name, value) in &mut message.fields {
            name.make_ascii_lowercase();
            normalize_value(name, value, &origin, &port);
        }
        message.fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        if is_tunnelled(message) {
            message.body.truncate(TUNNELLED);
        }
        if message.body.len() < LONGEST_PAGE {
            hide_ids(&mut message.body);
        }
    }
}

/// What an origin waits for in a tunnel.
const TUNNELLED: usize = 4;

/// Whether what follows the head of a request can only be another protocol's.
fn is_tunnelled(message: &Message) -> bool {
    let has_length = message.values("content-length").any(|length| length != b"0");
    let is_framed = has_length || message.values("transfer-encoding").next().is_some();
    message.lists("connection", "upgrade") && !is_framed && !message.first.starts_with(b"HTTP/")
}

/// In Weir's words; where none are said, because the request was HEAD, as a page of Weir's that is the connection's last.
fn refuses_a_body(answer: &Message) -> bool {
    let words: &[&str] = match answer.status() {
        400 => &["the request is malformed", BEGINS_WRONG],
        413 => &["the request body is larger than the limit"],
        _ => return false,
    };
    let is_untold = answer.body.is_empty()
        && answer.values("content-length").any(|length| length != b"0")
        && answer.values("content-type").any(|kind| kind.ends_with(b"; charset=utf-8") || kind == b"application/json")
        && answer.lists("connection", "close");
    is_untold || words.iter().any(|words| says(answer, words))
}

/// In Weir's words, or where none are said in an answer of their length.
fn refuses_at_once(answer: &Message) -> bool {
    let length = format!("400 Bad Request: {BEGINS_WRONG}\n").len().to_string();
    let is_untold = answer.body.is_empty() && answer.values("content-length").eq([length.as_bytes()]);
    answer.status() == 400 && (is_untold || says(answer, BEGINS_WRONG))
}

const BEGINS_WRONG: &str = "the chunked body does not begin with a chunk";

fn says(answer: &Message, words: &str) -> bool {
    answer.body.windows(words.len()).any(|window| window == words.as_bytes())
}

fn is_connection(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"connection")
}

/// Whether there is an answer that says that the upstream failed: its own or Weir's.
fn is_failure(answer: &Message) -> bool {
    matches!(answer.status(), 502..=504)
}

/// No page of Weir's own is longer.
const LONGEST_PAGE: usize = 700;

fn normalize_value(name: &[u8], value: &mut Vec<u8>, origin: &str, port: &str) {
    match name {
        b"x-forwarded-port" if value == port.as_bytes() => *value = b"<port>".to_vec(),
        b"date" | b"expires" => hide_present(value),
        b"transfer-encoding" => value.make_ascii_lowercase(),
        b"set-cookie" if value.starts_with(b"node=") => {
            let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
            if end > b"node=".len() + 7 {
                value.splice(5..end, *b"<endpoint>");
            }
        }
        _ => {}
    }
    if value.len() >= origin.len()
        && let Some(at) = value.windows(origin.len()).position(|window| window == origin.as_bytes())
    {
        value.splice(at..at + origin.len(), *b"<origin>");
    }
    hide_ids(value);
}

fn hide_ids(text: &mut Vec<u8>) {
    const DIGITS: usize = 32;
    if text.len() < DIGITS {
        return;
    }
    let mut run = 0;
    for at in 0..=text.len() {
        if text.get(at).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            run += 1;
            continue;
        }
        if run == DIGITS {
            text.splice(at - DIGITS..at, *b"<id>");
            return hide_ids(text);
        }
        run = 0;
    }
}

/// Fifteen seconds around now, and around what the file adds to it.
fn hide_present(value: &mut Vec<u8>) {
    let Some(at) = std::str::from_utf8(value).ok().and_then(|text| httpdate::parse_http_date(text).ok()) else {
        return;
    };
    let now = SystemTime::now();
    for (offset, word) in [(0, &b"<now>"[..]), (3600, b"<in an hour>")] {
        let meant = now + Duration::from_secs(offset);
        let apart = at.duration_since(meant).unwrap_or_else(|error| error.duration());
        if apart < Duration::from_secs(15) {
            *value = word.to_vec();
        }
    }
}

/// None: they are the same. Both are normalized.
pub fn compare(case: &Case, full: &Outcome, lean: &Outcome) -> Vec<Difference> {
    if full == lean {
        return Vec::new();
    }
    let mut found = Found::default();
    let allowance = Allowance::of(case);
    let (full_requests, lean_requests) = requests(full, lean, allowance);
    let statuses = |outcome: &Outcome| {
        let words = outcome.answers.iter().map(|answer| answer.status().to_string());
        words.collect::<Vec<_>>().join(" ")
    };
    let (full_statuses, lean_statuses) = (statuses(full), statuses(lean));
    let (full_has_more, lean_has_more) =
        (is_continued(&lean_requests, &full_requests), is_continued(&full_requests, &lean_requests));
    let either = |is_so: fn(&Outcome, &Outcome) -> bool| {
        lean_has_more && is_so(full, lean) || full_has_more && is_so(lean, full)
    };
    if allowance.lean_breaks_off && lean_breaks_off(&full.answers, &lean.answers)
        || (allowance.tried_again || allowance.lost) && either(has_given_up)
        || allowance.answered_early && (either(has_ended_early) || allowance.breaks_a_body && either(is_cut_off))
        || allowance.in_chunks && (is_deaf(full, lean) || either(is_refused_at_once))
    {
        return Vec::new();
    }
    found.note(kind(&full.answers, &lean.answers), full_statuses, lean_statuses);
    let number = |requests: &[&Message]| requests.len().to_string();
    found.note("number of requests", number(&full_requests), number(&lean_requests));
    for (one, other) in full_requests.iter().zip(&lean_requests) {
        if !(allowance.answered_early && is_beginning_of_one(one, other)) {
            found.messages("request", one, other);
        }
    }
    let is_heeded = !full.half_closed && !lean.half_closed;
    for (one, other) in full.answers.iter().zip(&lean.answers) {
        match is_heeded {
            true => found.messages("answer", one, other),
            false => found.messages("answer", &but_connection(one), &but_connection(other)),
        }
    }
    let word = |connection: Connection| format!("{connection:?}");
    found.note("connection", word(full.connection), word(lean.connection));
    found.note("silences", full.pushes.to_string(), lean.pushes.to_string());
    found.0
}

/// Whether the answers are the same up to one that the lean lane breaks off; what follows on such a connection differs, too. Where the full
/// lane waits for the rest of it, and nothing comes, both are broken off.
fn lean_breaks_off(full: &[Message], lean: &[Message]) -> bool {
    let pairs = || full.iter().zip(lean);
    let Some(at) = pairs().position(|(_, other)| other.end != End::Whole) else {
        return false;
    };
    let is_beginning = full[at].body.starts_with(&lean[at].body);
    is_beginning
        && full[at].first == lean[at].first
        && pairs().take(at).all(|(one, other)| but_connection(one) == but_connection(other))
}

fn but_connection(answer: &Message) -> Message {
    let mut answer = answer.clone();
    answer.fields.retain(|(name, _)| !is_connection(name));
    answer
}

/// Whether one says last of all that a request has failed, and the other, which has sent more, goes on there. Answers before it are the same.
fn has_given_up(one: &Outcome, other: &Outcome) -> bool {
    let Some((last, before)) = one.answers.split_last() else { return false };
    let has_sent_less = one.requests.len() < other.requests.len();
    let goes_on = other.answers.len() > before.len();
    has_sent_less
        && one.connection == Connection::Closed
        && is_failure(last)
        && goes_on
        && other.answers.starts_with(before)
}

/// Whether the others are these, as far as they have come, and what follows them.
fn is_continued(these: &[&Message], others: &[&Message]) -> bool {
    let is_same = |(one, other): (&&Message, &&Message)| one == other || is_beginning_of_one(one, other);
    these.len() <= others.len() && these.iter().zip(others).all(is_same)
}

/// Whether the requests are one, as far as they have come.
fn is_beginning_of_one(one: &Message, other: &Message) -> bool {
    // Taken out where a request is whole and has no content.
    let head = |message: &Message| {
        let fields = message.fields.iter().filter(|(name, _)| name != b"transfer-encoding");
        (message.first.clone(), fields.cloned().collect::<Vec<_>>())
    };
    let is_cut = one.end == End::Missing || other.end == End::Missing;
    is_cut && head(one) == head(other) && (one.body.starts_with(&other.body) || other.body.starts_with(&one.body))
}

/// Whether one refuses the body of a request that the other answers without having read it. Answers before it are the same.
fn is_refused_at_once(one: &Outcome, other: &Outcome) -> bool {
    let (Some((_, before)), Some((_, same))) = (one.answers.split_last(), other.answers.split_last()) else {
        return false;
    };
    one.refused_at_once && !other.refused_at_once && before == same && other.connection == Connection::Closed
}

/// Whether one still waits for the upstream where the other has ended, because the client has. They are the same else.
fn is_deaf(full: &Outcome, lean: &Outcome) -> bool {
    let waits = full.connection == Connection::Hangs && lean.connection == Connection::Closed;
    waits && full.answers == lean.answers && full.requests == lean.requests
}

/// Whether one says behind an answer that it is the last, which the other does not say. It is the same else, as those before it are.
fn has_ended_early(one: &Outcome, other: &Outcome) -> bool {
    let Some((last, before)) = one.answers.split_last() else { return false };
    let Some(same) = other.answers.get(before.len()) else { return false };
    last.lists("connection", "close")
        && !same.lists("connection", "close")
        && is_same_answer(last, same)
        && other.answers.starts_with(before)
}

/// Whether the last answer of one is cut off, and both have ended with it. Answers before it are the same.
fn is_cut_off(one: &Outcome, other: &Outcome) -> bool {
    let (Some((last, before)), Some((same, others))) = (one.answers.split_last(), other.answers.split_last()) else {
        return false;
    };
    let is_cut = last.end == End::Missing && before == others && is_same_answer(last, same);
    is_cut && [one, other].iter().all(|outcome| outcome.connection == Connection::Closed)
}

/// Whether the answers are one but for what `Connection` says, as far as they have come.
fn is_same_answer(one: &Message, other: &Message) -> bool {
    let head = |answer: &Message| Message { body: Vec::new(), end: End::Whole, ..but_connection(answer) };
    let is_whole = one.end == End::Whole && other.end == End::Whole;
    let is_beginning = one.body.starts_with(&other.body) || other.body.starts_with(&one.body);
    head(one) == head(other) && if is_whole { one.body == other.body } else { is_beginning }
}

/// Of different answers, in a few words: a status of the origin's says nothing, one of Weir's own does.
fn kind(full: &[Message], lean: &[Message]) -> String {
    let differing = full.iter().zip(lean).map(|(one, other)| (one.status(), other.status()));
    let word = |status: u16| match status {
        400 | 408 | 413 | 431 | 500 | 502..=505 => status.to_string(),
        _ => "another".to_owned(),
    };
    match differing.into_iter().find(|(one, other)| one != other) {
        Some((one, other)) => format!("statuses: {} and {}", word(one), word(other)),
        None if full.len() < lean.len() => {
            format!(
                "fewer answers on the full lane, {} instead",
                lean.get(full.len()).map_or_else(String::new, |next| word(next.status()))
            )
        }
        None => format!(
            "fewer answers on the lean lane, {} instead",
            full.get(lean.len()).map_or_else(String::new, |next| word(next.status()))
        ),
    }
}

/// All of them, or where their numbers differ those that are whole.
fn requests<'a>(full: &'a Outcome, lean: &'a Outcome, allowance: Allowance) -> (Vec<&'a Message>, Vec<&'a Message>) {
    let is_same = full.requests.len() == lean.requests.len();
    let of = |outcome: &'a Outcome| {
        let mut requests: Vec<&Message> = Vec::new();
        for one in outcome.requests.iter().filter(|one| is_same || one.end == End::Whole) {
            // Tried once, or again: how many times it was tried again is not asked.
            let most = if allowance.tried_again { 1 } else { 2 };
            let is_surplus = requests.iter().rev().take_while(|before| **before == one).count() >= most;
            if is_same || !is_surplus {
                requests.push(one);
            }
        }
        requests
    };
    (of(full), of(lean))
}

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn note(&mut self, about: impl Into<String>, full: String, lean: String) {
        if full != lean {
            self.0.push(Difference { about: about.into(), full, lean });
        }
    }

    fn messages(&mut self, what: &str, full: &Message, lean: &Message) {
        if full == lean {
            return;
        }
        self.note(format!("{what}: first line"), escaped(&full.first), escaped(&lean.first));
        let mut names: Vec<&[u8]> = full.fields.iter().chain(&lean.fields).map(|(name, _)| name.as_slice()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of = |message: &Message| {
                let named = message.fields.iter().filter(|(known, _)| known == name);
                named.map(|(_, value)| escaped(value)).collect::<Vec<_>>().join(" | ")
            };
            self.note(format!("{what}: field {}", name.escape_ascii()), of(full), of(lean));
        }
        self.note(format!("{what}: whole"), format!("{:?}", full.end), format!("{:?}", lean.end));
        self.bodies(what, full, lean);
        let trailers = |message: &Message| format!("{:?}", message.trailers);
        self.note(format!("{what}: trailers"), trailers(full), trailers(lean));
    }

    fn bodies(&mut self, what: &str, full: &Message, lean: &Message) {
        let is_cut = full.end != End::Whole || lean.end != End::Whole;
        let is_beginning = full.body.starts_with(&lean.body) || lean.body.starts_with(&full.body);
        if !(is_cut && is_beginning) {
            self.note(format!("{what}: body"), escaped(&full.body), escaped(&lean.body));
        }
    }
}
