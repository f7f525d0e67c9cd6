//! Free ports on the loopback.
//!
//! They are taken from below the kernel's ephemeral range: a port from `bind(:0)` that was let go can be
//! taken by anyone's outgoing connection before the program under test binds it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use super::wait::eventually;

const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port that nothing listens on and that this process has not handed out before.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(613) as u16 % COUNT;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}

pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// A port that an origin has just left may be held for a moment still: a process that another test starts right then has the
/// socket, too, until it becomes its program.
pub fn listen(address: SocketAddr) -> TcpListener {
    eventually(&format!("the origin's port {address} is free"), || TcpListener::bind(address).ok())
}
