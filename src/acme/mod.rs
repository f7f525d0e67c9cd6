//! Certificates that look after themselves.

pub mod dns;
pub mod storage;
