//! What a route keeps of its answers: keys, variants, conditions.
//!
//! ```text
//! RequestView ──key──► Store ──variant (Vary)──► an object         answer ──lifetime──► kept until …, or not
//! ```

mod lifetime;

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};
use pingora_cache::VarianceBuilder;
use pingora_cache::key::HashBinary;

use super::request::{HeaderFields, RequestView};
use crate::cache::Store;
use crate::model::{Cache, CacheCondition, CacheKeyPart, ClientCaching, StaleOn};
pub use lifetime::{Asked, Lifetime, allows_stale_if_error};

pub struct CachePolicy {
    pub definition: Cache,
    pub store: &'static Store,
}

impl std::fmt::Debug for CachePolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachePolicy").field("definition", &self.definition).finish_non_exhaustive()
    }
}

impl CachePolicy {
    /// What is kept under one key is the same to every request that has it. Parts are told apart by a byte that none of them can hold.
    pub fn key(&self, upstream: &str, request: &RequestView<'_>, target: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(upstream.len() + request.host.len() + target.len() + 16);
        key.extend_from_slice(upstream.as_bytes());
        for part in &self.definition.key {
            key.push(0);
            key.extend_from_slice(match part {
                CacheKeyPart::Scheme => request.scheme.as_str().as_bytes(),
                CacheKeyPart::Host => request.host.as_bytes(),
                CacheKeyPart::Target => target.as_bytes(),
                CacheKeyPart::Path => request.path.as_bytes(),
                CacheKeyPart::Header(name) => request.headers.first(name).unwrap_or_default(),
                CacheKeyPart::Cookie(name) => request.cookie(name).unwrap_or_default(),
                CacheKeyPart::Query(name) => request.query_parameter(name).unwrap_or_default().as_bytes(),
            });
            if let (CacheKeyPart::Host, Some(port)) = (part, own_port(request)) {
                // Applications write it into what they answer.
                key.extend_from_slice(format!(":{port}").as_bytes());
            }
        }
        key
    }

    pub fn bypasses(&self, request: &RequestView<'_>) -> bool {
        holds_any(&self.definition.bypass, request)
    }

    pub fn keeps_nothing_of(&self, request: &RequestView<'_>) -> bool {
        holds_any(&self.definition.no_store, request)
    }

    pub fn heeds_clients(&self) -> bool {
        self.definition.client == ClientCaching::Heed
    }

    pub fn is_stale_shown_on(&self, reason: StaleOn) -> bool {
        self.definition.stale_on.contains(&reason)
    }
}

/// The port that the client named, where that is not its scheme's.
fn own_port(request: &RequestView<'_>) -> Option<u16> {
    request.port.filter(|port| *port != request.scheme.default_port())
}

fn holds_any(conditions: &[CacheCondition], request: &RequestView<'_>) -> bool {
    conditions.iter().any(|condition| {
        let value = match condition {
            CacheCondition::Header(name) => request.headers.first(name),
            CacheCondition::Cookie(name) => request.cookie(name),
            CacheCondition::Query(name) => request.query_parameter(name).map(str::as_bytes),
        };
        value.is_some_and(|value| !value.is_empty() && value != b"0")
    })
}

/// Which of an answer's variants a request gets; none where it does not vary.
pub fn variance(answer: &HeaderMap, request: &dyn HeaderFields) -> Option<HashBinary> {
    let fields = answer.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut variance = VarianceBuilder::new();
    for name in fields.flat_map(|field| field.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
        let name = name.to_ascii_lowercase();
        let (mut value, mut count) = (Vec::new(), 0);
        request.each(&name, &mut |piece| {
            if count > 0 {
                value.push(b',');
            }
            value.extend_from_slice(piece);
            count += 1;
        });
        let value = tidied(&name, &value);
        variance.add_owned_name_value(name, value);
    }
    variance.finalize()
}

/// Clients write the same wish in many ways; what they differ in would make as many variants.
fn tidied(name: &str, value: &[u8]) -> Vec<u8> {
    let is_of_words = [ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT].iter().any(|known| known == name);
    if !is_of_words {
        return value.to_vec();
    }
    let lower = value.to_ascii_lowercase();
    let mut wishes: Vec<Vec<u8>> = lower
        .split(|b| *b == b',')
        .map(|wish| wish.iter().filter(|b| !b.is_ascii_whitespace()).copied().collect())
        .filter(|wish: &Vec<u8>| !wish.is_empty())
        .collect();
    if name == ACCEPT_ENCODING {
        // Of encodings that are wished for alike no server minds the order; of languages some do.
        wishes.sort_unstable();
    }
    wishes.join(&b","[..])
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn variants_differ_by_the_fields_that_the_answer_names() {
        let answer = headers(&[("vary", "Accept-Language , accept-encoding")]);
        let of = |fields| variance(&answer, &headers(fields));
        assert_eq!(variance(&headers(&[]), &headers(&[("accept-language", "de")])), None);
        assert_ne!(of(&[("accept-language", "de")]), of(&[("accept-language", "fr")]));
        assert_eq!(of(&[("accept-language", "de"), ("x", "1")]), of(&[("accept-language", "de")]));
        assert_eq!(of(&[("accept-encoding", "gzip, br")]), of(&[("accept-encoding", "BR,gzip")]));
        assert_ne!(of(&[("accept-encoding", "gzip")]), of(&[("accept-encoding", "gzip;q=0")]));
        assert_ne!(of(&[("accept-encoding", "gzip")]), of(&[]));
    }
}
