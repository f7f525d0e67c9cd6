//! Redirects and what is changed of a path, as data: of routes, and of the filters that redirect.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Pattern, Replacement};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathRewrite {
    /// The whole path. A query that is written stands before the client's.
    Full(Replacement),
    /// What the route's prefix matched is replaced; the rest is kept.
    Prefix(Arc<str>),
    /// The first match in the normalized path is replaced. A query that is written stands before the client's.
    Regex { pattern: Pattern, replacement: Replacement },
}

/// What becomes of the client's query. Where a pattern was to be replaced and is not found, it stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryRewrite {
    #[default]
    Keep,
    Drop,
}

/// Parts that are `None` stay as the client sent them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redirect {
    pub status: RedirectStatus,
    pub scheme: Option<Scheme>,
    pub host: Option<Arc<str>>,
    /// Left out of the URL where it is the scheme's own.
    pub port: Option<u16>,
    pub path: Option<PathRewrite>,
    pub query: QueryRewrite,
    /// Relative: scheme, host and port are `None`.
    pub form: LocationForm,
}

/// How `Location` is written (RFC 9110 §10.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocationForm {
    /// With scheme and host, where the request names one.
    Absolute,
    /// The path and the query: whoever stands between client and Weir may know scheme and host better.
    Relative,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectStatus {
    MovedPermanently,
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

impl RedirectStatus {
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            301 => Some(Self::MovedPermanently),
            302 => Some(Self::Found),
            303 => Some(Self::SeeOther),
            307 => Some(Self::TemporaryRedirect),
            308 => Some(Self::PermanentRedirect),
            _ => None,
        }
    }

    pub fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

impl Serialize for RedirectStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.code())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// The filter `https-redirect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpsRedirect {
    pub status: RedirectStatus,
    /// The port of the https URL; 443 is left out of it.
    pub port: u16,
    pub slash: RedirectSlash,
}

/// What becomes of a slash at the end of a URI that is redirected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedirectSlash {
    #[default]
    Keep,
    /// As ingress-nginx does.
    Drop,
}

/// The filter `www-redirect`: from the one of two names to the other, where that one is served on the same listener by this very name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WwwRedirect {
    pub to: WwwForm,
    pub status: RedirectStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WwwForm {
    /// `a.test` to `www.a.test`
    Www,
    /// `www.a.test` to `a.test`
    Apex,
}

/// The filter `app-root`: the bare root leads into the application. The query is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppRoot {
    pub path: Arc<str>,
    pub status: RedirectStatus,
    pub form: LocationForm,
}

/// The filter `trailing-slash`: one spelling for each path. The root, files (a dot in the last segment) and well-known names stay as they are
/// where slashes are added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrailingSlash {
    pub spelling: SlashSpelling,
    pub status: RedirectStatus,
    pub form: LocationForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlashSpelling {
    With,
    Without,
}
