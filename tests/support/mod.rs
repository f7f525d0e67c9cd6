//! A harness for black-box tests of the real binary: nothing here knows Weir's insides.
//!
//! ```text
//! test ──► client (raw, h1, h2, WebSocket, curl) ──► weir run FILE ──► origin (scripted, nginx, h2, WebSocket)
//!    └───────────────── asks what arrived ◄────────────────────────────────┘
//! ```
//!
//! Every wait has a deadline and looks again; nothing sleeps for a fixed time and hopes. Every process
//! started here ends with the test process, however that ends.

// Each file in tests/ is a crate of its own and uses a part of this.
#![allow(dead_code, unused_imports)]

mod blackhole;
mod certificates;
mod coding;
mod frames;
mod http1;
mod http2;
mod knot;
mod nginx;
mod origin;
mod pebble;
mod ports;
mod process;
mod redis;
mod storm;
mod tcp;
mod tokens;
mod tools;
mod wait;
mod websocket;
mod weir;

pub use blackhole::Blackhole;
pub use certificates::{Authority, Identity, TlsClient};
pub use coding::{decoded, decoded_so_far};
pub use frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, FrameConnection, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, head,
};
pub use http1::{Connection, Request, Response, request};
pub use http2::{H2Client, H2Origin, H2Response, H2Stream, grpc_message};
pub use knot::{Knot, OTHER_SECRET, SECRET};
pub use nginx::Nginx;
pub use origin::{Answer, Origin, Received};
pub use pebble::{Pebble, PebbleSettings};
pub use ports::{free_address, free_port};
pub use process::{Process, Signal, resident_kib_of};
pub use redis::Redis;
pub use storm::{Chatter, Load, full_storm};
pub use tcp::{TcpOrigin, TlsEcho, echo, read_line, read_proxy_v2};
pub use tokens::{Issuer, in_seconds, jwks};
pub use tools::{Curl, WrkReport, curl, h2load, wrk, wrk_with};
pub use wait::{LIMIT, block_on, eventually, holds_for};
pub use websocket::{WebSocket, WebSocketOrigin};
pub use weir::{Command, Weir, indent, weir_binary, weir_command};
