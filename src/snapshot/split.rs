//! Which of several upstreams a request goes to.
//!
//! ```text
//! RequestView ──rules──► none fits ──sticky cookies──► none binds ──key, or chance──► weights ──► an arm
//! ```

use std::net::IpAddr;
use std::time::Instant;

use super::request::RequestView;
use super::router::hold;
use super::table::Forward;
use super::upstream::{PickRequest, random};
use crate::model::{self, FieldMatch, HashKey, Scheme, SplitKey, SplitSessions};

pub struct Split {
    rules: Vec<Rule>,
    arms: Vec<Forward>,
    /// Where each arm's share of the 32-bit numbers ends, inclusive; 0 where it has none.
    ends: Vec<u32>,
    weights: Vec<u32>,
    by: Option<SplitKey>,
    sessions: SplitSessions,
}

struct Rule {
    headers: Vec<FieldMatch>,
    cookies: Vec<FieldMatch>,
    query: Vec<FieldMatch>,
    scheme: Option<Scheme>,
    arm: usize,
}

/// Why a request goes where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As they are counted from 1.
    Rule(usize),
    /// Its sticky cookie names an endpoint there.
    Session,
    Key,
    Chance,
}

impl Split {
    /// `arms` are those of the definition.
    pub fn new(definition: &model::Split, arms: Vec<Forward>) -> Self {
        let arm_of = |rule: &model::SplitRule| definition.arms.iter().position(|a| a.forward.upstream == rule.upstream);
        let rules = definition.rules.iter().filter_map(|rule| {
            let (headers, cookies, query) = (rule.headers.clone(), rule.cookies.clone(), rule.query.clone());
            Some(Rule { headers, cookies, query, scheme: rule.scheme, arm: arm_of(rule)? })
        });
        let weights: Vec<u32> = definition.arms.iter().map(|arm| arm.weight).collect();
        Self {
            rules: rules.collect(),
            arms,
            ends: ends(&weights),
            weights,
            by: definition.by.clone(),
            sessions: definition.sessions,
        }
    }

    pub fn arms(&self) -> &[Forward] {
        &self.arms
    }

    /// Each with its share of the sum.
    pub fn weighted(&self) -> impl Iterator<Item = (&Forward, f64)> {
        let sum: f64 = self.weights.iter().copied().map(f64::from).sum();
        self.arms.iter().zip(&self.weights).map(move |(arm, weight)| (arm, f64::from(*weight) / sum))
    }

    pub fn choose(&self, request: &RequestView<'_>) -> (usize, Reason) {
        let fits = |rule: &Rule| {
            rule.scheme.is_none_or(|scheme| scheme == request.scheme)
                && hold(&rule.headers, &rule.cookies, &rule.query, request)
        };
        if let Some((at, rule)) = self.rules.iter().enumerate().find(|(_, rule)| fits(rule)) {
            return (rule.arm, Reason::Rule(at + 1));
        }
        let is_kept = self.sessions == SplitSessions::Kept;
        if let Some(arm) = self.arms.iter().position(|arm| is_kept && is_bound_to(arm, request)) {
            return (arm, Reason::Session);
        }
        match self.by.as_ref().and_then(|by| hash(by, request)) {
            Some(hash) => (self.at(hash), Reason::Key),
            None => (self.at(random::below(1 << 32) as u32), Reason::Chance),
        }
    }

    fn at(&self, number: u32) -> usize {
        let is_within = |(end, weight): (&u32, &u32)| *weight > 0 && number <= *end;
        self.ends.iter().zip(&self.weights).position(is_within).unwrap_or_default()
    }
}

/// nginx rounds a share's end down as well, and leaves what is above all ends to the last.
fn ends(weights: &[u32]) -> Vec<u32> {
    let whole: u64 = weights.iter().copied().map(u64::from).sum();
    let last = weights.iter().rposition(|weight| *weight > 0);
    let mut sum = 0;
    let end = |(at, weight): (usize, &u32)| {
        sum += u64::from(*weight);
        if Some(at) == last {
            return u32::MAX;
        }
        // nginx takes what is below the end; 0 is nobody's.
        (sum * u64::from(u32::MAX)).checked_div(whole).map_or(0, |end| end.saturating_sub(1) as u32)
    };
    weights.iter().enumerate().map(end).collect()
}

fn is_bound_to(arm: &Forward, request: &RequestView<'_>) -> bool {
    let Some(sticky) = &arm.upstream.definition().sticky else { return false };
    let Some(cookie) = request.cookie(&sticky.name) else { return false };
    arm.upstream.keeps_session(&PickRequest { sticky: Some(cookie), ..PickRequest::at(Instant::now()) })
}

/// Of the key's text and the salt, as nginx's `split_clients "$key$salt"`.
fn hash(by: &SplitKey, request: &RequestView<'_>) -> Option<u32> {
    let (address, uri);
    let text = match &by.key {
        HashKey::ClientIp => {
            address = match request.client {
                IpAddr::V4(client) => client.to_string(),
                IpAddr::V6(client) => client.to_string(),
            };
            address.as_bytes()
        }
        HashKey::Header(name) => request.headers.first(name)?,
        HashKey::Cookie(name) => request.cookie(name)?,
        HashKey::Path => request.path.as_bytes(),
        HashKey::Query(name) => request.query_parameter(name)?.as_bytes(),
        HashKey::Host => request.host.as_bytes(),
        HashKey::Uri => {
            uri = request.uri();
            uri.as_bytes()
        }
        // No source splits by several.
        HashKey::Joined(_) => return None,
    };
    Some(murmur2(&[text, by.salt.as_bytes()].concat()))
}

/// MurmurHash2 of 32 bits with the seed 0, by Austin Appleby: what nginx splits clients by.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_murmur2() {
        assert_eq!(murmur2(b""), 0);
        assert_eq!(murmur2(b"127.0.0.1"), 0xb613_1d91);
    }

    #[test]
    fn shares_end_where_those_of_nginx_end() {
        assert_eq!(ends(&[1]), [u32::MAX]);
        assert_eq!(ends(&[50, 50]), [u32::MAX / 2 - 1, u32::MAX]);
        // Whatever stands beside it, the last with a weight takes all that is left.
        assert_eq!(ends(&[0, 1, 0])[1], u32::MAX);
    }
}
