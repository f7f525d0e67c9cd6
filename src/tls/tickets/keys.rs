//! The keys of session tickets, over time.
//!
//! ```text
//!            │ half a period │ half a period │ one period more │
//! published ─┴── accepted ───┴─── seals ─────┴──── accepted ───┴─ forgotten
//!                            starts      the next one starts
//! ```
//!
//! When a key starts stands with it: all processes that share a set change at the same moment, and know the next key
//! before anybody seals with it. Time is passed in.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::seconds;

pub(super) const NAME_LEN: usize = 16;
const SECRET_LEN: usize = 32;

/// A set: what is still accepted, what seals, and what will. The newest is the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeys {
    keys: Vec<TicketKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TicketKey {
    pub name: Bytes<NAME_LEN>,
    pub secret: Secret,
    /// Seconds since 1970.
    pub created: u64,
    pub starts: u64,
}

/// The system gives no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// What was stored is no set of keys. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no set of ticket keys")]
pub struct BadKeys;

/// Whether keys must be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// What is stored is what they are.
    Keep,
    Anew,
}

/// What the keys are that processes share, given what is stored, and whether they must be stored anew. To be asked
/// several times in a period, under the storage's lock. What cannot be read is replaced.
pub fn maintain(stored: Option<&str>, now: SystemTime, rotate: Duration) -> Result<(TicketKeys, Store), NoRandomness> {
    let Some(keys) = stored.and_then(|text| TicketKeys::from_json(text).ok()) else {
        return Ok((TicketKeys::generate(now)?, Store::Anew));
    };
    let rotated = keys.rotate(now, rotate)?;
    let store = if rotated == keys { Store::Keep } else { Store::Anew };
    Ok((rotated, store))
}

impl TicketKeys {
    /// One key, which seals at once: there is nobody who would have to know it before.
    pub fn generate(now: SystemTime) -> Result<Self, NoRandomness> {
        let now = seconds(now);
        Ok(Self { keys: vec![TicketKey::generate(now, now)?] })
    }

    /// Without what is too old, and with the next key where it is time to publish it. Itself where nothing is due.
    pub fn rotate(&self, now: SystemTime, period: Duration) -> Result<Self, NoRandomness> {
        self.rotated(seconds(now), period.as_secs().max(1))
    }

    pub fn from_json(text: &str) -> Result<Self, BadKeys> {
        let mut keys: Self = serde_json::from_str(text).map_err(|_| BadKeys)?;
        keys.keys.sort_by_key(|key| std::cmp::Reverse(key.starts));
        Ok(keys)
    }

    /// With the secrets.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| unreachable!("texts and numbers can be written"))
    }

    pub(super) fn rotated(&self, now: u64, period: u64) -> Result<Self, NoRandomness> {
        // Behind more than one period nobody publishes: some clock was wrong.
        let is_good = |key: &&TicketKey| now < key.ends(period) && key.starts <= now.saturating_add(period);
        let mut keys: Vec<TicketKey> = self.keys.iter().filter(is_good).cloned().collect();
        let next = match (keys.first(), position_of_sealing(&keys, now, period)) {
            (_, None) => Some(now),
            (Some(newest), Some(_)) if newest.starts <= now && now >= newest.starts + lead(period) => {
                // Whoever is late gives others the time to learn of it all the same.
                Some((newest.starts + period).max(now + lead(period)).min(newest.ends(period)))
            }
            (_, Some(_)) => None,
        };
        if let Some(starts) = next {
            keys.push(TicketKey::generate(now, starts)?);
            keys.sort_by_key(|key| std::cmp::Reverse(key.starts));
        }
        Ok(Self { keys })
    }

    /// Whether [`rotated`](Self::rotated) would change anything.
    pub(super) fn are_due(&self, now: u64, period: u64) -> bool {
        let has_next_in_time = self.keys.first().is_some_and(|newest| now < newest.starts.saturating_add(lead(period)));
        !has_next_in_time
            || self.sealing(now, period).is_none()
            || self.keys.last().is_some_and(|oldest| now >= oldest.ends(period))
    }

    /// The position of the key that seals now.
    pub(super) fn sealing(&self, now: u64, period: u64) -> Option<usize> {
        position_of_sealing(&self.keys, now, period)
    }

    /// The position of the key with this name, if it is still accepted.
    pub(super) fn accepted(&self, name: &[u8; NAME_LEN], now: u64, period: u64) -> Option<usize> {
        self.keys.iter().position(|key| key.name.0 == *name && now < key.ends(period))
    }

    pub(super) fn all(&self) -> &[TicketKey] {
        &self.keys
    }
}

fn position_of_sealing(keys: &[TicketKey], now: u64, period: u64) -> Option<usize> {
    keys.iter().position(|key| (key.starts..key.ends(period)).contains(&now))
}

/// How long before it starts a key is published: time for every process to have looked at the storage more than once.
fn lead(period: u64) -> u64 {
    period.div_ceil(2)
}

impl TicketKey {
    fn generate(created: u64, starts: u64) -> Result<Self, NoRandomness> {
        let (mut name, mut secret) = ([0; NAME_LEN], [0; SECRET_LEN]);
        rand::fill(&mut name).and_then(|()| rand::fill(&mut secret)).map_err(|_| NoRandomness)?;
        Ok(Self { name: Bytes(name), secret: Secret(Bytes(secret)), created, starts })
    }

    /// From then on it opens nothing.
    fn ends(&self, period: u64) -> u64 {
        self.starts.saturating_add(period.saturating_mul(2))
    }
}

/// Written as base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> std::ops::Deref for Bytes<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        let length = || serde::de::Error::custom("a key of another length");
        <[u8; N]>::try_from(bytes).map(Self).map_err(|_| length())
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(Bytes<SECRET_LEN>);

impl Secret {
    pub fn bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}
