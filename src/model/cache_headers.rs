//! `cache-headers`: how long browsers and caches may keep an answer, as data.
//!
//! ```text
//! path, extension, content type ──► the first CacheRule that fits ──► Cache-Control, Expires
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::serialize_duration;

/// Tried in this order; the first that fits decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CacheHeaders(pub Vec<CacheRule>);

/// Fits an answer that has all of what is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CacheRule {
    /// Of the request, normalized: a prefix by whole segments.
    pub path: Option<Arc<str>>,
    /// Of the path's last segment, lowercase, without the dot; any of them. Empty: whatever it is.
    pub extensions: Vec<Arc<str>>,
    /// Of the answer; any of them. Empty: whatever it is.
    pub types: Vec<MediaRange>,
    pub effect: CacheEffect,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheEffect {
    /// The answer stays as it is.
    Untouched,
    Set {
        cache_control: Arc<str>,
        expires: Expires,
        upstream: UpstreamCaching,
    },
}

/// For caches that do not know `Cache-Control` (RFC 9111 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expires {
    #[serde(serialize_with = "serialize_duration")]
    After(Duration),
    /// The upstream's is taken away: it would contradict.
    Off,
}

/// What becomes of `Cache-Control` and `Expires` that the upstream has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamCaching {
    Replace,
    /// An answer that has either stays as it is.
    Keep,
}

/// `text/html` or `image/*`, lowercase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    kind: Arc<str>,
    /// None: any.
    subtype: Option<Arc<str>>,
}

impl MediaRange {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a content type; write it as \"text/html\" or \"image/*\"");
        let lower = text.to_ascii_lowercase();
        let (kind, subtype) = lower.split_once('/').ok_or_else(wrong)?;
        if let Some((subtype, _)) = subtype.split_once(';') {
            return Err(format!("parameters are not regarded; write \"{kind}/{}\"", subtype.trim()));
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        match (is_name(kind), subtype) {
            (true, "*") => Ok(Self { kind: kind.into(), subtype: None }),
            (true, subtype) if is_name(subtype) => Ok(Self { kind: kind.into(), subtype: Some(subtype.into()) }),
            (true | false, _) => Err(wrong()),
        }
    }

    /// Whether a `Content-Type` is of it; its parameters and its case are not regarded.
    pub fn contains(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let Some((kind, subtype)) = essence.split_once('/') else { return false };
        kind.eq_ignore_ascii_case(&self.kind)
            && self.subtype.as_ref().is_none_or(|wanted| subtype.eq_ignore_ascii_case(wanted))
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype.as_deref().unwrap_or("*"))
    }
}

impl Serialize for MediaRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_types_regards_neither_parameters_nor_case() {
        for (range, content_type, expected) in [
            ("text/html", "Text/HTML; charset=utf-8", true),
            ("text/html", "text/htmlx", false),
            ("image/*", "image/svg+xml", true),
            ("IMAGE/*", "image/png", true),
            ("image/*", "images/png", false),
            ("image/*", "image", false),
            ("text/html", "", false),
        ] {
            assert_eq!(MediaRange::parse(range).unwrap().contains(content_type), expected, "{range} {content_type}");
        }
        for wrong in ["html", "text/", "/html", "*/*", "text/html/x", "text/ html", "text/html; charset=utf-8"] {
            assert!(MediaRange::parse(wrong).is_err(), "{wrong}");
        }
    }
}
