//! A route's folder answers.
//!
//! ```text
//! path ──blocking thread──► FoundFile ──► head of a 200 ──edits, compress──► 304 · 412 · 416 · 206 · 200
//!                               └──pieces, each read while the one before it goes out──► (compress) ──► client
//! ```
//!
//! The thread that serves never waits for a disk, and of a body there are two pieces in memory, however large it is.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    TRANSFER_ENCODING,
};
use http::{HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::context::Context;
use super::page_upstream::Fetcher;
use super::{compression, reply};
use crate::files::{Content, Folder, Found, FoundFile};
use crate::model::Coding;
use crate::proxy::answer::{self, Answer};
use crate::proxy::files::{Part, Preconditions, Standing, expressible, range};
use crate::proxy::filters::{self, Compression, Place};
use crate::snapshot::accept_encoding::AcceptEncoding;
use crate::snapshot::path;
use crate::telemetry::record::Ended;

/// What a request wants of a folder.
pub struct Wanted {
    pub folder: Arc<Folder>,
    /// Normalized.
    pub path: Box<str>,
    pub query: Option<Box<str>>,
}

/// Of a body: large enough that the way to the blocking thread and back costs little beside it, small enough for thousands of clients
/// that read slowly.
const PIECE: u64 = 64 << 10;

pub async fn answer(fetcher: &Fetcher, session: &mut Session, ctx: &mut Context, wanted: Wanted) -> Result<()> {
    if !matches!(session.req_header().method, Method::GET | Method::HEAD) {
        let mut page = error_page(session, ctx, 405, "files are only read");
        page.headers.push((ALLOW, HeaderValue::from_static("GET, HEAD")));
        return reply::answer(fetcher, session, ctx, page).await;
    }
    let page = match look(session, &wanted).await {
        Ok((Found::File(file), first)) => return send(fetcher, session, ctx, *file, first).await,
        Ok((Found::Folder, _)) => Answer::redirect(301, with_slash(&wanted)),
        Ok((Found::Nothing, _)) => error_page(session, ctx, 404, "there is no such file"),
        Ok((Found::Unreadable, _)) => error_page(session, ctx, 403, "this file is not for everybody"),
        Err(error) => {
            tracing::warn!(route = route_name(ctx), path = &*wanted.path, %error, "a file cannot be read");
            ctx.record.ended = Ended::FileFailed;
            error_page(session, ctx, 500, "the file could not be read")
        }
    };
    reply::answer(fetcher, session, ctx, page).await
}

fn route_name(ctx: &Context) -> Option<&str> {
    ctx.route.as_ref().map(|route| route.name.as_str())
}

fn error_page(session: &Session, ctx: &Context, status: u16, detail: &'static str) -> Answer {
    Answer::error(status, detail, ctx.request_id(), answer::accept(session))
}

/// The same path with a slash at its end. Without a host: whoever stands in front of Weir may be called by another one.
fn with_slash(wanted: &Wanted) -> HeaderValue {
    let mut location = String::with_capacity(wanted.path.len() + 8);
    path::encode_into(&mut location, &wanted.path);
    location.push('/');
    if let Some(query) = &wanted.query {
        location.push('?');
        location.push_str(query);
    }
    HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"))
}

/// Finds the file and, where it will be sent from its beginning, reads its first piece on the same way.
async fn look(session: &Session, wanted: &Wanted) -> std::io::Result<(Found, Option<Bytes>)> {
    let request = session.req_header();
    let there = &wanted.folder.definition().precompressed;
    let accepted = match there.is_empty() {
        true => Vec::new(),
        false => AcceptEncoding::of(&request.headers).ranked(there.iter().copied()),
    };
    let is_whole_get = request.method == Method::GET && !request.headers.contains_key(http::header::RANGE);
    let conditions = Preconditions::of(&request.headers);
    let (folder, path) = (wanted.folder.clone(), wanted.path.clone());
    let look = move || {
        let found = folder.find(&path, &accepted)?;
        let first = match &found {
            Found::File(file) if is_whole_get && conditions.judge(&file.etag, file.modified) == Standing::Holds => {
                Some(read_piece(&file.content, 0, file.content.length)?)
            }
            Found::File(_) | Found::Folder | Found::Nothing | Found::Unreadable => None,
        };
        Ok((found, first))
    };
    // An error would be a panic there.
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

fn read_piece(content: &Content, from: u64, to: u64) -> std::io::Result<Bytes> {
    content.read(from, (to - from).min(PIECE) as usize)
}

/// The head is that of the whole file until it has been edited: a 304 says what the 200 would have said, and what is compressed has
/// no parts.
async fn send(
    fetcher: &Fetcher,
    session: &mut Session,
    ctx: &mut Context,
    file: FoundFile,
    first: Option<Bytes>,
) -> Result<()> {
    let mut head = head_of(&file)?;
    reply::apply_edits(session, &mut head, ctx);
    let coding = compression::negotiate(session, &mut head, ctx);
    let request = session.req_header();
    match Preconditions::of(&request.headers).judge(&file.etag, file.modified) {
        Standing::Holds => {}
        Standing::NotModified => {
            head.set_status(StatusCode::NOT_MODIFIED)?;
            for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, ACCEPT_RANGES] {
                head.remove_header(&name);
            }
            return finish(session, ctx, head, None).await;
        }
        Standing::Failed => {
            let page = error_page(session, ctx, 412, "the file is not the one that was meant");
            return reply::answer(fetcher, session, ctx, page).await;
        }
    }
    let length = file.content.length;
    let part = match (coding, &request.method) {
        (None, &Method::GET) => range(&request.headers, length, &file.etag, file.modified),
        (Some(_), _) | (None, _) => Part::Whole,
    };
    let (from, to) = match part {
        Part::Whole => (0, length),
        Part::Bytes { from, to } => {
            head.set_status(StatusCode::PARTIAL_CONTENT)?;
            head.insert_header(CONTENT_RANGE, format!("bytes {from}-{}/{length}", to - 1))?;
            head.insert_header(CONTENT_LENGTH, to - from)?;
            head.remove_header(&ACCEPT_RANGES);
            (from, to)
        }
        Part::Unsatisfiable => {
            let mut page = error_page(session, ctx, 416, "the file has no such part");
            let range = HeaderValue::try_from(format!("bytes */{length}"));
            page.headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
            return reply::answer(fetcher, session, ctx, page).await;
        }
    };
    let compression = coding.and_then(|coding| begin(ctx, coding, length));
    let body = Body { content: file.content, from, to, first, compression };
    finish(session, ctx, head, Some(body)).await
}

fn begin(ctx: &Context, coding: Coding, length: u64) -> Option<Compression> {
    let compress = ctx.route.as_ref()?.chain.compress.as_ref()?;
    Some(Compression::begin(compress, coding, Some(length)))
}

fn head_of(file: &FoundFile) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(StatusCode::OK, Some(8))?;
    if let Some(media_type) = &file.media_type {
        head.insert_header(CONTENT_TYPE, media_type.clone())?;
    }
    head.insert_header(CONTENT_LENGTH, file.content.length)?;
    head.insert_header(LAST_MODIFIED, httpdate::fmt_http_date(expressible(file.modified)))?;
    head.insert_header(ETAG, file.etag.clone())?;
    head.insert_header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))?;
    if let Some(coding) = file.coding {
        head.insert_header(CONTENT_ENCODING, HeaderValue::from_static(coding.token()))?;
    }
    if file.varies {
        filters::vary_by(&mut head, "Accept-Encoding");
    }
    Ok(head)
}

