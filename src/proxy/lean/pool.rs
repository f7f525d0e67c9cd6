//! Connections to upstreams: made, lent to one request at a time, and kept idle on the thread that made them.
//!
//! ```text
//! take ──one that is alive──► request ──done, clean──► put ──► idle ──too long, or closed by the upstream──► swept
//!   └──none──► connect
//! ```
//!
//! A pool belongs to a thread: nothing in it is locked. Connections are told apart by [`PoolKey`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::BuildHasherDefault;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::unconstrained;

use super::patience::Patience;
use crate::model::Keepalive;
use crate::proxy::attempts::Replay;
use crate::proxy::hashed::Hashed;
use crate::proxy::upstream_stream::UpstreamStream;

/// A connection to an endpoint, and what is known of it.
pub struct Link {
    pub io: UpstreamStream,
    pub patience: Patience,
    /// Requests, the one that is under way included.
    pub served: u32,
}

/// What a connection is for.
#[derive(Clone, Copy)]
pub struct PoolKey<'a> {
    /// The endpoint, and what is trusted there: `Endpoint::pool`.
    pub endpoint: u64,
    /// The name that TLS asked for; none in clear. It may be the client's choice: it is compared as it is, and what is kept is
    /// bounded for all names together.
    pub name: Option<&'a str>,
}

struct Idle {
    link: Link,
    name: Option<Box<str>>,
    /// When the sweeper first saw it: nobody reads a clock for it before.
    since: Option<Instant>,
    timeout: Duration,
}

thread_local! {
    static POOL: RefCell<HashMap<u64, Vec<Idle>, BuildHasherDefault<Hashed>>> = RefCell::default();
}

impl Link {
    pub fn new(io: UpstreamStream) -> Self {
        Self { io, patience: Patience::new(), served: 1 }
    }

    /// Whether nothing has come from the other side: an end, or what nobody has asked for. No system call where nothing has.
    fn is_quiet(&mut self) -> bool {
        let (mut byte, mut nobody) = ([0], Context::from_waker(Waker::noop()));
        let reading = poll_fn(|cx| Pin::new(&mut self.io).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        // A task that has had its turn would be told to wait, whatever has come.
        pin!(unconstrained(reading)).poll(&mut nobody).is_pending()
    }
}

/// The one that was used last: the others can go. Where the request cannot be sent again (`replay`), the kernel is asked whether the
/// connection has ended just now: what goes to one that has is lost.
pub fn take(key: PoolKey<'_>, max_requests: u32, replay: Replay) -> Option<Link> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.get_mut(&key.endpoint)?;
        loop {
            let last = idle.iter().rposition(|idle| idle.name.as_deref() == key.name)?;
            let Idle { mut link, .. } = idle.remove(last);
            let is_alive = link.is_quiet() && (replay == Replay::Possible || !link.io.has_news());
            if link.served < max_requests && is_alive {
                link.served += 1;
                return Some(link);
            }
        }
    })
}

/// Keeps it for another request, in place of the one that was used least lately where there is no room.
pub fn put(key: PoolKey<'_>, mut link: Link, keepalive: &Keepalive) {
    link.patience.end();
    POOL.with_borrow_mut(|pool| {
        let idle = pool.entry(key.endpoint).or_default();
        let name = key.name.map(Box::from);
        idle.push(Idle { link, name, since: None, timeout: keepalive.idle_timeout });
        idle.drain(..idle.len().saturating_sub(keepalive.connections));
    });
}

/// Lets go of what was idle too long, or whose other side is gone, for as long as it is polled.
pub async fn sweep() {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        sweep_once(Instant::now());
    }
}

const SWEEP: Duration = Duration::from_millis(250);

fn sweep_once(now: Instant) {
    POOL.with_borrow_mut(|pool| {
        pool.retain(|_, idle| {
            idle.retain_mut(|idle| !idle.is_over(now) && idle.link.is_quiet());
            !idle.is_empty()
        });
    });
}

impl Idle {
    fn is_over(&mut self, now: Instant) -> bool {
        now - *self.since.get_or_insert(now) >= self.timeout
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const KEEPALIVE: Keepalive =
        Keepalive { connections: 2, idle_timeout: Duration::from_secs(60), max_requests: None };

    fn clear(endpoint: u64) -> PoolKey<'static> {
        PoolKey { endpoint, name: None }
    }

    async fn pair(listener: &TcpListener) -> (Link, TcpStream) {
        let opening = UpstreamStream::open(listener.local_addr().unwrap(), None);
        let (ours, theirs) = tokio::join!(opening, listener.accept());
        (Link::new(ours.unwrap()), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn connections_are_kept_up_to_the_bound_and_lent_while_they_are_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut others = Vec::new();
        for _ in 0..3 {
            let (ours, theirs) = pair(&listener).await;
            put(clear(1), ours, &KEEPALIVE);
            others.push(theirs);
        }
        assert!(take(clear(2), u32::MAX, Replay::Possible).is_none());
        assert_eq!(take(clear(1), u32::MAX, Replay::Possible).unwrap().served, 2);
        drop(others);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(
            take(clear(1), u32::MAX, Replay::Possible).is_none(),
            "its other side is gone, and the first was not kept"
        );
    }

    #[tokio::test]
    async fn what_cannot_be_sent_again_goes_to_no_connection_that_has_just_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = pair(&listener).await;
        put(clear(4), ours, &KEEPALIVE);
        // Nothing is waited for in between: the runtime does not hear of it.
        drop(theirs);
        let ours = take(clear(4), u32::MAX, Replay::Possible).unwrap();
        put(clear(4), ours, &KEEPALIVE);
        assert!(take(clear(4), u32::MAX, Replay::Impossible).is_none());
    }

    #[tokio::test]
    async fn what_is_idle_too_long_or_used_up_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, _theirs) = pair(&listener).await;
        let now = Instant::now();
        put(clear(3), ours, &KEEPALIVE);
        sweep_once(now);
        sweep_once(now + Duration::from_secs(59));
        let ours = take(clear(3), 2, Replay::Possible).unwrap();
        put(clear(3), ours, &KEEPALIVE);
        sweep_once(now);
        assert!(take(clear(3), 2, Replay::Possible).is_none(), "it has served its requests");
        let (ours, _theirs) = pair(&listener).await;
        put(clear(3), ours, &KEEPALIVE);
        sweep_once(now);
        sweep_once(now + Duration::from_secs(61));
        assert!(take(clear(3), u32::MAX, Replay::Possible).is_none());
    }

    #[tokio::test]
    async fn names_are_told_apart_and_bounded_together() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let named = |name| PoolKey { endpoint: 5, name: Some(name) };
        let mut others = Vec::new();
        for name in ["a.test", "b.test", "c.test"] {
            let (ours, theirs) = pair(&listener).await;
            put(named(name), ours, &KEEPALIVE);
            others.push(theirs);
        }
        let is_there = |key| take(key, u32::MAX, Replay::Possible).is_some();
        assert!(!is_there(named("a.test")), "two are kept, whatever they are called");
        assert!(!is_there(clear(5)));
        assert!(is_there(named("b.test")) && is_there(named("c.test")));
    }

    #[tokio::test]
    async fn what_has_come_is_seen_by_a_task_that_has_had_its_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, mut theirs) = pair(&listener).await;
        put(clear(6), ours, &KEEPALIVE);
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert!(take(clear(6), u32::MAX, Replay::Possible).is_none());
    }
}
