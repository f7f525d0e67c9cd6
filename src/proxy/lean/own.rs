//! Answers of Weir's own in the lean lane: refusals, redirects, error pages.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::DATE;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use tokio::io::AsyncWriteExt;

use super::arrival::Arrival;
use super::head::After;
use super::patience::in_time;
use crate::proxy::answer::Answer;
use crate::proxy::filters;
use crate::proxy::head::Body;
use crate::proxy::stream::{ClientStream, Fence};
use crate::telemetry::record::RequestRecord;

/// A body that nobody wants is read if it is not larger: then the connection can be used again.
const SMALL: u64 = 64 << 10;

/// For the rest of a small body to arrive.
const READ_PAST_LIMIT: Duration = Duration::from_secs(5);

/// As Pingora writes it.
pub fn written(head: &ResponseHeader, after: After, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    head.header_to_h1_wire(out);
    out.extend_from_slice(match after {
        After::KeepAlive => b"Connection: keep-alive\r\n\r\n",
        After::Close => b"Connection: close\r\n\r\n",
    });
}

/// What Weir says itself, and on what occasion.
pub struct Words<'a> {
    pub arrival: &'a Arrival<'a>,
    /// Where the request was sent.
    pub upstream: Option<&'a str>,
    /// For the client to take a piece.
    pub patience: Duration,
}

impl Words<'_> {
    /// Returns what becomes of the client's connection. `body`: the request's, of which nothing was read.
    pub async fn tell(
        &self,
        client: &mut ClientStream,
        answer: Answer,
        record: &mut RequestRecord,
        mut after: After,
        body: Body,
    ) -> After {
        // Fails only where a status is none.
        let Ok(mut head) = answer.head() else { return After::Close };
        let chain = &self.arrival.route.chain;
        if filters::edits(chain) {
            filters::edit(chain, &mut head, &self.arrival.facts(record, self.upstream.unwrap_or_default()), None);
        }
        record.status = answer.status;
        // What could not be understood may have been misunderstood: nothing more is read from there.
        let is_last = after == After::Close || matches!(answer.status, 400 | 408);
        if is_last || !read_past(body, client).await {
            after = After::Close;
        }
        // Fails only beyond 32,768 fields.
        let _ = head.insert_header(DATE, get_cached_date());
        written(&head, after, client.write_buffer());
        let is_bodiless = self.arrival.head.method == "HEAD" || matches!(answer.status, 204 | 304);
        let mut content = if is_bodiless { Bytes::new() } else { answer.body };
        let length = content.len() as u64;
        let sent = send(&mut content, client, self.patience).await;
        record.bytes_out = length - content.len() as u64;
        if sent.is_ok() { after } else { After::Close }
    }
}

/// To the client, each piece in time.
pub async fn send(content: &mut Bytes, client: &mut ClientStream, patience: Duration) -> io::Result<()> {
    while !content.is_empty() {
        let taken = in_time(patience, client.write(content)).await.unwrap_or_else(late)?;
        content.advance(taken);
    }
    in_time(patience, client.flush()).await.unwrap_or_else(late)
}

/// Whether nothing of the body is left to come.
async fn read_past(body: Body, client: &mut ClientStream) -> bool {
    let mut left = match body {
        Body::None => return true,
        Body::Length(length @ ..=SMALL) => length,
        Body::Length(_) | Body::Chunked | Body::Upgrade => return false,
    };
    let discard = async {
        loop {
            let come = left.min(client.read_ahead().len() as u64);
            client.read_ahead().advance(come as usize);
            left -= come;
            if left == 0 {
                return true;
            }
            if !matches!(client.read_more().await, Ok(1..)) {
                return false;
            }
        }
    };
    let is_read = in_time(READ_PAST_LIMIT, discard).await.unwrap_or(false);
    if is_read {
        client.set_fence(Fence::At(0));
    }
    is_read
}

fn late<T>() -> io::Result<T> {
    Err(io::ErrorKind::TimedOut.into())
}
