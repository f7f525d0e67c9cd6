//! Which header fields a file may set, add and remove.

use std::collections::HashMap;
use std::sync::Arc;

use super::Lowering;
use crate::sources::config::decode::{Field, Scalar, Table};
use crate::sources::config::findings::Place;
use crate::sources::config::shapes::scalar;

/// Names and values of a map of header fields. Names that are none, or are not the file's to say, are reported.
pub fn fields<S: Scalar>(cx: &Lowering, written: Field<Table<S>>) -> Vec<(Arc<str>, S::Value)> {
    let mut first_lines: HashMap<String, u32> = HashMap::new();
    let mut fields = Vec::new();
    for (name, field) in written.value().map_or(Vec::new(), |Table(entries)| entries) {
        let Some(place) = field.key() else { continue };
        let Some(name) = checked_name(cx, place, &name) else { continue };
        let line = cx.findings.line(place);
        if let Some(first) = first_lines.insert(name.to_ascii_lowercase(), line) {
            let message = format!("\"{name}\" is here twice; it was first at line {first}");
            cx.error_with(place, message, "case does not tell header fields apart; keep one");
        }
        fields.extend(field.scalar().map(|value| (name, value)));
    }
    fields
}

/// The name, as it was written, if the file may edit that field.
pub fn checked_name(cx: &Lowering, place: Place, name: &str) -> Option<Arc<str>> {
    match scalar::header_name(name) {
        Err(message) => {
            cx.error(place, message);
            None
        }
        Ok(name) => {
            if let Some(reason) = why_not(&name) {
                cx.error(place, format!("\"{name}\" cannot be edited: {reason}"));
            }
            Some(name)
        }
    }
}

fn why_not(name: &str) -> Option<&'static str> {
    match name.to_ascii_lowercase().as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => {
            Some("it concerns one connection only and is never passed on (RFC 9110 §7.6.1)")
        }
        "transfer-encoding" | "content-length" => {
            Some("it says where the message ends; a wrong one lets requests be smuggled (RFC 9112 §6)")
        }
        "host" => Some("write rewrite: { host: … } at the route"),
        _ => None,
    }
}
