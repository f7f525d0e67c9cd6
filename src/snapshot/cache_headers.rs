//! Rules for `Cache-Control` and `Expires`, ready to be applied.
//!
//! ```text
//! path ──► rules that fit it ──content type of the answer──► the first of them
//! ```

use http::HeaderValue;

use super::router::prefix_text;
use crate::model::{self, CacheEffect, Expires, UpstreamCaching};

#[derive(Debug)]
pub struct CacheRule {
    definition: model::CacheRule,
    pub effect: Effect,
}

#[derive(Debug)]
pub enum Effect {
    Untouched,
    Set { cache_control: HeaderValue, expires: Expires, upstream: UpstreamCaching },
}

impl CacheRule {
    /// `None`: its value is no header value, which is checked where it is read.
    pub fn new(definition: model::CacheRule) -> Option<Self> {
        let effect = match &definition.effect {
            CacheEffect::Untouched => Effect::Untouched,
            CacheEffect::Set { cache_control, expires, upstream } => Effect::Set {
                cache_control: HeaderValue::from_bytes(cache_control.as_bytes()).ok()?,
                expires: *expires,
                upstream: *upstream,
            },
        };
        Some(Self { definition, effect })
    }

    pub fn definition(&self) -> &model::CacheRule {
        &self.definition
    }

    /// Whether it asks what was asked for.
    pub fn regards_the_path(&self) -> bool {
        self.definition.path.is_some() || !self.definition.extensions.is_empty()
    }

    pub fn fits_path(&self, path: &str) -> bool {
        let extensions = &self.definition.extensions;
        self.definition.path.as_deref().is_none_or(|prefix| is_below(prefix, path))
            && (extensions.is_empty()
                || extension(path).is_some_and(|has| extensions.iter().any(|e| e.eq_ignore_ascii_case(has))))
    }

    pub fn fits_type(&self, content_type: Option<&[u8]>) -> bool {
        let types = &self.definition.types;
        let content_type = || content_type.and_then(|value| std::str::from_utf8(value).ok());
        types.is_empty() || content_type().is_some_and(|has| types.iter().any(|range| range.contains(has)))
    }
}

/// By whole segments, as routes.
fn is_below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix_text(prefix)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A name that begins with its only dot has none.
fn extension(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty()).then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(prefix: Option<&str>, extensions: &[&str], path: &str) -> bool {
        let rule = model::CacheRule {
            path: prefix.map(Into::into),
            extensions: extensions.iter().map(|e| (*e).into()).collect(),
            types: Vec::new(),
            effect: CacheEffect::Untouched,
        };
        CacheRule::new(rule).unwrap().fits_path(path)
    }

    #[test]
    fn a_path_is_a_prefix_by_whole_segments() {
        for (prefix, path, expected) in [
            ("/assets/", "/assets/a.js", true),
            ("/assets/", "/assets", true),
            ("/assets", "/assets/", true),
            ("/assets", "/assets-old/a.js", false),
            ("/sw.js", "/sw.js", true),
            ("/", "/anything", true),
        ] {
            assert_eq!(fits(Some(prefix), &[], path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn an_extension_is_that_of_the_last_segment() {
        for (path, expected) in [
            ("/a.js", true),
            ("/a.min.JS", true),
            ("/a.js/b", false),
            ("/.js", false),
            ("/js", false),
            ("/a.jsx", false),
            ("/a.", false),
        ] {
            assert_eq!(fits(None, &["css", "js"], path), expected, "{path}");
        }
        assert!(!fits(Some("/assets"), &["js"], "/a.js") && !fits(Some("/assets"), &["js"], "/assets/a.css"));
    }
}
