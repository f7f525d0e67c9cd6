//! How long a pooled connection to an upstream is used: not at all, or for so many requests.
//!
//! ```text
//! keepalive.connections: 0 ──► a pool key of its own for each request
//! keepalive.max-requests ────► counted by socket: the last request says `Connection: close`, one more is turned away
//! ```
//!
//! Pingora's pool knows neither bound. What is not asked for costs nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::os::fd::RawFd;
use std::time::SystemTime;

use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::model::{Keepalive, UpstreamProtocol};

/// A pooled connection has served its requests: another one is taken instead. Nothing was sent.
pub const USED_UP: ErrorType = ErrorType::Custom("ConnectionUsedUp");

/// Requests on one connection, this one included, and when the connection was made: numbers of sockets come again.
type Served = (SystemTime, u32);

thread_local! {
    static SERVED: RefCell<HashMap<RawFd, Served>> = RefCell::default();
    static NEXT_KEY: Cell<u64> = const { Cell::new(0) };
}

/// What follows for the request that is about to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    #[default]
    Any,
    /// The connection is not used again.
    Last,
}

/// Keeps the peer's connection out of the pool, where none are to be kept.
pub fn isolate(peer: &mut HttpPeer, keepalive: &Keepalive) {
    if keepalive.connections == 0 {
        let key = NEXT_KEY.get().wrapping_add(1);
        NEXT_KEY.set(key);
        peer.group_key ^= key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Counts the request on its connection. Many requests share an HTTP/2 connection at one time: it is not counted.
pub fn take_turn(
    keepalive: &Keepalive,
    protocol: UpstreamProtocol,
    fd: RawFd,
    digest: Option<&Digest>,
    reused: bool,
) -> Result<Turn> {
    let (Some(max), UpstreamProtocol::Http1) = (keepalive.max_requests, protocol) else { return Ok(Turn::Any) };
    let made = digest.and_then(|digest| digest.timing_digest.first()?.as_ref()).map(|timing| timing.established_ts);
    let made = made.unwrap_or(SystemTime::UNIX_EPOCH);
    let served = SERVED.with_borrow_mut(|served| {
        let entry = served.entry(fd).or_insert((made, 0));
        if !reused || entry.0 != made {
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
    fn the_last_turn_is_announced_and_one_more_is_turned_away() {
        let max = NonZeroU32::new(2).unwrap();
        assert_eq!(turn(1, max).unwrap(), Turn::Any);
        assert_eq!(turn(2, max).unwrap(), Turn::Last);
        assert_eq!(*turn(3, max).unwrap_err().etype(), USED_UP);
    }
}
