//! `response-rewrite`: what an upstream says of itself in its cookies and redirects, in other words, as data.
//!
//! ```text
//! Set-Cookie: a=b; Domain=inner.test; Path=/app ──► Domain=shop.test; Path=/        Location: http://inner.test/x ──► /x
//! ```

use std::sync::Arc;

use serde::Serialize;

use super::{HeaderTemplate, Pattern};

/// What is None stays as the upstream wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResponseRewrite {
    /// Of the whole attribute `Domain`, whatever its case and a dot at its beginning.
    pub cookie_domain: Option<TextRewrite>,
    /// Of the beginning of the attribute `Path`.
    pub cookie_path: Option<TextRewrite>,
    /// Of the beginning of `Location`, and of the URL in `Refresh`.
    pub location: Option<TextRewrite>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextRewrite {
    Text {
        from: Arc<str>,
        to: HeaderTemplate,
    },
    /// The whole value is replaced; captures are `${1}`.
    Regex {
        pattern: Pattern,
        to: Arc<str>,
    },
}
