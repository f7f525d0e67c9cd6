//! Who is let in by name and password, ready to be asked.

use std::sync::Arc;

use http::HeaderValue;

use crate::model::{self, ForwardCredentials};
use crate::passwords::{UserFiles, Users};

#[derive(Debug)]
pub struct BasicAuth {
    /// Of a file that could not be read: nobody.
    pub users: Arc<Users>,
    /// `WWW-Authenticate`
    pub challenge: HeaderValue,
    pub forward: ForwardCredentials,
}

impl BasicAuth {
    pub fn new(definition: &model::BasicAuth, files: &UserFiles) -> Self {
        Self {
            users: files.get(&definition.file).cloned().unwrap_or_default(),
            challenge: challenge(&definition.realm),
            forward: definition.forward,
        }
    }
}

/// RFC 7617 §2.1: names and passwords are read as UTF-8.
fn challenge(realm: &str) -> HeaderValue {
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    // A realm is checked to be a header value where it is read.
    HeaderValue::try_from(format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"").into_bytes())
        .unwrap_or(HeaderValue::from_static("Basic realm=\"\", charset=\"UTF-8\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_quoted() {
        for (realm, expected) in [
            ("The site", "Basic realm=\"The site\", charset=\"UTF-8\""),
            ("a \"b\" \\c", "Basic realm=\"a \\\"b\\\" \\\\c\", charset=\"UTF-8\""),
            ("Büro", "Basic realm=\"Büro\", charset=\"UTF-8\""),
        ] {
            assert_eq!(challenge(realm).as_bytes(), expected.as_bytes());
        }
    }
}
