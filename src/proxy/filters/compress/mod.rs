//! `compress`: answers become smaller on the way to clients that can read them so.
//!
//! ```text
//! head ──type, size, nothing against it──► Vary ──Accept-Encoding──► Content-Encoding, no length, a weak ETag ──► Compression
//! body ──piece by piece──────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Each piece goes out with all that it holds, so that what is streamed arrives as it is sent.

mod encoder;
mod pool;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    TRAILER,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;

use super::Place;
use super::headers::{Head, vary_by};
use crate::model::Coding;
use crate::proxy::fields::content_length;
use crate::snapshot::accept_encoding::AcceptEncoding;
use crate::snapshot::compress::Compress;
use encoder::Encoder;

/// Whether the client speaks a version of HTTP in which a body may have no length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.0: without a length the connection would have to end, and what is cut off would seem whole.
    NeedsLength,
    Free,
}

/// Edits the head for what will be done to the body: a coding, or nothing.
pub fn negotiate(
    compress: &Compress,
    head: &mut ResponseHeader,
    request: &HeaderMap,
    framing: Framing,
) -> Option<Coding> {
    if head.status == StatusCode::NOT_MODIFIED {
        return weaken_what_was_weak(head, request);
    }
    let length = content_length(&head.headers);
    let has_body = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    if !has_body || !compress.suits(head.headers.get(CONTENT_TYPE), length) || is_final(head) {
        return None;
    }
    // Whoever keeps this answer must know that another client may be due another one (RFC 9110 §12.5.5).
    vary_by(head, "Accept-Encoding");
    if framing == Framing::NeedsLength || is_part(head) {
        return None;
    }
    let coding = AcceptEncoding::of(request).choose(compress.codings())?;
    head.set(&CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    // Ranges are counted in the bytes that were sent, which the upstream knows nothing of.
    for name in [CONTENT_LENGTH, ACCEPT_RANGES] {
        if head.contains(&name) {
            head.remove(&name);
        }
    }
    weaken_etag(head);
    Some(coding)
}

/// What nobody may change: it is compressed already, says so, or vouches for its bytes. Trailers would be lost behind the end that
/// a coding has of its own.
fn is_final(head: &ResponseHeader) -> bool {
    let digests = [CONTENT_MD5, DIGEST, CONTENT_DIGEST, REPR_DIGEST];
    let forbids = |value: &HeaderValue| {
        let mut directives = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
    };
    head.contains(&CONTENT_ENCODING)
        || head.contains(&TRAILER)
        || head.headers.get_all(CACHE_CONTROL).iter().any(forbids)
        || digests.iter().any(|name| head.contains(name))
}

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

fn is_part(head: &ResponseHeader) -> bool {
    head.status == StatusCode::PARTIAL_CONTENT || head.contains(&CONTENT_RANGE)
}

/// The bytes are not the upstream's any more: its strong validator does not hold for them. A weak one still finds the answer
/// again, since `If-None-Match` is compared weakly (RFC 9110 §13.1.2).
fn weaken_etag(head: &mut ResponseHeader) {
    let Some(etag) = head.headers.get(ETAG).map(HeaderValue::as_bytes) else { return };
    match etag {
        [b'W', b'/', ..] => {}
        [b'"', ..] => {
            let weak = [b"W/", etag].concat();
            if let Ok(weak) = HeaderValue::from_bytes(&weak) {
                head.set(&ETAG, weak);
            }
        }
        // What is no validator would be compared by nobody knows which rule.
        _ => head.remove(&ETAG),
    }
}

/// A client that asked about its weak validator has what Weir compressed. With a strong one the 304 would be about another answer
/// than it has (RFC 9111 §4.3.4).
fn weaken_what_was_weak(head: &mut ResponseHeader, request: &HeaderMap) -> Option<Coding> {
    let etag = head.headers.get(ETAG)?.as_bytes();
    if etag.first() != Some(&b'"') {
        return None;
    }
    let weak = [b"W/", etag].concat();
    let names_it = |value: &HeaderValue| {
        value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|asked| *asked == *weak)
    };
    if request.get_all(IF_NONE_MATCH).iter().any(names_it) {
        weaken_etag(head);
        vary_by(head, "Accept-Encoding");
    }
    None
}

/// A body on its way through an encoder.
pub struct Compression {
    encoder: Encoder,
    coding: Coding,
    compress: Arc<Compress>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Compression {
    /// `length` of the body before, where it is known.
    pub fn begin(compress: &Arc<Compress>, coding: Coding, length: Option<u64>) -> Self {
        let level = compress.definition().level(coding).unwrap_or_default();
        let encoder = Encoder::new(coding, level, length);
        Self { encoder, coding, compress: compress.clone(), bytes_in: 0, bytes_out: 0 }
    }

    /// Everything that `piece` holds can be read from what comes out, together with what came out before.
    pub fn push(&mut self, piece: &[u8], place: Place) -> Result<Bytes, EncodingFailed> {
        let out = self.encoder.push(piece, place)?;
        self.bytes_in += piece.len() as u64;
        self.bytes_out += out.len() as u64;
        Ok(out.into())
    }
}

/// Counted however the answer ends.
impl Drop for Compression {
    fn drop(&mut self) {
        let metrics = self.compress.metrics.of(self.coding);
        metrics.answers.increment();
        metrics.bytes_in.add(self.bytes_in);
        metrics.bytes_out.add(self.bytes_out);
    }
}

/// Memory ran out, or a length was a lie.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be compressed: {0}")]
pub struct EncodingFailed(pub Box<str>);

/// For `explain`: what is known before there is an answer.
pub fn in_words(compress: &Compress, request: &crate::snapshot::request::RequestView<'_>) -> String {
    let size = compress.definition().min_size;
    match AcceptEncoding::of(request.headers).choose(compress.codings()) {
        Some(coding) => format!("{} from {size} on, where the type is listed", coding.name()),
        None => "the client takes none of the codings that are on".into(),
    }
}
