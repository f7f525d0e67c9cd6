//! Pages that are shown instead of errors: files, read and filled in.
//!
//! ```text
//! file ──load──► Page { text, variable, text, … } + Diagnostics
//! status, message, request id ──Page──► body, escaped as the format asks
//! ```
//!
//! It knows nothing of HTTP.

mod load;

pub use load::{PageFiles, load_pages};

use crate::model::PageFormat;

/// One file. Whatever stands in `${…}` and is none of the variables stays: scripts and styles have their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    format: PageFormat,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Variable(Variable),
}

/// Nothing that the client has written but the host, which is a host's name: a page is no place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Status,
    Reason,
    Message,
    RequestId,
    Host,
}

const VARIABLES: [(&str, Variable); 5] = [
    ("${status}", Variable::Status),
    ("${reason}", Variable::Reason),
    ("${message}", Variable::Message),
    ("${request-id}", Variable::RequestId),
    ("${host}", Variable::Host),
];

/// What a page tells.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub status: u16,
    /// `Not Found`
    pub reason: &'a str,
    /// What the client can act on; empty where the error is the upstream's.
    pub message: &'a str,
    pub request_id: &'a str,
    pub host: &'a str,
}

impl Page {
    pub fn parse(format: PageFormat, text: &str) -> Self {
        let (mut pieces, mut rest) = (Vec::new(), text);
        let first = |text: &str| {
            VARIABLES.iter().filter_map(|known| Some((text.find(known.0)?, known))).min_by_key(|(at, _)| *at)
        };
        while let Some((at, (name, variable))) = first(rest) {
            pieces.push(Piece::Text(rest[..at].into()));
            pieces.push(Piece::Variable(*variable));
            rest = &rest[at + name.len()..];
        }
        pieces.push(Piece::Text(rest.into()));
        Self { format, pieces }
    }

    pub fn format(&self) -> PageFormat {
        self.format
    }

    pub fn fill_in(&self, told: &Told<'_>) -> String {
        let mut page = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => page.push_str(text),
                Piece::Variable(Variable::Status) => page.push_str(&told.status.to_string()),
                Piece::Variable(Variable::Reason) => self.push(&mut page, told.reason),
                Piece::Variable(Variable::Message) => self.push(&mut page, told.message),
                Piece::Variable(Variable::RequestId) => self.push(&mut page, told.request_id),
                Piece::Variable(Variable::Host) => self.push(&mut page, told.host),
            }
        }
        page
    }

    fn push(&self, page: &mut String, value: &str) {
        match self.format {
            PageFormat::Html => value.chars().for_each(|c| match c {
                '&' => page.push_str("&amp;"),
                '<' => page.push_str("&lt;"),
                '>' => page.push_str("&gt;"),
                '"' => page.push_str("&quot;"),
                '\'' => page.push_str("&#39;"),
                c => page.push(c),
            }),
            // Within the quotes of the page.
            PageFormat::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                page.push_str(&quoted[1..quoted.len() - 1]);
            }
            PageFormat::Text => page.push_str(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told<'_> =
        Told { status: 404, reason: "Not Found", message: "\"a\" & <b>'", request_id: "r\\1", host: "a.test" };

    fn filled(format: PageFormat, text: &str) -> String {
        Page::parse(format, text).fill_in(&TOLD)
    }

    #[test]
    fn variables_are_filled_in_and_anything_else_stays() {
        let text = "${status} ${reason} at ${host}: `${count} of ${total}` ${ $ ${status";
        assert_eq!(filled(PageFormat::Text, text), "404 Not Found at a.test: `${count} of ${total}` ${ $ ${status");
        assert_eq!(filled(PageFormat::Text, ""), "");
    }

    #[test]
    fn values_are_escaped_as_the_format_asks() {
        assert_eq!(
            filled(PageFormat::Html, "<p title='${message}'>"),
            "<p title='&quot;a&quot; &amp; &lt;b&gt;&#39;'>"
        );
        let json = filled(PageFormat::Json, r#"{"m":"${message}","id":"${request-id}","status":${status}}"#);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json, serde_json::json!({ "m": TOLD.message, "id": TOLD.request_id, "status": 404 }));
        assert_eq!(filled(PageFormat::Text, "${message}"), TOLD.message);
    }
}
