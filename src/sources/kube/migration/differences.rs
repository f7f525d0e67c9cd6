//! Annotations that are honoured, and still not to the letter.

/// How a value of this annotation (without its prefix) differs here; none: not at all.
pub fn difference(key: &str, value: &str) -> Option<&'static str> {
    let (_, asks, how) = DIFFERENCES.iter().find(|(known, ..)| *known == key)?;
    asks(value.trim()).then_some(*how)
}

/// Key, the values that it is about, and how they differ.
const DIFFERENCES: &[(&str, fn(&str) -> bool, &str)] = &[
    ("affinity", |value| value == "cookie", "the cookie names endpoints in another way: sessions begin anew, once"),
    ("session-cookie-hash", |_| true, "the cookie's value has one form, whatever hash is asked for"),
    ("load-balance", |value| value == "ewma", "latency is weighed by requests in flight, too"),
    ("upstream-hash-by", |_| true, "another consistent hash: keys move to other endpoints, once"),
    ("proxy-buffering", |value| value == "on", "answers are passed on as they come; a slow client slows its upstream"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::kube::annotations;

    #[test]
    fn what_differs_is_an_annotation_that_is_known() {
        for (key, ..) in DIFFERENCES {
            let known = annotations::all().any(|entry| entry.key == *key || entry.aliases.contains(key));
            assert!(known, "{key}");
        }
        assert!(difference("load-balance", "round_robin").is_none());
        assert!(difference("load-balance", " ewma").is_some());
    }
}
