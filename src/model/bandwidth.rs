//! How fast bodies may flow, as data.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Serialize, Serializer};

use super::units::ByteSize;

/// nginx's `limit_rate`: of each answer by itself, and of each request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bandwidth {
    /// Of an answer; none: as fast as it goes.
    pub rate: Option<ByteRate>,
    /// So much of an answer goes as fast as it can.
    pub after: ByteSize,
    /// Of a request's body; none: as fast as it comes.
    pub request_rate: Option<ByteRate>,
}

/// Bytes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(pub NonZeroU64);

impl ByteRate {
    /// Reads `500KB/s`: a size, and the second.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(size) = text.strip_suffix("/s") else {
            return Err(match ByteSize::parse(text) {
                Ok(_) => format!("\"{text}\" does not say in which time; write \"{text}/s\""),
                Err(_) => not_a_rate(text),
            });
        };
        let size = ByteSize::parse(size).map_err(|_| not_a_rate(text))?;
        NonZeroU64::new(size.0).map(Self).ok_or_else(|| format!("\"{text}\" lets nothing through; write 1KB/s or more"))
    }
}

fn not_a_rate(text: &str) -> String {
    format!("\"{text}\" is not a rate of bytes; write it as \"500KB/s\", \"1MB/s\" or \"64KiB/s\"")
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0.get()))
    }
}

impl Serialize for ByteRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
