//! Answers of Weir's own in the lean lane: refusals, redirects, error pages.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::DATE;
use pingora::protocols::http::date::get_cached_date;

use super::arrival::Arrival;
use super::client::Client;
use super::head::After;
use super::patience::in_time;
use crate::proxy::answer::Answer;
use crate::proxy::filters;
use crate::proxy::head::Body;
use crate::telemetry::record::RequestRecord;

/// A body that nobody wants is read if it is not larger: then the connection can be used again.
const SMALL: u64 = 64 << 10;

/// For the rest of a small body to arrive.
const READ_PAST_LIMIT: Duration = Duration::from_secs(5);

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
    pub async fn tell<C: Client>(
        &self,
        client: &mut C,
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
        if is_last || C::READS_PAST_BODIES && !read_past(body, client, &mut record.bytes_in).await {
            after = After::Close;
        }
        // Fails only beyond 32,768 fields.
        let _ = head.insert_header(DATE, get_cached_date());
        client.begin_own(head, after);
        let is_bodiless = self.arrival.head.method == "HEAD" || matches!(answer.status, 204 | 304);
        let mut content = if is_bodiless { Bytes::new() } else { answer.body };
        let length = content.len() as u64;
        let sent = send(&mut content, client, self.patience).await;
        record.bytes_out = length - content.len() as u64;
        if sent.is_ok() { after } else { After::Close }
    }
}

/// To the client, each piece in time.
pub async fn send(content: &mut Bytes, client: &mut impl Client, patience: Duration) -> io::Result<()> {
    while !content.is_empty() {
        let taken = in_time(patience, poll_fn(|cx| client.poll_write(cx, content))).await.unwrap_or_else(late)?;
        content.advance(taken);
    }
    client.end();
    in_time(patience, poll_fn(|cx| client.poll_flush(cx))).await.unwrap_or_else(late)
}

/// Whether nothing of the body is left to come. `taken`: how much did.
async fn read_past(body: Body, client: &mut impl Client, taken: &mut u64) -> bool {
    let mut left = match body {
        Body::None => return true,
        Body::Length(length @ ..=SMALL) => length,
        Body::Length(_) | Body::Chunked | Body::Upgrade => return false,
    };
    let discard = async {
        loop {
            let come = left.min(client.arrived().len() as u64);
            client.take(come as usize);
            left -= come;
            *taken += come;
            if left == 0 {
                return true;
            }
            if !matches!(poll_fn(|cx| client.poll_arrival(cx)).await, Ok(1..)) {
                return false;
            }
        }
    };
    let is_read = in_time(READ_PAST_LIMIT, discard).await.unwrap_or(false);
    if is_read {
        client.body_is_whole();
    }
    is_read
}

fn late<T>() -> io::Result<T> {
    Err(io::ErrorKind::TimedOut.into())
}
