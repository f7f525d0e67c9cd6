//! `response-rewrite`: texts in upstreams' answers, and what stands in their place.

use super::Lowering;
use crate::model::{HeaderTemplate, ResponseRewrite, TextRewrite};
use crate::sources::config::decode::Field;
use crate::sources::config::shapes;

pub fn response_rewrite(cx: &Lowering, shape: shapes::ResponseRewrite) -> ResponseRewrite {
    ResponseRewrite {
        cookie_domain: text(cx, shape.cookie_domain),
        cookie_path: text(cx, shape.cookie_path),
        location: text(cx, shape.location),
    }
}

fn text(cx: &Lowering, written: Field<shapes::TextRewrite>) -> Option<TextRewrite> {
    let (at, shape) = written.given()?;
    let (to_at, to) = cx.required(shape.to, at, "to", "to: what stands in its place")?;
    match (shape.from.value(), shape.regex.value()) {
        (Some(from), None) => match HeaderTemplate::parse(&to.0) {
            Ok(to) => Some(TextRewrite::Text { from: from.0, to }),
            Err(reason) => {
                cx.error_with(to_at.value(), reason, "write a text, with variables as ${host}");
                None
            }
        },
        (None, Some(pattern)) => Some(TextRewrite::Regex { pattern: pattern.0, to: to.0 }),
        (None, None) => {
            cx.missing(at, &["from", "regex"], "nothing says what is replaced", "write from: or regex:");
            None
        }
        (Some(_), Some(_)) => {
            cx.error_with(at.value(), "\"from\" cannot stand beside \"regex\"", "keep one of them");
            None
        }
    }
}
