//! Signed tokens (RFC 7515, 7519): read, verified, and what they say.
//!
//! ```text
//! JWK set or secret ──parse──► KeySet ──┐
//!                                       ├──verify(token, terms, time)──► Claims, or why not
//! Keys: a set that may come, and change ┘
//! ```
//!
//! A key fits the algorithms of its own kind alone: no token can have a public key taken for a secret. It knows nothing of HTTP, and
//! fetches nothing.

mod claims;
mod key_set;
mod load;
mod shared;
#[cfg(test)]
mod tests;
mod verify;

pub use claims::Claims;
pub use key_set::KeySet;
pub use load::{KeyFiles, load_keys};
pub use shared::{FetchOutcome, KeySets, Keys};
pub use verify::{Invalid, Terms, Verified, verify};
