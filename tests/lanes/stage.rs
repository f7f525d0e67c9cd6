//! Plays one case on both lanes at once: one thread is both clients and both origins, and waits for all of them in one `poll`.
//!
//! ```text
//!            ┌─ Side: visitor ──► Weir, full lane ──► origin ─┐
//! case ──────┤                                                ├──► two Outcomes
//!            └─ Side: visitor ──► Weir, lean lane ──► origin ─┘
//! ```
//!
//! Each side has a listener of Weir's and an origin to itself: whatever arrives there belongs to the case that is played, however its
//! bytes were mangled. Where nothing happens any more, somebody waits for somebody: the side is pushed, step by step, until it ends.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::case::{Afterwards, Case, Client, Ending, Pace, Pool};
use super::message::Message;
use super::origin::{Origin, SENTINEL};
use super::visitor::Visitor;

/// What there is to see of a case on one lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// As the origin saw them.
    pub requests: Vec<Message>,
    /// As the client got them, interim ones too.
    pub answers: Vec<Message>,
    pub connection: Connection,
    /// How often silence had to be broken.
    pub pushes: usize,
    /// A connection that earlier cases used was closed under this one.
    pub was_stale: bool,
    /// The client has said that it sends no more.
    pub half_closed: bool,
    /// A body was refused for how it begins, as [`super::compare::normalize`] finds it.
    pub refused_at_once: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    #[default]
    Open,
    Closed,
    /// It was to be closed, or answered on, and neither came.
    Hangs,
}

impl Outcome {
    /// Whether requests of the case may come when it is over.
    fn may_go_on(&self, case: &Case) -> bool {
        let finals = self.answers.iter().filter(|answer| answer.status() >= 200).count();
        match self.connection {
            Connection::Open => false,
            Connection::Closed => finals < case.answers,
            Connection::Hangs => true,
        }
    }
}

/// One lane, as one worker uses it.
pub struct Side {
    pub weir: SocketAddr,
    pub origin: Origin,
    /// By [`Client`].
    visitors: [Option<Visitor>; 2],
    /// Of the case before, where Weir has not ended its connection.
    leaving: Option<Visitor>,
    playing: Playing,
}

#[derive(Clone, Copy)]
struct Playing {
    client: usize,
    is_done: bool,
    is_fresh: bool,
    was_disturbed: bool,
    asked_afterwards: bool,
    sentinel_answered: bool,
    hangs: bool,
    pushes: usize,
    level: usize,
    progress: Instant,
}

impl Playing {
    fn of(client: usize) -> Playing {
        Playing {
            client,
            is_done: false,
            is_fresh: false,
            was_disturbed: false,
            asked_afterwards: false,
            sentinel_answered: false,
            hangs: false,
            pushes: 0,
            level: 0,
            progress: Instant::now(),
        }
    }
}

/// What is done about silence, in this order.
#[derive(Clone, Copy)]
enum Push {
    NextPiece,
    Ending,
    OriginHangsUp,
    HalfClose,
    GiveUp,
}

const PUSHES: [Push; 5] = [Push::NextPiece, Push::Ending, Push::OriginHangsUp, Push::HalfClose, Push::GiveUp];

impl Side {
    pub fn new(weir: SocketAddr, origin: Origin) -> Side {
        let playing = Playing::of(0);
        Side { weir, origin, visitors: [None, None], leaving: None, playing }
    }

    /// Both ends of every connection: what is played next is not disturbed by what was played before.
    pub fn forget_connections(&mut self) {
        (self.visitors, self.leaving) = ([None, None], None);
        self.origin.forget_connections();
    }

    fn begin(&mut self, case: &Case) {
        let client = case.client as usize;
        self.playing = Playing::of(client);
        let disturbed = self.visitors[client].as_mut().is_some_and(Visitor::is_disturbed);
        if disturbed {
            self.visitors[client] = None;
            self.playing.was_disturbed = true;
        }
        self.origin.begin();
        if case.pool == Pool::Empty && self.origin.forget_connections() {
            // A request that overtakes the news would fail.
            std::thread::sleep(SETTLING);
        }
        if self.visitors[client].is_none() {
            let from = match case.client {
                Client::Stranger => [127, 0, 0, 1],
                Client::TrustedProxy => [127, 0, 0, 9],
            };
            let from = SocketAddr::new(IpAddr::from(from), 0);
            self.visitors[client] = Some(Visitor::connect(from, self.weir).expect("weir takes a connection"));
            self.playing.is_fresh = true;
        }
        self.visitor().begin(case);
    }

