//! Edits on a head, whichever lane holds it.

use std::borrow::Cow;

use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

use crate::model::HeaderTemplate;
use crate::snapshot::chain::{self, Edit, Facts};
use crate::snapshot::request::HeaderFields;

/// The head of either side: a map, Pingora's with the spelling of names kept, or the lean lane's list.
pub trait Head: HeaderFields {
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &HeaderName, value: impl FieldValue);
    fn add(&mut self, name: &HeaderName, value: impl FieldValue);
    /// Names are given as they were sent.
    fn remove_named(&mut self, is_unwanted: &dyn Fn(&[u8]) -> bool);

    fn contains(&self, name: &HeaderName) -> bool {
        self.first(name.as_str()).is_some()
    }
}

/// What a field is set to: a map keeps a value, a list copies its text.
pub trait FieldValue {
    fn text(&self) -> &[u8];
    /// None where a header cannot hold it.
    fn into_value(self) -> Option<HeaderValue>;
}

impl FieldValue for HeaderValue {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }

    fn into_value(self) -> Option<HeaderValue> {
        Some(self)
    }
}

impl FieldValue for &HeaderValue {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }

    fn into_value(self) -> Option<HeaderValue> {
        Some(self.clone())
    }
}

impl FieldValue for Cow<'_, HeaderValue> {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }

    fn into_value(self) -> Option<HeaderValue> {
        Some(self.into_owned())
    }
}

impl FieldValue for &[u8] {
    fn text(&self) -> &[u8] {
        self
    }

    fn into_value(self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self).ok()
    }
}

impl FieldValue for &'static str {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }

    fn into_value(self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static(self))
    }
}

/// The head of an answer.
pub trait ResponseHead: Head {
    fn status(&self) -> u16;
}

impl Head for HeaderMap {
    fn remove(&mut self, name: &HeaderName) {
        self.remove(name);
    }

    fn set(&mut self, name: &HeaderName, value: impl FieldValue) {
        if let Some(value) = value.into_value() {
            self.insert(name.clone(), value);
        }
    }

    fn add(&mut self, name: &HeaderName, value: impl FieldValue) {
        if let Some(value) = value.into_value() {
            self.append(name.clone(), value);
        }
    }

    fn remove_named(&mut self, is_unwanted: &dyn Fn(&[u8]) -> bool) {
        while let Some(name) = self.keys().find(|name| is_unwanted(name.as_str().as_bytes())).cloned() {
            self.remove(&name);
        }
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.contains_key(name)
    }
}

impl HeaderFields for ResponseHeader {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.headers.first(name)
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.headers.each(name, each);
    }
}

impl Head for ResponseHeader {
    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn set(&mut self, name: &HeaderName, value: impl FieldValue) {
        if let Some(value) = value.into_value() {
            // Fails only beyond 32,768 fields, which the size limit on heads excludes.
            let _ = self.insert_header(name, value);
        }
    }

    fn add(&mut self, name: &HeaderName, value: impl FieldValue) {
        if let Some(value) = value.into_value() {
            let _ = self.append_header(name, value);
        }
    }

    fn remove_named(&mut self, is_unwanted: &dyn Fn(&[u8]) -> bool) {
        while let Some(name) = self.headers.keys().find(|name| is_unwanted(name.as_str().as_bytes())).cloned() {
            self.remove_header(&name);
        }
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.headers.contains_key(name)
    }
}

impl ResponseHead for ResponseHeader {
    fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

/// Says in `Vary` that the request's field `name` has its part in the answer, unless it says so already.
pub fn vary_by(head: &mut impl Head, name: &'static str) {
    let mut is_named = false;
    head.each(VARY.as_str(), &mut |value| {
        let mut names = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        is_named |= names.any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_bytes()));
    });
    if !is_named {
        head.add(&VARY, name);
    }
}

pub fn apply(edits: &[Edit], head: &mut impl Head, facts: &Facts<'_>) {
    for edit in edits {
        match edit {
            Edit::Remove(name) => head.remove(name),
            Edit::Set(name, value) => match value.render(facts) {
                Some(value) => head.set(name, value),
                None => head.remove(name),
            },
            Edit::Add(name, value) => {
                if let Some(value) = value.render(facts) {
                    head.add(name, value);
                }
            }
            Edit::Append(name, value) => {
                if let Some(value) = value.render(facts) {
                    let value = joined(head, name, value.into_owned());
                    head.set(name, value);
                }
            }
            Edit::SetDefaultOnTls(..) if facts.request.scheme == crate::model::Scheme::Http => {}
            Edit::SetDefault(name, value) | Edit::SetDefaultOnTls(name, value) => {
                if !head.contains(name)
                    && let Some(value) = value.render(facts)
                {
                    head.set(name, value);
                }
            }
        }
    }
}

/// One list of all (RFC 9110 §5.3).
pub fn joined(head: &impl HeaderFields, name: &HeaderName, value: HeaderValue) -> HeaderValue {
    let mut list = Vec::new();
    let mut push = |item: &[u8]| {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(item);
    };
    head.each(name.as_str(), &mut |item| {
        if !item.is_empty() {
            push(item);
        }
    });
    push(value.as_bytes());
    HeaderValue::from_bytes(&list).unwrap_or(value)
}

/// None where it comes out empty, or the request has what no header holds.
pub(super) fn rendered(template: &HeaderTemplate, facts: &Facts<'_>) -> Option<String> {
    Some(chain::render(&template.0, facts)?.to_str().ok()?.to_owned())
}
