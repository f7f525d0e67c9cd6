//! Requests that try to hide another one, and what must hold whatever becomes of them.
//!
//! ```text
//! fields ─┐
//! bodies ─┼─► Attack ──► stage ──► weir ──► origin that keeps every byte
//! heads ──┤                │                  └──► laws: one request, one framing, made by Weir
//! streams ┘                └──► victims on a connection of their own: each gets its own answer
//! ```
//!
//! What is tried is what published suites try (Smuggler, HTTP Garden, HTTP Request Smuggler and the articles behind it), made anew
//! from a few templates.

pub mod attack;
pub mod bodies;
pub mod fields;
pub mod heads;
pub mod laws;
pub mod stage;
pub mod streams;
