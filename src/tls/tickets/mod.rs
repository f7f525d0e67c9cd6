//! Session tickets: what a client keeps, so that its next handshake costs no signature.
//!
//! ```text
//! session + terms ──► Tickets (keys, ArcSwap'd) ──AES-256-GCM──► ticket ──► any process with the same keys
//!                        ▲ rotate by themselves, until somebody who shares them replaces them
//! ```
//!
//! A ticket is `key name (16) · nonce (12) · ciphertext · tag (16)`; the terms of its session are authenticated with it.
//! Without them a session that was begun where nobody asked for a certificate could be resumed where one is required: a
//! resumed handshake asks for none. No handshake waits for a lock.

mod keys;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use crate::model::SessionTickets;
pub use keys::{BadKeys, NoRandomness, Store, TicketKeys, maintain};
use keys::{NAME_LEN, TicketKey};

/// The keys in force. Shared by all listeners of the process.
pub struct Tickets {
    set: ArcSwap<Set>,
    /// In seconds; 0: there are no tickets.
    period: AtomicU64,
}

struct Set {
    keys: TicketKeys,
    /// In the same order.
    ciphers: Vec<LessSafeKey>,
    whose: Whose,
}

/// Who rotates them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This process, on its way.
    Own,
    /// Whoever replaces them: a key of this process's own would be good here only.
    Shared,
}

impl Tickets {
    pub fn new(settings: &SessionTickets, now: SystemTime) -> Result<Self, NoRandomness> {
        let set = Set::new(TicketKeys::generate(now)?, Whose::Own);
        let tickets = Self { set: ArcSwap::from_pointee(set), period: AtomicU64::new(0) };
        tickets.follow(settings);
        Ok(tickets)
    }

    /// What the configuration says now.
    pub fn follow(&self, settings: &SessionTickets) {
        let period = match settings {
            SessionTickets::Off => 0,
            SessionTickets::Rotate { every } => every.as_secs().max(1),
        };
        self.period.store(period, Relaxed);
    }

    /// From now on these, which other processes have, too: whoever gave them gives their successors.
    pub fn replace(&self, keys: TicketKeys) {
        self.set.store(Arc::new(Set::new(keys, Whose::Shared)));
    }

    /// Nobody shares them any more: this process rotates them itself from now on.
    pub fn release(&self) {
        let keys = self.keys();
        self.set.store(Arc::new(Set::new(keys, Whose::Own)));
    }

    pub fn keys(&self) -> TicketKeys {
        self.set.load().keys.clone()
    }

    /// None where there is no key to seal with.
    fn seal(&self, plain: &[u8], terms: &[u8; 32], now: SystemTime) -> Option<Vec<u8>> {
        let (now, period) = (seconds(now), self.period.load(Relaxed));
        let set = self.set_at(now, period);
        let position = set.keys.sealing(now, period)?;
        let name = &set.keys.all()[position].name;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let cipher = &set.ciphers[position];
        cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(terms), &mut sealed).ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    /// None where it is none of ours, is too old, has been changed, or was issued on other terms.
    fn open(&self, ticket: &[u8], terms: &[u8; 32], now: SystemTime) -> Option<Vec<u8>> {
        let (now, period) = (seconds(now), self.period.load(Relaxed));
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let set = self.set_at(now, period);
        let position = set.keys.accepted(name, now, period)?;
        let mut buffer = sealed.to_vec();
        let cipher = &set.ciphers[position];
        let plain = cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(terms), &mut buffer).ok()?;
        let length = plain.len();
        buffer.truncate(length);
        Some(buffer)
    }

    /// Rotated, if that is due and ours to do. Of several handshakes that find it so, one's keys stand.
    fn set_at(&self, now: u64, period: u64) -> Guard<Arc<Set>> {
        let set = self.set.load();
        if set.whose == Whose::Shared || !set.keys.are_due(now, period) {
            return set;
        }
        match set.keys.rotated(now, period) {
            Ok(keys) => {
                self.set.compare_and_swap(&set, Arc::new(Set::new(keys, Whose::Own)));
                self.set.load()
            }
            // The old ones are better than none; they stop by themselves.
            Err(NoRandomness) => set,
        }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.set.load().keys).finish_non_exhaustive()
    }
}

impl Set {
    fn new(keys: TicketKeys, whose: Whose) -> Self {
        let ciphers = keys.all().iter().map(cipher).collect();
        Self { keys, ciphers, whose }
    }
}

fn cipher(key: &TicketKey) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key.secret.bytes());
    LessSafeKey::new(key.unwrap_or_else(|_| unreachable!("the secret is as long as the cipher's key")))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// What one set of terms seals and opens.
#[derive(Debug)]
pub(super) struct BoundTickets {
    pub tickets: Arc<Tickets>,
    /// Their fingerprint.
    pub terms: [u8; 32],
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        self.tickets.period.load(Relaxed) > 0
    }

    /// A key seals for one period and opens for another one.
    fn lifetime(&self) -> u32 {
        u32::try_from(self.tickets.period.load(Relaxed)).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.seal(plain, &self.terms, SystemTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open(ticket, &self.terms, SystemTime::now())
    }
}

#[cfg(test)]
mod tests;
