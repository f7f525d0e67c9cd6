//! How directories, mail addresses and URLs of authorities are written, in a file and in flags alike, and what objects of a
//! cluster are marked with.
//!
//! ```text
//! "letsencrypt" ──► https://acme-v02.api.letsencrypt.org/directory
//! ```

use std::sync::Arc;

/// Before the keys that are Weir's own, whatever controller's annotations it serves.
pub const PREFIX: &str = "acme.weir/";

/// Of an Ingress: whose certificates its Secrets are to hold. Of a Secret: who issued what it holds, and that Weir made it.
pub const ISSUER: &str = "acme.weir/issuer";

/// The type of Secrets that Weir keeps for itself: what is served is never there.
pub const STATE_TYPE: &str = "weir/state";

const DIRECTORIES: [(&str, &str); 4] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
    ("google", "https://dv.acme-v02.api.pki.goog/directory"),
];

/// The URL of a directory that everybody knows by this name.
pub fn known_directory(name: &str) -> Option<Arc<str>> {
    DIRECTORIES.iter().find(|(known, _)| *known == name).map(|(_, url)| (*url).into())
}

pub fn directory(text: &str) -> Result<Arc<str>, String> {
    if let Some(url) = known_directory(text) {
        return Ok(url);
    }
    if text.starts_with("http://") {
        return Err(format!("\"{text}\" is not https, which ACME demands; write https://"));
    }
    match text.starts_with("https://") {
        true => url(text),
        false => {
            let names: Vec<_> = DIRECTORIES.iter().map(|(name, _)| *name).collect();
            Err(format!("there is no directory \"{text}\"; write {} or a URL", names.join(", ")))
        }
    }
}

pub fn email(text: &str) -> Result<Arc<str>, String> {
    let wrong = || format!("\"{text}\" is not a mail address; write it as \"ops@example.org\"");
    let (user, host) = text.split_once('@').ok_or_else(wrong)?;
    let is_plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || ",@?".contains(c));
    match is_plain(user) && is_plain(host) && !text.starts_with("mailto:") {
        true => Ok(text.into()),
        false => Err(wrong()),
    }
}

pub fn url(text: &str) -> Result<Arc<str>, String> {
    let wrong = || format!("\"{text}\" is not a URL; write it as \"https://example.org/path\"");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(text.into()),
        _ => Err(wrong()),
    }
}
