//! `jwt`: who may come in by a signed token (RFC 7519), as data.
//!
//! ```text
//! Authorization: Bearer … ──signed by one of `keys`, in time, for us──► goes on, its claims as headers · 401 · 403
//! ```

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::ForwardCredentials;
use super::units::serialize_duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwt {
    /// Where it stands, as `route:api`: what it is counted under.
    pub place: Arc<str>,
    pub keys: JwtKeys,
    /// No other is taken, whatever a token says.
    pub algorithms: Vec<JwtAlgorithm>,
    /// One of these has issued it. Empty: anybody who has a key.
    pub issuers: Vec<Arc<str>>,
    /// It is for one of these. Empty: for whomever.
    pub audiences: Vec<Arc<str>>,
    /// So much may clocks differ.
    #[serde(serialize_with = "serialize_duration")]
    pub leeway: Duration,
    /// What it must say beside: each of these claims, with one of the values.
    pub claims: Vec<RequiredClaim>,
    pub from: TokenSource,
    /// Claim and header field for the upstream. What the client sent under these names never goes there.
    pub claims_to_headers: Vec<(Arc<str>, Arc<str>)>,
    /// Whether the upstream sees the token, too.
    pub forward: ForwardCredentials,
    pub presence: TokenPresence,
    /// Of the challenge.
    pub realm: Arc<str>,
}

/// What signatures are verified with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JwtKeys {
    /// A JWK set (RFC 7517) that is fetched.
    Url(KeysUrl),
    /// A JWK set. Its content is never in the model.
    File(PathBuf),
    /// A secret that whoever issues tokens has, too. Its content is never in the model.
    SecretFile(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct KeysUrl {
    pub url: Arc<str>,
    /// Roots to verify its certificate against, PEM; None: the system's.
    pub ca: Option<PathBuf>,
    /// Fetched again after so long at the latest.
    #[serde(serialize_with = "serialize_duration")]
    pub refresh: Duration,
}

/// RFC 7518 §3.1 and RFC 8037, without `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum JwtAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

impl JwtAlgorithm {
    pub const ALL: [(&'static str, Self); 13] = [
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("ES512", Self::ES512),
        ("EdDSA", Self::EdDSA),
        ("HS256", Self::HS256),
        ("HS384", Self::HS384),
        ("HS512", Self::HS512),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// Whether both sides have the same secret.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl fmt::Display for JwtAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, algorithm)| algorithm == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequiredClaim {
    /// As a whole, or with dots between the names of what is nested.
    pub name: Arc<str>,
    pub one_of: Vec<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenSource {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    Authorization,
    /// In lowercase.
    Header(Arc<str>),
    Cookie(Arc<str>),
    /// A parameter of the query.
    Query(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenPresence {
    Required,
    /// A request without a token passes; one with a token that is not valid does not.
    Optional,
}
