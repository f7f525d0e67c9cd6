//! Tokens of one filter, ready to be verified.
//!
//! ```text
//! token ──verified lately, by these keys?──► Claims
//!           └──no──► tokens::verify ──► Claims, kept until it expires · why not
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use super::kept::{Digest, Kept};
use crate::model::{self, BoundFilters, JwtKeys};
use crate::telemetry::metrics::{JwtMetrics, Metrics};
use crate::tokens::{self, Claims, Invalid, KeyFiles, KeySet, KeySets, Keys, Terms, Verified};

#[derive(Debug)]
pub struct Jwt {
    definition: model::Jwt,
    keys: KeySource,
    /// Claims and the fields that tell the upstream of them.
    pub headers: Vec<(Arc<str>, HeaderName)>,
    /// Without a reason.
    pub challenge: HeaderValue,
    verified: Arc<Kept<Arc<Known>>>,
    pub metrics: Arc<JwtMetrics>,
}

#[derive(Debug)]
enum KeySource {
    Fetched(Arc<Keys>),
    Fixed(Arc<KeySet>),
    /// They could not be read: nobody comes in.
    None,
}

/// A token that was good by the keys of that time.
#[derive(Debug)]
struct Known {
    key_set: u64,
    claims: Arc<Claims>,
}

/// Verifying takes 55 µs (RS256) to 250 µs (ES384), all else of a small request 22 µs, a digest of the token half of one (measured);
/// and a client sends the same token again and again.
const MOST_KNOWN: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
/// How long the calendar is not looked at again, should it be set back.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// No client's head has room for more.
const LONGEST_TOKEN: usize = 64 << 10;

/// Why a token does not let anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// There are no keys yet.
    NoKeys,
    Invalid(Invalid),
}

impl Jwt {
    fn new(
        definition: &model::Jwt,
        files: &KeyFiles,
        sets: &KeySets,
        previous: Option<&Self>,
        metrics: &Metrics,
    ) -> Self {
        let keys = match &definition.keys {
            JwtKeys::Url(source) => sets.get(source).cloned().map_or(KeySource::None, KeySource::Fetched),
            JwtKeys::File(path) | JwtKeys::SecretFile(path) => {
                files.get(path).cloned().map_or(KeySource::None, KeySource::Fixed)
            }
        };
        let header =
            |(claim, name): &(Arc<str>, Arc<str>)| Some((claim.clone(), HeaderName::from_bytes(name.as_bytes()).ok()?));
        let same = previous.filter(|previous| previous.definition == *definition);
        Self {
            keys,
            // Checked where they are read.
            headers: definition.claims_to_headers.iter().filter_map(header).collect(),
            challenge: challenge(&definition.realm, None),
            verified: same.map_or_else(|| Arc::new(Kept::new(MOST_KNOWN)), |previous| previous.verified.clone()),
            metrics: metrics.jwt(&definition.place),
            definition: definition.clone(),
        }
    }

    pub fn definition(&self) -> &model::Jwt {
        &self.definition
    }

    /// `now` twice: what expires does so by the calendar. Waits only where the token may be of a key that is not known yet.
    pub async fn verify(&self, token: &[u8], now: Instant, calendar: Duration) -> Result<Arc<Claims>, Unverified> {
        let set = self.key_set().ok_or(Unverified::NoKeys)?;
        match (self.verify_by(&set, token, now, calendar), &self.keys) {
            // Some issuers give a new key the name of the old one, or none.
            (Err(reason @ (Invalid::UnknownKey | Invalid::Signature)), KeySource::Fetched(keys)) => {
                match keys.newer_than(&set, now).await {
                    Some(newer) => self.verify_by(&newer, token, now, calendar),
                    None => Err(reason),
                }
            }
            (outcome, _) => outcome,
        }
        .map_err(Unverified::Invalid)
    }

    fn key_set(&self) -> Option<Arc<KeySet>> {
        match &self.keys {
            KeySource::Fetched(keys) => keys.set(),
            KeySource::Fixed(set) => Some(set.clone()),
            KeySource::None => None,
        }
    }

    fn verify_by(&self, set: &KeySet, token: &[u8], now: Instant, calendar: Duration) -> Result<Arc<Claims>, Invalid> {
        if token.len() > LONGEST_TOKEN {
            return Err(Invalid::Malformed);
        }
        let digest = Digest::of([token]);
        if let Some(known) = self.verified.get(&digest, now)
            && known.key_set == set.id
        {
            return Ok(known.claims.clone());
        }
        let Verified { claims, remaining } = tokens::verify(token, set, &self.terms(), calendar)?;
        let claims = Arc::new(claims);
        let known = Arc::new(Known { key_set: set.id, claims: claims.clone() });
        self.verified.insert(digest, now + remaining.min(KNOWN_FOR), known, now);
        Ok(claims)
    }

    fn terms(&self) -> Terms<'_> {
        let model::Jwt { algorithms, issuers, audiences, leeway, .. } = &self.definition;
        Terms { algorithms, issuers, audiences, leeway: *leeway }
    }

    /// The first claim that must say something else than it does.
    pub fn lacks<'a>(&'a self, claims: &Claims) -> Option<&'a str> {
        let missing = |required: &&model::RequiredClaim| !claims.has_one_of(&required.name, &required.one_of);
        self.definition.claims.iter().find(missing).map(|required| &*required.name)
    }

    /// `WWW-Authenticate` that says why (RFC 6750 §3).
    pub fn challenge_for(&self, error: &str, description: &str) -> HeaderValue {
        challenge(&self.definition.realm, Some((error, description)))
    }
}

fn challenge(realm: &str, error: Option<(&str, &str)>) -> HeaderValue {
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = format!("Bearer realm=\"{quoted}\"");
    if let Some((error, description)) = error {
        text.push_str(&format!(", error=\"{error}\", error_description=\"{description}\""));
    }
    // A realm is checked to be a header value where it is read.
    HeaderValue::try_from(text.into_bytes()).unwrap_or(HeaderValue::from_static("Bearer realm=\"\""))
}

/// What tokens are verified by, of one model.
#[derive(Default)]
pub struct Jwts {
    by_place: BTreeMap<Arc<str>, Arc<Jwt>>,
    /// To be fetched.
    pub key_sets: KeySets,
}

impl Jwts {
    pub fn of(filters: &BoundFilters<'_>, files: &KeyFiles, previous: Option<&Self>, metrics: &Metrics) -> Self {
        let mut key_sets = KeySets::new();
        for definition in filters.jwts() {
            if let JwtKeys::Url(source) = &definition.keys {
                let known = previous.and_then(|previous| previous.key_sets.get(source));
                let keys = || known.cloned().unwrap_or_else(|| Arc::new(Keys::new(source.clone())));
                key_sets.entry(source.clone()).or_insert_with(keys);
            }
        }
        let built = filters.jwts().map(|definition| {
            let previous = previous.and_then(|previous| previous.by_place.get(&definition.place));
            let jwt = Jwt::new(definition, files, &key_sets, previous.map(|previous| &**previous), metrics);
            (definition.place.clone(), Arc::new(jwt))
        });
        Self { by_place: built.collect(), key_sets }
    }

    pub fn at(&self, place: &str) -> Option<&Arc<Jwt>> {
        self.by_place.get(place)
    }
}
