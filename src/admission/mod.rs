//! The admission webhook: an API server asks, over HTTPS, whether an object may be what somebody wrote.
//!
//! ```text
//! API server ──POST──► Server ──body──► Judge (whoever knows the objects) ──► answer
//!                        ▲ certificate: files, or one of Weir's own ◄──► Secret ──► caBundle of the webhook's configuration
//! ```
//!
//! Knows nothing of what is asked. A part of the control plane: no request of clients waits for it.

mod connection;
mod identity;
mod own_certificate;
mod server;

pub use identity::{Identity, Shown};
pub use own_certificate::{OwnCertificate, keep_own_certificate};
pub use server::{Judge, Refused, Server};
