//! Where `compress` takes part: in a head, in the pieces of a body from upstream, in a body of Weir's own.

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::context::{Context, Purpose};
use crate::model::Coding;
use crate::proxy::fields::content_length;
use crate::proxy::filters::{self, Compression, Framing, Place};
use crate::telemetry::record::Protocol;

/// The upstream's head is edited; where its body will be compressed, the stage for it is set.
pub fn begin(session: &Session, response: &mut ResponseHeader, ctx: &mut Context) -> Result<()> {
    if response.status.is_informational() {
        return Ok(());
    }
    // Of an attempt that failed, there may be one.
    ctx.compression = None;
    let length = content_length(&response.headers);
    let Some(coding) = negotiate(session, response, ctx) else { return Ok(()) };
    if session.req_header().method == Method::HEAD {
        return Ok(());
    }
    // Pingora has looked for a length already. HTTP/2 sessions take the field out again.
    response.set_version(http::Version::HTTP_11);
    response.insert_header(TRANSFER_ENCODING, "chunked")?;
    if let Some(compress) = ctx.route.as_ref().and_then(|route| route.chain.compress.as_ref()) {
        ctx.compression = Some(Box::new(Compression::begin(compress, coding, length)));
    }
    Ok(())
}

/// Edits the head for what will be done to the body: a coding, or nothing.
pub fn negotiate(session: &Session, response: &mut ResponseHeader, ctx: &Context) -> Option<Coding> {
    let compress = ctx.route.as_ref()?.chain.compress.as_ref()?;
    if ctx.purpose == Purpose::Refresh {
        // The cache keeps what the upstream sent, and nobody else is there.
        return None;
    }
    let framing = match ctx.record.protocol {
        Protocol::Http10 => Framing::NeedsLength,
        Protocol::Http11 | Protocol::Http2 => Framing::Free,
    };
    filters::negotiate(compress, response, &session.req_header().headers, framing)
}

pub fn pass(body: &mut Option<Bytes>, place: Place, ctx: &mut Context) -> Result<()> {
    let Some(compression) = &mut ctx.compression else { return Ok(()) };
    if body.is_none() && place == Place::Within {
        return Ok(());
    }
    let piece = body.take().unwrap_or_default();
    let out = compression.push(&piece, place).map_err(failed)?;
    *body = Some(out).filter(|out| !out.is_empty());
    if place == Place::End {
        ctx.compression = None;
    }
    Ok(())
}

/// Trailers that were not announced end the body. They are left out: Pingora sends what this returns, or them.
pub fn end(ctx: &mut Context) -> Result<Option<Bytes>> {
    let mut rest = None;
    pass(&mut rest, Place::End, ctx)?;
    Ok(rest)
}

/// A body of Weir's own, which is at hand: with its new length.
pub fn whole(session: &Session, head: &mut ResponseHeader, body: Bytes, ctx: &Context) -> Result<Bytes> {
    let Some(coding) = negotiate(session, head, ctx) else { return Ok(body) };
    let Some(compress) = ctx.route.as_ref().and_then(|route| route.chain.compress.as_ref()) else { return Ok(body) };
    let out = Compression::begin(compress, coding, Some(body.len() as u64)).push(&body, Place::End).map_err(failed)?;
    head.insert_header(CONTENT_LENGTH, out.len())?;
    Ok(out)
}

pub fn failed(error: filters::EncodingFailed) -> Box<Error> {
    Error::explain(ErrorType::InternalError, error.to_string())
}