    fn visitor(&mut self) -> &mut Visitor {
        self.visitors[self.playing.client].as_mut().expect("a case is played with its visitor")
    }

    fn attend(&mut self, socket: RawFd) -> bool {
        let visitor = self.visitor();
        let is_ours = if visitor.socket().0 == socket {
            visitor.attend();
            true
        } else {
            self.origin.attend(socket)
        };
        if is_ours {
            self.playing.progress = Instant::now();
            self.playing.level = 0;
        }
        is_ours
    }

    /// Whatever can be done without waiting. True: there may be more at once.
    fn advance(&mut self, case: &Case) -> bool {
        let is_breathing = self.origin.advance(case);
        let has_sent = self.visitor().advance(case);
        if has_sent {
            self.playing.progress = Instant::now();
        }
        self.conclude(case);
        !self.playing.is_done && (is_breathing || has_sent)
    }

    fn conclude(&mut self, case: &Case) {
        let origin_idle = self.origin.is_idle();
        let mut playing = self.playing;
        let visitor = self.visitor();
        playing.is_done = match visitor.is_over {
            true => origin_idle,
            false => {
                let is_through = visitor.finals() >= case.answers && visitor.has_sent_all(case) && origin_idle;
                let closes = visitor.has_half_closed || visitor.was_told_to_leave();
                match (is_through && !closes, case.afterwards) {
                    (false, _) => false,
                    (true, Afterwards::NotAsked) => true,
                    (true, Afterwards::Asked) if playing.asked_afterwards => {
                        playing.sentinel_answered = visitor.take_sentinel();
                        playing.sentinel_answered
                    }
                    (true, Afterwards::Asked) => {
                        playing.asked_afterwards = true;
                        visitor.send(format!("GET {SENTINEL} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
                        false
                    }
                }
            }
        };
        self.playing = playing;
    }

    fn is_silent(&self, case: &Case, patience: Patience) -> bool {
        self.playing.progress.elapsed() >= patience.of(case)
    }

    fn push(&mut self, case: &Case) {
        self.playing.pushes += 1;
        loop {
            let push = PUSHES[self.playing.level.min(PUSHES.len() - 1)];
            self.playing.level += 1;
            if self.try_push(case, push) {
                break;
            }
        }
        self.playing.progress = Instant::now();
    }

    /// False: it would change nothing.
    fn try_push(&mut self, case: &Case, push: Push) -> bool {
        let origin_idle = self.origin.is_idle();
        let visitor = self.visitor();
        match push {
            Push::NextPiece => {
                let sent = visitor.send_next(case);
                // The other pieces come before anything worse.
                self.playing.level -= usize::from(sent);
                sent
            }
            Push::Ending => match case.ending {
                Ending::Waits => false,
                Ending::HalfCloses | Ending::Leaves if visitor.has_half_closed => false,
                Ending::HalfCloses => {
                    visitor.half_close();
                    true
                }
                Ending::Leaves => {
                    visitor.leave();
                    true
                }
            },
            Push::OriginHangsUp => {
                self.origin.hang_up();
                !origin_idle
            }
            Push::HalfClose if visitor.is_over || visitor.has_half_closed => false,
            Push::HalfClose => {
                visitor.half_close();
                true
            }
            Push::GiveUp => {
                let hangs = !visitor.is_over;
                visitor.give_up();
                self.playing.hangs = hangs;
                self.origin.hang_up();
                self.playing.is_done = true;
                true
            }
        }
    }

    fn finish(&mut self) -> Outcome {
        let playing = self.playing;
        let visitor = self.visitor();
        let (is_over, has_answers) = (visitor.is_over, visitor.has_answers());
        let answers = visitor.take_answers();
        let half_closed = visitor.has_half_closed;
        let connection = match (playing.hangs, is_over) {
            (true, _) => Connection::Hangs,
            (false, true) => Connection::Closed,
            (false, false) => Connection::Open,
        };
        if is_over || playing.hangs || half_closed {
            self.leaving = self.visitors[playing.client].take();
        }
        let requests = self.origin.finish();
        let broke_unasked = is_over && !has_answers && requests.is_empty() && !playing.is_fresh;
        Outcome {
            requests,
            answers,
            connection,
            pushes: playing.pushes,
            was_stale: playing.was_disturbed || broke_unasked,
            half_closed,
            refused_at_once: false,
        }
    }

    /// Whether nothing of the case comes any more.
    fn is_settled(&mut self) -> bool {
        let was_quiet = !self.origin.forget_connections();
        let has_left = self.leaving.as_mut().is_none_or(Visitor::has_ended);
        was_quiet && has_left
    }

    fn watch(&mut self, sockets: &mut Vec<libc::pollfd>) {
        let visitor = self.visitor();
        let visitor = (!visitor.is_over).then(|| visitor.socket());
        for (fd, writes) in self.origin.sockets().chain(visitor) {
            let events = libc::POLLIN | if writes { libc::POLLOUT } else { 0 };
            sockets.push(libc::pollfd { fd, events, revents: 0 });
        }
    }
}

/// How long silence is borne.
#[derive(Clone, Copy)]
pub struct Patience(pub Duration);

impl Patience {
    fn of(self, case: &Case) -> Duration {
        match case.pace {
            Pace::Quick => self.0,
            Pace::Patient => self.0 + PATIENT,
        }
    }
}

/// Longer than the timeout in the file.
const PATIENT: Duration = Duration::from_millis(400);

/// Plays a case on every side.
pub fn play(sides: &mut [Side], case: &Case, patience: Patience) -> Vec<Outcome> {
    let mut sockets = Vec::new();
    sides.iter_mut().for_each(|side| side.begin(case));
    loop {
        let mut more = false;
        for side in sides.iter_mut().filter(|side| !side.playing.is_done) {
            more |= side.advance(case);
        }
        if sides.iter().all(|side| side.playing.is_done) {
            break;
        }
        wait(sides, &mut sockets, if more { Duration::ZERO } else { patience.of(case) });
        for side in sides.iter_mut().filter(|side| !side.playing.is_done) {
            if side.is_silent(case, patience) {
                side.push(case);
            }
        }
    }
    let outcomes: Vec<Outcome> = sides.iter_mut().map(Side::finish).collect();
    if outcomes.iter().any(|outcome| outcome.may_go_on(case)) {
        settle(sides);
    }
    sides.iter_mut().for_each(|side| side.leaving = None);
    outcomes
}

/// What the client had asked for before it went may still be sent on, and more of it when what it waits for is hung up: none of it is
/// the next case's.
fn settle(sides: &mut [Side]) {
    let begun = Instant::now();
    loop {
        std::thread::sleep(SETTLING);
        // All are asked, whatever one of them says.
        let moving = sides.iter_mut().map(Side::is_settled).filter(|is_settled| !is_settled).count();
        if moving == 0 || begun.elapsed() > LONGEST_SETTLING {
            break;
        }
    }
}

/// Enough for what is on its way between two processes of a machine.
const SETTLING: Duration = Duration::from_millis(3);

/// A lane that hangs is not waited for.
const LONGEST_SETTLING: Duration = Duration::from_millis(200);

fn wait(sides: &mut [Side], sockets: &mut Vec<libc::pollfd>, most: Duration) {
    sockets.clear();
    let waiting = || sides.iter().filter(|side| !side.playing.is_done);
    let left = waiting().map(|side| most.saturating_sub(side.playing.progress.elapsed())).min().unwrap_or_default();
    sides.iter_mut().filter(|side| !side.playing.is_done).for_each(|side| side.watch(sockets));
    // Rounded up: a wait of none would be a spin.
    let milliseconds = left.as_micros().div_ceil(1000) as libc::c_int;
    // SAFETY: plain system call on an array of its own length.
    let ready = unsafe { libc::poll(sockets.as_mut_ptr(), sockets.len() as libc::nfds_t, milliseconds) };
    if ready <= 0 {
        return;
    }
    for socket in sockets.iter().filter(|socket| socket.revents != 0) {
        // A socket that is ready belongs to one of the sides.
        let _ = sides.iter_mut().filter(|side| !side.playing.is_done).any(|side| side.attend(socket.fd));
    }
}
