//! `compress`: which answers are made smaller on the way, and how hard.
//!
//! ```text
//! Accept-Encoding ──► the best coding that is on ──► type, size, nothing against it ──► Content-Encoding
//! ```

use serde::Serialize;

use super::MediaRange;
use super::units::ByteSize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compress {
    /// 1 to 9. None: off; so below.
    pub gzip: Option<u8>,
    /// 0 to 11.
    pub brotli: Option<u8>,
    /// 1 to 19.
    pub zstd: Option<u8>,
    pub types: Vec<MediaRange>,
    /// Answers of a length that is known and less stay as they are.
    pub min_size: ByteSize,
}

impl Compress {
    /// None: off.
    pub fn level(&self, coding: Coding) -> Option<u8> {
        match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        }
    }
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// Of codings that a client likes alike the first is taken: at the default levels zstd takes a third of gzip's time and a sixth of
    /// brotli's for about the same size. Brotli comes before gzip for whoever turns it up: from 5 on it is the smallest.
    pub const BY_PREFERENCE: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// As in `Accept-Encoding` and `Content-Encoding`.
    pub fn token(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// As in the file, and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "brotli",
            Coding::Gzip => "gzip",
        }
    }
}
