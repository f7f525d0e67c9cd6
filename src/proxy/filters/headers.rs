//! Edits on a head of the full lane.

use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

use crate::model::HeaderTemplate;
use crate::snapshot::chain::{self, Edit, EditValue, Facts};

/// The head of either side: a plain map, or Pingora's with the spelling of names kept.
pub trait Head {
    fn fields(&self) -> &HeaderMap;
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    fn add(&mut self, name: &HeaderName, value: HeaderValue);

    fn contains(&self, name: &HeaderName) -> bool {
        self.fields().contains_key(name)
    }
}

impl Head for HeaderMap {
    fn fields(&self) -> &HeaderMap {
        self
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove(name);
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.insert(name.clone(), value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.append(name.clone(), value);
    }
}

impl Head for ResponseHeader {
    fn fields(&self) -> &HeaderMap {
        &self.headers
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        // Fails only beyond 32,768 fields, which the size limit on heads excludes.
        let _ = self.insert_header(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.append_header(name, value);
    }
}

/// Says in `Vary` that the request's field `name` has its part in the answer, unless it says so already.
pub fn vary_by(head: &mut ResponseHeader, name: &'static str) {
    let names_it = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        names.any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_bytes()))
    };
    if !head.headers.get_all(VARY).iter().any(names_it) {
        head.add(&VARY, HeaderValue::from_static(name));
    }
}

pub fn apply(edits: &[Edit], head: &mut impl Head, facts: &Facts<'_>) {
    let render = |value: &EditValue| value.render(facts);
    for edit in edits {
        match edit {
            Edit::Remove(name) => head.remove(name),
            Edit::Set(name, value) => match render(value) {
                Some(value) => head.set(name, value),
                None => head.remove(name),
            },
            Edit::Add(name, value) => {
                if let Some(value) = render(value) {
                    head.add(name, value);
                }
            }
            Edit::Append(name, value) => {
                if let Some(value) = render(value) {
                    let value = joined(head.fields(), name, value);
                    head.set(name, value);
                }
            }
            Edit::SetDefaultOnTls(..) if facts.request.scheme == crate::model::Scheme::Http => {}
            Edit::SetDefault(name, value) | Edit::SetDefaultOnTls(name, value) => {
                if !head.contains(name)
                    && let Some(value) = render(value)
                {
                    head.set(name, value);
                }
            }
        }
    }
}

/// One list of all (RFC 9110 §5.3).
fn joined(fields: &HeaderMap, name: &HeaderName, value: HeaderValue) -> HeaderValue {
    let values = fields.get_all(name).iter().filter(|value| !value.is_empty()).chain([&value]);
    let list: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&list.join(&b", "[..])).unwrap_or(value)
}

/// None where it comes out empty, or the request has what no header holds.
pub(super) fn rendered(template: &HeaderTemplate, facts: &Facts<'_>) -> Option<String> {
    Some(chain::render(&template.0, facts)?.to_str().ok()?.to_owned())
}
