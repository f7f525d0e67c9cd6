//! Secrets that an operator wrote into headers do not leave by `/config`.
//!
//! ```text
//! model as JSON ──► the values of fields that are named like credentials ──► "(redacted)"
//! ```
//!
//! Private keys are never in the model: it holds their paths.

use serde_json::Value;

const REDACTED: &str = "(redacted)";

/// Where the model keeps header fields and query parameters: pairs, or objects with `name` and `value`.
const FIELD_LISTS: [&str; 6] = ["set", "set_headers", "add", "append", "headers", "query"];

/// Parts of the names that credentials travel under, `X-Api-Key` and `Authorization` among them.
const TELLING: [&str; 7] = ["auth", "cookie", "credential", "key", "password", "secret", "token"];

pub(super) fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            for (key, child) in fields {
                if let (true, Value::Array(items)) = (FIELD_LISTS.contains(&key.as_str()), &mut *child) {
                    items.iter_mut().for_each(redact_field);
                }
                redact(child);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn redact_field(item: &mut Value) {
    let (name, value) = match item {
        Value::Array(pair) => match pair.as_mut_slice() {
            [Value::String(name), value] => (name.as_str(), value),
            _ => return,
        },
        Value::Object(fields) => {
            let Some(name) = fields.get("name").and_then(Value::as_str).map(str::to_owned) else { return };
            return match fields.get_mut("value") {
                Some(value) if is_telling(&name) => *value = REDACTED.into(),
                Some(_) | None => {}
            };
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    if is_telling(name) {
        *value = REDACTED.into();
    }
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnostics::Origin;
    use crate::model::*;

    #[test]
    fn credentials_in_header_edits_answers_and_conditions_are_hidden() {
        let template = |text| HeaderTemplate::parse(text).unwrap();
        let edits = EditSet {
            set: vec![
                ("Authorization".into(), template("Bearer s3cret")),
                ("X-Env".into(), template("s3cret-is-not-this")),
            ],
            add: vec![("x-api-key".into(), template("s3cret"))],
            append: vec![("x-tokens".into(), template("s3cret"))],
            remove: Vec::new(),
        };
        let filter = Filter {
            origin: Origin::builtin(),
            kind: FilterKind::Headers(HeaderEdits { request: edits, ..HeaderEdits::default() }),
        };
        let respond = Respond { status: 200, headers: vec![("Set-Cookie".into(), "s3cret".into())], body: "".into() };
        let condition = FieldMatch { name: "x-token".into(), value: ValueMatch::Exact("s3cret".into()) };
        let asked = json!({ "set_headers": [["X-Api-Key", "s3cret"]] });
        let mut value = json!({ "filters": [filter, asked], "respond": respond, "match": { "headers": [condition] } });
        redact(&mut value);
        let text = value.to_string();
        assert_eq!(text.matches(REDACTED).count(), 6, "{text}");
        assert_eq!(text.matches("s3cret").count(), 1, "{text}");
    }

    #[test]
    fn what_limits_count_by_stays() {
        let limit = FilterKind::RateLimit(RateLimit {
            name: LimitName::Shared("sign-in".into()),
            rate: Rate::parse("5/m").unwrap(),
            burst: Burst::NONE,
            delay: Delay::None,
            scope: LimitScope::Process,
            counted: Counted {
                key: vec![LimitKey::Header("x-api-key".into()), LimitKey::Cookie("session".into())],
                ipv6_prefix: Ipv6Prefix::new(64),
                allow: Vec::new(),
            },
            status: 429,
            mode: LimitMode::Enforce,
        });
        let mut value = json!({ "filters": [Filter { origin: Origin::builtin(), kind: limit }] });
        let before = value.clone();
        redact(&mut value);
        assert_eq!(value, before);
        assert!(before.to_string().contains("x-api-key"));
    }

    #[test]
    fn names_of_hosts_and_paths_of_keys_stay() {
        let mut value = json!({ "names": ["auth.a.test", "b.test"], "source": { "file": { "key": "a.key" } } });
        let before = value.clone();
        redact(&mut value);
        assert_eq!(value, before);
    }
}
