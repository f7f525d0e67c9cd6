//! How long a connection to an upstream is used: for one request, for so many, or while not too many are idle.
//!
//! ```text
//! keepalive.connections: 0 ──► a pool key of its own for each request, which says `Connection: close`
//! keepalive.connections: n ──► more than n idle at the endpoint: the connection of this request is not kept
//! keepalive.max-requests ────► counted by socket: the last request says `Connection: close`, one more is turned away
//! an answer before the end of its request, or one whose second `Connection` says that it is the last
//!                        ────► spoiled: whoever comes next is turned away
//! ```
//!
//! Pingora's pool knows none of these bounds, and does not tell what is in it: how many are idle is an estimate.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::num::NonZeroU32;
use std::os::fd::RawFd;
use std::time::{Duration, SystemTime};

use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::model::{Keepalive, UpstreamProtocol};
use crate::proxy::hashed::Hashed;

/// A pooled connection has served its requests: another one is taken instead. Nothing was sent.
pub const USED_UP: ErrorType = ErrorType::Custom("ConnectionUsedUp");

/// Requests on one connection, this one included, and when the connection was made: numbers of sockets come again.
type Served = (SystemTime, u32);

thread_local! {
    static SERVED: RefCell<HashMap<RawFd, Served>> = RefCell::default();
    /// At most one of each socket there is.
    static SPOILED: RefCell<HashSet<RawFd>> = RefCell::default();
    static NEXT_KEY: Cell<u64> = const { Cell::new(0) };
    static IDLE: RefCell<Idle> = RefCell::default();
}

/// What follows for the request that is about to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    #[default]
    Any,
    /// The connection is not used again.
    Last,
}

/// What becomes of a connection when its request has ended well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Afterwards {
    /// It waits in the pool for the next one.
    Idle,
    /// It is closed, after a moment in the pool.
    Doomed,
    /// It never comes there, or is not one request's: HTTP/2 requests share one.
    #[default]
    NotCounted,
}

/// Decides whether the peer's connection is kept, and tells Pingora. `pool` says which connections are alike.
pub fn decide(peer: &mut HttpPeer, keepalive: &Keepalive, pool: u64) -> Afterwards {
    if keepalive.connections == 0 {
        let key = NEXT_KEY.get().wrapping_add(1);
        NEXT_KEY.set(key);
        peer.group_key ^= key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        return Afterwards::NotCounted;
    }
    if IDLE.with_borrow(|idle| idle.count(pool)) > keepalive.connections {
        peer.options.idle_timeout = Some(Duration::ZERO);
        return Afterwards::Doomed;
    }
    Afterwards::Idle
}

/// A request got a connection: one is idle no longer, or none was.
pub fn taken(pool: u64, fd: RawFd, origin: Connected) {
    IDLE.with_borrow_mut(|idle| match (origin, idle.is_doomed(fd)) {
        (Connected::Anew, _) => idle.forget(pool),
        (Connected::FromPool, false) => idle.remove_one(pool),
        // It was not counted when it was left there.
        (Connected::FromPool, true) => {}
    });
}

/// A request has ended well, and leaves its connection.
pub fn left(pool: u64, fd: RawFd, afterwards: Afterwards) {
    IDLE.with_borrow_mut(|idle| match afterwards {
        Afterwards::Idle => idle.add_one(pool),
        Afterwards::Doomed => idle.doom(fd),
        Afterwards::NotCounted => {}
    });
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    FromPool,
    Anew,
}

/// How many connections are idle, by pool. Those that end while they are idle are not seen: a count may be too high
/// until a request finds none.
#[derive(Default)]
struct Idle {
    counts: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    /// Sockets that are about to be closed: a request may still be quicker than Pingora's timer of 10 ms.
    doomed: Vec<RawFd>,
}

impl Idle {
    /// Endpoints come and go; beyond so many the counting begins anew.
    const POOLS: usize = 4096;

    /// More than are closed within a moment; which of the older ones are there still does not matter much.
    const DOOMED: usize = 64;

    fn count(&self, pool: u64) -> usize {
        self.counts.get(&pool).copied().unwrap_or(0)
    }

    fn add_one(&mut self, pool: u64) {
        if self.counts.len() >= Self::POOLS && !self.counts.contains_key(&pool) {
            self.counts.clear();
        }
        *self.counts.entry(pool).or_default() += 1;
    }

    fn remove_one(&mut self, pool: u64) {
        if let Some(count) = self.counts.get_mut(&pool) {
            *count = count.saturating_sub(1);
        }
    }

