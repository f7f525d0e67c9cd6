//! Annotations that are honoured, and still not to the letter.

/// How a value of this annotation (without its prefix) differs here; none: not at all.
pub fn difference(key: &str, value: &str) -> Option<&'static str> {
    let known = DIFFERENCES.iter().find(|difference| difference.key == key)?;
    (known.of.is_none_or(|of| of == value.trim())).then_some(known.how)
}

struct Difference {
    key: &'static str,
    /// None: whatever the value.
    of: Option<&'static str>,
    how: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        key: "affinity",
        of: Some("cookie"),
        how: "the cookie names endpoints in another way: sessions begin anew, once",
    },
    Difference {
        key: "affinity-mode",
        of: Some("balanced"),
        how: "sessions stay where they are when endpoints are added",
    },
    Difference { key: "auth-tls-secret", of: None, how: "plain requests to the host are answered 403" },
    Difference { key: "auth-tls-verify-depth", of: None, how: "chains of any usual length are verified" },
    Difference {
        key: "upstream-hash-by-subset",
        of: Some("true"),
        how: "each key has endpoints of its own; there are no groups that keys share",
    },
    Difference { key: "load-balance", of: Some("ewma"), how: "latency is weighed by requests in flight, too" },
    Difference {
        key: "upstream-hash-by",
        of: None,
        how: "another consistent hash: keys move to other endpoints, once",
    },
    Difference {
        key: "proxy-buffering",
        of: Some("on"),
        how: "answers are passed on as they come; a slow client slows its upstream",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::kube::annotations;

    #[test]
    fn what_differs_is_an_annotation_that_is_known() {
        for Difference { key, .. } in DIFFERENCES {
            let known = annotations::all().any(|entry| entry.key == *key || entry.aliases.contains(key));
            assert!(known, "{key}");
        }
        assert!(difference("load-balance", "round_robin").is_none());
        assert!(difference("load-balance", " ewma").is_some());
    }
}
