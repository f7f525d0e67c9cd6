//! What is kept of an answer.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use pingora::http::ResponseHeader;
use pingora_cache::CacheMeta;

use super::shelf::Kept;
use crate::model::Purge;

/// An answer in memory.
#[derive(Debug)]
pub struct Object {
    pub stamp: Stamp,
    /// Ready to be sent.
    pub head: ResponseHeader,
    pub fresh_until: SystemTime,
    /// What its age is counted from.
    pub epoch: SystemTime,
    /// The variant that it is, where the answer varies by fields of the request.
    pub variance: Option<u128>,
    pub body: Bytes,
}

/// What tells an object from others, and what Pingora knows of it: the part that is written to a disk with the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Host and target of the request that it was made for, as `a.test/x?y`. For purges.
    pub url: Box<str>,
    /// From `Cache-Tag` and `Surrogate-Key`. For purges.
    pub tags: Box<[Box<str>]>,
    pub internal: Box<[u8]>,
    pub header: Box<[u8]>,
}

/// Whatever an object takes beside its bytes: maps, counters, allocations. An estimate.
const OVERHEAD: usize = 512;

impl Stamp {
    pub fn new(url: &str, meta: &CacheMeta) -> pingora::Result<Self> {
        let (internal, header) = meta.serialize()?;
        Ok(Self {
            url: url.into(),
            tags: tags(&meta.response_header().headers),
            internal: internal.into(),
            header: header.into(),
        })
    }

    pub fn meta(&self) -> pingora::Result<CacheMeta> {
        CacheMeta::deserialize(&self.internal, &self.header)
    }

    fn size(&self) -> usize {
        self.url.len()
            + self.tags.iter().map(|tag| tag.len() + 16).sum::<usize>()
            + self.internal.len()
            + self.header.len()
    }
}

impl Object {
    pub fn new(stamp: Stamp, meta: &CacheMeta, body: Bytes) -> Self {
        Self::awaiting_body(stamp, meta).with_body(body)
    }

    pub fn awaiting_body(stamp: Stamp, meta: &CacheMeta) -> Self {
        Self {
            head: meta.response_header_copy(),
            fresh_until: meta.fresh_until(),
            epoch: meta.epoch(),
            variance: meta.variance().map(u128::from_be_bytes),
            stamp,
            body: Bytes::new(),
        }
    }

    pub fn with_body(mut self, body: Bytes) -> Self {
        if self.head.status != http::StatusCode::NO_CONTENT {
            // Fails only beyond 32,768 fields, which no upstream's answer has.
            let _ = self.head.insert_header(http::header::CONTENT_LENGTH, body.len());
        }
        Self { body, ..self }
    }
}

impl Kept for Arc<Object> {
    fn size(&self) -> usize {
        let fields =
            self.head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum::<usize>();
        self.stamp.size() + fields + self.body.len() + OVERHEAD
    }

    fn is_taken_by(&self, purge: &Purge) -> bool {
        purge.takes(&self.stamp.url, &self.stamp.tags)
    }
}

/// Cloudflare's field is separated by commas, Fastly's by blanks.
fn tags(headers: &HeaderMap) -> Box<[Box<str>]> {
    let fields = headers.get_all("cache-tag").iter().chain(headers.get_all("surrogate-key"));
    let texts = fields.filter_map(|value| value.to_str().ok());
    let tags = texts.flat_map(|text| text.split([',', ' '])).filter(|tag| !tag.is_empty());
    tags.map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_from_both_fields() {
        let mut headers = HeaderMap::new();
        headers.append("cache-tag", "a, b,c".parse().unwrap());
        headers.append("surrogate-key", "d  e".parse().unwrap());
        let tags = tags(&headers);
        assert_eq!(tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    }
}
