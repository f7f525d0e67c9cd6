//! A regular expression that was compiled when it was read.

use std::fmt;

use regex::Regex;
use serde::{Serialize, Serializer};

/// Linear-time matching (the `regex` crate): no pattern can make a request slow.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// How large a compiled pattern may grow: bounds what one line of a file can cost.
    const SIZE_LIMIT: usize = 1 << 20;

    pub fn parse(source: &str) -> Result<Self, regex::Error> {
        regex::RegexBuilder::new(source).size_limit(Self::SIZE_LIMIT).build().map(Self)
    }

    pub fn regex(&self) -> &Regex {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
