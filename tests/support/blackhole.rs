//! An address that swallows connections.

use std::net::SocketAddr;

use super::ports::free_address;

/// A port where connecting neither succeeds nor fails: its accept queue is full and nobody accepts.
pub struct Blackhole {
    pub address: SocketAddr,
    _listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl Blackhole {
    pub fn start() -> Blackhole {
        Self::start_at(free_address())
    }

    pub fn start_at(address: SocketAddr) -> Blackhole {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let listener = socket();
        // Connections of an earlier test may linger there.
        listener.set_reuse_address(true).expect("a socket");
        listener.bind(&address.into()).expect("the port is free");
        listener.listen(0).expect("it listens");
        let waiting = std::iter::repeat_with(|| {
            let client = socket();
            client.set_nonblocking(true).expect("a socket");
            let _ = client.connect(&address.into());
            client
        });
        Blackhole { address, _listener: listener, _waiting: waiting.take(8).collect() }
    }
}