/// A part of a file on its way.
struct Body {
    content: Content,
    from: u64,
    to: u64,
    /// What has been read of it already.
    first: Option<Bytes>,
    compression: Option<Compression>,
}

async fn finish(session: &mut Session, ctx: &mut Context, mut head: ResponseHeader, body: Option<Body>) -> Result<()> {
    ctx.record.status = head.status.as_u16();
    reply::read_past_body(session).await;
    let body = body.filter(|body| session.req_header().method == Method::GET && body.from < body.to);
    if let Some(Body { compression: Some(_), .. }) = &body {
        // HTTP/2 sessions take the field out again.
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    session.write_response_header(Box::new(head), body.is_none()).await.map_err(|error| error.into_down())?;
    match body {
        Some(body) => {
            let poured = pour(session, body).await;
            if poured.as_ref().is_err_and(|error| *error.etype() == ErrorType::FileReadError) {
                ctx.record.ended = Ended::FileFailed;
            }
            poured
        }
        None => Ok(()),
    }
}

async fn pour(session: &mut Session, body: Body) -> Result<()> {
    let Body { content, mut from, to, first, mut compression } = body;
    let mut next = match first {
        Some(piece) => piece,
        None => read(&content, from, to).await?,
    };
    while from < to {
        let piece = next;
        from += piece.len() as u64;
        // Under way while this one goes out.
        let reading = (from < to).then(|| begin_reading(&content, from, to));
        let place = if from < to { Place::Within } else { Place::End };
        let out = match &mut compression {
            Some(compression) => compression.push(&piece, place).map_err(compression::failed)?,
            None => piece,
        };
        session.write_response_body(Some(out), place == Place::End).await.map_err(|error| error.into_down())?;
        next = match reading {
            Some(reading) => reading.await.map_err(unreadable)?.map_err(unreadable)?,
            None => Bytes::new(),
        };
    }
    Ok(())
}

async fn read(content: &Content, from: u64, to: u64) -> Result<Bytes> {
    begin_reading(content, from, to).await.map_err(unreadable)?.map_err(unreadable)
}

fn begin_reading(content: &Content, from: u64, to: u64) -> tokio::task::JoinHandle<std::io::Result<Bytes>> {
    let content = content.clone();
    tokio::task::spawn_blocking(move || read_piece(&content, from, to))
}

/// The length has been promised: the connection ends, and nobody takes what came for the whole.
fn unreadable(error: impl std::fmt::Display) -> Box<Error> {
    Error::explain(ErrorType::FileReadError, error.to_string())
}
