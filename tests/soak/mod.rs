//! The parts of the soak: what asks, what is asked, and what changes meanwhile.
//!
//! ```text
//! visitors ─┐                                  ┌─► steady origins: come, are drained, stop
//! slow ─────┴─► weir ──────────────────────────┴─► wild origins: come, and are killed without a word
//!                ▲ scene: its file, rewritten again and again
//! ```

pub mod gauge;
pub mod ledger;
pub mod lines;
pub mod origins;
pub mod scene;
pub mod slow;
pub mod visitors;
