//! Any bytes as the beginning of a TLS connection: what is said of them stays true when more come.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The room is closed; the file stands alone.
#[path = "../../../src/tls/client_hello.rs"]
#[allow(dead_code)]
mod client_hello;

use client_hello::{ClientHello, Hello};

fuzz_target!(|bytes: &[u8]| {
    let whole = ClientHello::read(bytes);
    for end in 0..bytes.len().min(600) {
        let part = ClientHello::read(&bytes[..end]);
        assert!(part == Hello::More || part == whole, "after {end} bytes");
    }
    if let Hello::Whole(ClientHello { server_name: Some(name) }) = whole {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        assert!(!name.is_empty() && name.chars().all(is_plain), "{name:?}");
    }
});