    fn doom(&mut self, fd: RawFd) {
        if self.doomed.len() >= Self::DOOMED {
            self.doomed.clear();
        }
        self.doomed.push(fd);
    }

    /// Asked when the socket is used again, by whichever connection.
    fn is_doomed(&mut self, fd: RawFd) -> bool {
        let found = self.doomed.iter().position(|doomed| *doomed == fd);
        found.map(|at| self.doomed.swap_remove(at)).is_some()
    }

    fn forget(&mut self, pool: u64) {
        if let Some(count) = self.counts.get_mut(&pool) {
            *count = 0;
        }
    }
}

/// Pingora keeps a connection that is not to be used again. The upstream has answered before it had the whole request: it may take the
/// rest for another request and answer that, too, and whoever came next would get that answer. Or it has said where Pingora does not look
/// that it closes the connection.
pub fn spoil(fd: RawFd) {
    SPOILED.with_borrow_mut(|spoiled| spoiled.insert(fd));
}

/// Counts the request on its connection. Many requests share an HTTP/2 connection at one time: it is not counted.
pub fn take_turn(
    keepalive: &Keepalive,
    protocol: UpstreamProtocol,
    fd: RawFd,
    digest: Option<&Digest>,
    origin: Connected,
) -> Result<Turn> {
    // A new connection may have the number of one that was spoiled.
    let was_spoiled = SPOILED.with_borrow_mut(|spoiled| spoiled.remove(&fd));
    if was_spoiled && origin == Connected::FromPool {
        return Err(Error::new(USED_UP).into_up());
    }
    if keepalive.connections == 0 && protocol == UpstreamProtocol::Http1 {
        return Ok(Turn::Last);
    }
    let (Some(max), UpstreamProtocol::Http1) = (keepalive.max_requests, protocol) else { return Ok(Turn::Any) };
    let made = digest.and_then(|digest| digest.timing_digest.first()?.as_ref()).map(|timing| timing.established_ts);
    let made = made.unwrap_or(SystemTime::UNIX_EPOCH);
    let served = SERVED.with_borrow_mut(|served| {
        let entry = served.entry(fd).or_insert((made, 0));
        if origin == Connected::Anew || entry.0 != made {
            *entry = (made, 0);
        }
        entry.1 += 1;
        entry.1
    });
    turn(served, max)
}

fn turn(served: u32, max: NonZeroU32) -> Result<Turn> {
    match served.cmp(&max.get()) {
        std::cmp::Ordering::Less => Ok(Turn::Any),
        std::cmp::Ordering::Equal => Ok(Turn::Last),
        std::cmp::Ordering::Greater => Err(Error::new(USED_UP).into_up()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_are_counted_until_none_was_found() {
        let mut idle = Idle::default();
        (0..3).for_each(|_| idle.add_one(7));
        idle.remove_one(7);
        assert_eq!((idle.count(7), idle.count(8)), (2, 0));
        idle.forget(7);
        idle.remove_one(7);
        assert_eq!(idle.count(7), 0);
    }

    #[test]
    fn a_connection_that_is_used_once_more_before_it_is_closed_was_not_counted() {
        let mut idle = Idle::default();
        idle.doom(5);
        assert_eq!([idle.is_doomed(5), idle.is_doomed(5), idle.is_doomed(6)], [true, false, false]);
    }

    #[test]
    fn the_counts_of_endpoints_that_are_gone_do_not_pile_up() {
        let mut idle = Idle::default();
        (0..100_000).for_each(|pool| idle.add_one(pool));
        assert!(idle.counts.len() <= Idle::POOLS);
    }

    #[test]
    fn a_spoiled_connection_is_turned_away_and_another_of_its_number_is_not() {
        let keepalive = Keepalive { connections: 1, idle_timeout: Duration::from_secs(1), max_requests: None };
        let take = |origin| take_turn(&keepalive, UpstreamProtocol::Http1, 7, None, origin);
        spoil(7);
        assert_eq!(*take(Connected::FromPool).unwrap_err().etype(), USED_UP);
        spoil(7);
        assert_eq!(take(Connected::Anew).unwrap(), Turn::Any);
        assert_eq!(take(Connected::FromPool).unwrap(), Turn::Any);
    }

    #[test]
    fn the_last_turn_is_announced_and_one_more_is_turned_away() {
        let max = NonZeroU32::new(2).unwrap();
        assert_eq!(turn(1, max).unwrap(), Turn::Any);
        assert_eq!(turn(2, max).unwrap(), Turn::Last);
        assert_eq!(*turn(3, max).unwrap_err().etype(), USED_UP);
    }
}
