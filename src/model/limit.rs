//! Limits: how often, and how many at a time, as data.
//!
//! ```text
//! request ──key──► ConcurrencyLimit: in flight ≥ max?  ──► RateLimit: excess > burst? ──► goes on, waits, or is refused
//! ```
//!
//! Limits of one name share what they count; where none is given, the place in the file is the name.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::units::Rate;

/// nginx's `limit_req`: a bucket that leaks at `rate`. A request adds one to it; one that would make it hold more than
/// `burst` is refused. The first of a key finds it empty and adds nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimit {
    pub name: LimitName,
    #[serde(serialize_with = "Rate::serialize_text")]
    pub rate: Rate,
    pub burst: Burst,
    pub delay: Delay,
    pub scope: LimitScope,
    #[serde(flatten)]
    pub counted: Counted,
    /// Of the refusal.
    pub status: u16,
    pub mode: LimitMode,
}

/// Which processes count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitScope {
    /// Each by itself.
    Process,
    /// Each by itself, at its share of rate and burst: exact where the traffic is spread evenly.
    ReplicaShare,
    /// All of them, exactly.
    Redis { on_failure: OnRedisFailure },
}

/// What becomes of a request while Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRedisFailure {
    /// It goes on.
    Allow,
    /// It is answered 503.
    Refuse,
    /// It is counted by this process alone.
    Local,
}

/// nginx's `limit_conn`: requests that are in flight at once, each stream of HTTP/2 by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConcurrencyLimit {
    pub name: LimitName,
    pub max: NonZeroU32,
    #[serde(flatten)]
    pub counted: Counted,
    /// Of the refusal.
    pub status: u16,
    pub mode: LimitMode,
}

/// What a limit counts together, and what not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Requests that have all of these in common are counted together. One that has none of them is not counted.
    pub key: Vec<LimitKey>,
    pub ipv6_prefix: Ipv6Prefix,
    /// Clients that are not limited.
    pub allow: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKey {
    ClientIp,
    Host,
    /// Normalized.
    Path,
    /// In lowercase.
    Header(Arc<str>),
    Cookie(Arc<str>),
    /// Of a token that `jwt` has verified: limits with it are asked after that.
    JwtClaim(Arc<str>),
}

impl Counted {
    /// Whether a token must be verified before it is known.
    pub fn regards_claims(&self) -> bool {
        self.key.iter().any(|key| matches!(key, LimitKey::JwtClaim(_)))
    }
}

/// As many leading bits of an IPv6 address tell clients apart: up to 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ipv6Prefix(u8);

impl Ipv6Prefix {
    /// Longer ones are taken as the whole address.
    pub const fn new(bits: u8) -> Self {
        Self(if bits > 128 { 128 } else { bits })
    }

    /// The bits that count.
    pub const fn mask(self) -> u128 {
        match self.0 {
            0 => 0,
            bits => u128::MAX << (128 - bits),
        }
    }
}

/// Requests above the rate: up to [`Burst::MOST`], so that what is kept of a key stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Burst(u32);

impl Burst {
    pub const MOST: u32 = 1_000_000;
    pub const NONE: Burst = Burst(0);

    pub const fn new(requests: u32) -> Option<Self> {
        if requests > Self::MOST { None } else { Some(Self(requests)) }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Which requests of a burst wait until the rate allows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delay {
    /// nginx's `nodelay`.
    None,
    /// nginx's default.
    All,
    /// All but so many, nginx's `delay=N`.
    After(NonZeroU32),
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Delay::None => f.write_str("none"),
            Delay::All => f.write_str("all"),
            Delay::After(requests) => write!(f, "{requests}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitMode {
    Enforce,
    /// What would be refused or delayed is counted and goes on at once.
    DryRun,
}

/// What a limit is counted under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitName {
    /// Given: all limits of that name count together.
    Shared(Arc<str>),
    /// Where it stands, as `route:api`; a given name has no colon.
    Place(Arc<str>),
}

impl LimitName {
    pub fn as_str(&self) -> &str {
        match self {
            LimitName::Shared(name) | LimitName::Place(name) => name,
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LimitName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_masks_the_bits_that_do_not_count() {
        assert_eq!(Ipv6Prefix::new(0).mask(), 0);
        assert_eq!(Ipv6Prefix::new(64).mask(), u128::from(u64::MAX) << 64);
        assert_eq!(Ipv6Prefix::new(128).mask(), u128::MAX);
        assert_eq!(Ipv6Prefix::new(200), Ipv6Prefix::new(128));
    }
}
