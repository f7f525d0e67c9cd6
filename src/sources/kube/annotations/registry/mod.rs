//! The annotations, by group.

mod access;
mod backend;
mod limits;
mod other;
mod redirect;
mod tls;

use super::Annotation;
pub use redirect::destination;

/// In the order in which the reference page has them.
pub const GROUPS: &[(&str, &[Annotation])] = &[
    ("Rewrites and redirects", redirect::ENTRIES),
    ("Backends", backend::ENTRIES),
    ("Access", access::ENTRIES),
    ("Limits and CORS", limits::ENTRIES),
    ("TLS", tls::ENTRIES),
    ("Others", other::ENTRIES),
];

/// For values that switch something off.
fn is_false(text: &str) -> bool {
    super::value::boolean(text) == Ok(false)
}

fn never(_: &str) -> bool {
    false
}
