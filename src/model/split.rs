//! Several upstreams behind one route, and who goes to which.

use std::sync::Arc;

use serde::Serialize;

use super::{FieldMatch, Forward, HashKey, Scheme, UpstreamName};

/// A rule beats a session, and a session beats the weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Split {
    /// The first that fits decides.
    pub rules: Vec<SplitRule>,
    /// At least one, each to an upstream of its own; some weigh more than nothing.
    pub arms: Vec<SplitArm>,
    /// None: by chance, each request by itself.
    pub by: Option<SplitKey>,
    pub sessions: SplitSessions,
}

/// Whether a client that a sticky cookie binds to an endpoint stays with that endpoint's arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitSessions {
    Kept,
    /// Each request is split anew.
    Split,
}

/// All conditions must hold; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitRule {
    pub headers: Vec<FieldMatch>,
    pub cookies: Vec<FieldMatch>,
    pub query: Vec<FieldMatch>,
    /// That the client uses.
    pub scheme: Option<Scheme>,
    /// One of the arms'.
    pub upstream: UpstreamName,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitArm {
    /// Its share is this part of the sum. 0: only rules and sessions lead here.
    pub weight: u32,
    pub forward: Forward,
}

/// Requests alike in this go to the same arm; those that lack it go by chance. The hash is that of nginx's `split_clients`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitKey {
    pub key: HashKey,
    /// Stands after the key's text: who is chosen here has nothing to do with who is chosen elsewhere.
    pub salt: Arc<str>,
}
