//! Session tickets that are good for the terms they were issued on, and for no others.
//!
//! ```text
//! session ──► terms' fingerprint + session ──► the process's ticket keys ──► ticket
//! ```
//!
//! All listeners and hosts share the keys. Without the fingerprint a session that was begun where nobody asked for a
//! certificate could be resumed where one is required: a resumed handshake asks for none.

use std::sync::Arc;

use rustls::server::ProducesTickets;

#[derive(Debug)]
pub(super) struct BoundTickets {
    pub keys: Arc<dyn ProducesTickets>,
    pub terms: [u8; 32],
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.encrypt(&[&self.terms, plain].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let plain = self.keys.decrypt(ticket)?;
        plain.strip_prefix(&self.terms[..]).map(<[u8]>::to_vec)
    }
}
