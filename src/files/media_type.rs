//! Content types by extension.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;

#[derive(Debug, Default)]
pub struct MediaTypes {
    /// By extension, in lower case.
    own: HashMap<Box<str>, HeaderValue>,
}

impl MediaTypes {
    pub fn new(own: &[(Arc<str>, Arc<str>)]) -> Self {
        let value = |media_type: &str| HeaderValue::from_str(media_type).ok();
        Self { own: own.iter().filter_map(|(extension, own)| Some((Box::from(&**extension), value(own)?))).collect() }
    }

    /// None: nothing is known. To guess would be worse than to leave it to the client.
    pub fn of(&self, name: &str) -> Option<HeaderValue> {
        let (_, extension) = name.rsplit('/').next()?.rsplit_once('.')?;
        if let Some(own) = self.own.get(&*extension.to_ascii_lowercase()) {
            return Some(own.clone());
        }
        let known = BETTER.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)).map(|(_, known)| *known);
        let known = known.or_else(|| mime_guess::from_ext(extension).first_raw())?;
        match is_text(known) {
            true => HeaderValue::try_from(format!("{known}; charset=utf-8")).ok(),
            false => Some(HeaderValue::from_static(known)),
        }
    }
}

/// Where the crate's table is behind: what is registered, or what browsers go by.
const BETTER: [(&str, &str); 8] = [
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("map", "application/json"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript"),
    ("rpm", "application/x-redhat-package-manager"),
    ("ts", "video/mp2t"),
    ("woff", "font/woff"),
];

/// What browsers would else read in a coding of old. XML says its own, and JSON has but one.
fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/") && media_type != "text/xml"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_says_the_type_and_the_file_may_say_more() {
        let types = MediaTypes::new(&[("wgsl".into(), "text/wgsl".into()), ("html".into(), "text/x-own".into())]);
        for (name, expected) in [
            ("a/style.CSS", Some("text/css; charset=utf-8")),
            ("app.min.js", Some("text/javascript; charset=utf-8")),
            ("feed.xml", Some("text/xml")),
            ("data.json", Some("application/json")),
            ("logo.svg", Some("image/svg+xml")),
            ("a.woff2", Some("font/woff2")),
            ("a.WOFF", Some("font/woff")),
            ("app.js.map", Some("application/json")),
            ("module.mjs", Some("text/javascript; charset=utf-8")),
            ("shader.WGSL", Some("text/wgsl")),
            ("index.html", Some("text/x-own")),
            ("folder.css/file", None),
            ("README", None),
            ("x.unheard-of", None),
        ] {
            let expected = expected.map(HeaderValue::from_static);
            assert_eq!(types.of(name), expected, "{name}");
        }
    }
}
