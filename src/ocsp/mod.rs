//! OCSP stapling: a fresh word of the authority, shown with the certificate, so that clients need not ask for it.
//!
//! ```text
//! tls: certificates that name a responder ──► Stapler ──request──► responder
//!        ▲                                       │ response::check: signed, about this one, good, in time
//!        └────────────── staples ◄───────────────┘
//! ```
//!
//! A control-plane room: no handshake waits for it. What a responder says is believed only as far as it is signed. The
//! formats are RFC 6960's, of which little is needed; `der` reads and writes that little.

mod der;
mod request;
mod response;
mod schedule;
mod stapler;

#[cfg(test)]
mod tests;

pub use stapler::Stapler;
