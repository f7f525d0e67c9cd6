//! How often and how fast, and whose scripts may read answers.

use crate::model::{CorsOrigins, OriginPattern, Pattern};
use crate::sources::kube::annotations::value::{self, Read, quoted};
use crate::sources::kube::annotations::{Annotation, Kind};

pub const ENTRIES: &[Annotation] = &[
    Annotation::set(
        "limit-rps",
        Kind::Number,
        2,
        "Requests of a client in a second, counted for the whole Ingress by each replica; five times as many at once. More get 503",
        |policy, text| {
            policy.limits.per_second = value::count(text)?;
            Ok(())
        },
    )
    .or_close(),
    Annotation::set("limit-rpm", Kind::Number, 2, "The same, in a minute", |policy, text| {
        policy.limits.per_minute = value::count(text)?;
        Ok(())
    })
    .or_close(),
    Annotation::set(
        "limit-connections",
        Kind::Number,
        2,
        "Requests of a client in flight at once, counted for the whole Ingress. More get 503",
        |policy, text| {
            policy.limits.connections = value::count(text)?;
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "limit-burst-multiplier",
        Kind::Number,
        2,
        "How many times the rate may come at once. The default is 5",
        |policy, text| {
            policy.limits.burst_multiplier = Some(value::number(text)?);
            Ok(())
        },
    ),
    Annotation::set("limit-allowlist", Kind::Networks, 2, "Clients that are not limited", |policy, text| {
        policy.limits.allow = value::networks(text)?;
        Ok(())
    })
    .alias(&["limit-whitelist"])
    .or_close(),
    Annotation::set("limit-rate", Kind::Number, 3, "KiB of an answer in a second; 0 is as fast as it goes", |policy, text| {
        policy.limits.rate = Some(value::number(text)?);
        Ok(())
    }),
    Annotation::set("limit-rate-after", Kind::Number, 3, "So many KiB of an answer first go as fast as they can", |policy, text| {
        policy.limits.rate_after = Some(value::number(text)?);
        Ok(())
    }),
    Annotation::set("enable-cors", Kind::Boolean, 1, "Preflights are answered (204), other answers say who may read them", |policy, text| {
        policy.cors.is_on = value::boolean(text)?;
        Ok(())
    }),
    Annotation::set(
        "cors-allow-origin",
        Kind::Text,
        1,
        "`*`, the default, or origins as `https://a.test, https://*.b.test`, where the star is one label. `*` is answered as it is, and \
         without credentials, which browsers refuse with it",
        |policy, text| {
            policy.cors.origins = Some(origins(text)?);
            Ok(())
        },
    ),
    Annotation::set("cors-allow-methods", Kind::Words, 1, "The default is `GET, PUT, POST, DELETE, PATCH, OPTIONS`", |policy, text| {
        policy.cors.methods = Some(value::list(text).map(value::token).collect::<Read<_>>()?);
        Ok(())
    }),
    Annotation::set("cors-allow-headers", Kind::FieldNames, 1, "The default is the list of ingress-nginx", |policy, text| {
        policy.cors.headers = Some(value::field_names(text)?);
        Ok(())
    }),
    Annotation::set("cors-expose-headers", Kind::FieldNames, 1, "Fields of answers that scripts may read", |policy, text| {
        policy.cors.expose = value::field_names(text)?;
        Ok(())
    }),
    Annotation::set("cors-allow-credentials", Kind::Boolean, 1, "The default is true", |policy, text| {
        policy.cors.credentials = Some(value::boolean(text)?);
        Ok(())
    }),
    Annotation::set("cors-max-age", Kind::Seconds, 1, "How long a browser remembers a preflight. The default is 1728000", |policy, text| {
        policy.cors.max_age = Some(value::seconds(text)?);
        Ok(())
    }),
];

fn origins(text: &str) -> Read<CorsOrigins> {
    if value::list(text).any(|item| item == "*") {
        return Ok(CorsOrigins::Any);
    }
    value::list(text).map(origin).collect::<Read<Vec<_>>>().map(CorsOrigins::Listed)
}

/// The star covers one label, where Weir's own covers several: a pattern says it.
fn origin(text: &str) -> Read<OriginPattern> {
    let read = OriginPattern::parse(text)?;
    let OriginPattern::Below { scheme, parent } = &read else { return Ok(read) };
    let source = format!("(?i)^{}://[a-z0-9_-]+\\.{}$", regex::escape(scheme), regex::escape(parent));
    let pattern = Pattern::parse(&source).map_err(|_| format!("{} is too long for an origin", quoted(text)))?;
    Ok(OriginPattern::Regex(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label_of_an_origin() {
        let matches = |pattern: &str, origin: &str| match origins(pattern).unwrap() {
            CorsOrigins::Any => true,
            CorsOrigins::Listed(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
        };
        assert!(matches("https://a.test, https://*.b.test", "https://x.b.test"));
        assert!(matches("https://*.b.test:8443", "HTTPS://x.B.test:8443"));
        for origin in
            ["https://y.x.b.test", "https://b.test", "https://x.bxtest", "http://x.b.test", "https://x.b.test.evil"]
        {
            assert!(!matches("https://*.b.test", origin), "{origin}");
        }
        assert!(origins("b.test").is_err());
    }
}
