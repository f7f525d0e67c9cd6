//! What is counted of answers that Weir compresses, by coding.

use super::cells::Counter;
use crate::model::Coding;

/// Of the whole process. Aligned as a route's numbers are.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CompressionMetrics {
    codings: [CodingMetrics; Coding::BY_PREFERENCE.len()],
}

#[derive(Debug, Default)]
pub struct CodingMetrics {
    pub answers: Counter,
    /// Before and after.
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

impl CompressionMetrics {
    pub fn of(&self, coding: Coding) -> &CodingMetrics {
        &self.codings[coding as usize]
    }
}
