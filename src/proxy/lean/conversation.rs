//! What is said on one connection to an upstream: the request, its answer, and what of both goes to the client.
//!
//! ```text
//! Head ──Fields, edits──► request head ──► upstream ──► Reply ──Fields, edits──► answer's head ──► client
//! ```

use std::cell::Cell;
use std::time::SystemTime;

use http::HeaderValue;
use http::header::{CONNECTION, HOST, SET_COOKIE, TRANSFER_ENCODING};

use super::body::{Framing, Incoming, Outgoing};
use super::buffer::Buffer;
use super::client::{Client, Unsendable};
use super::exchange::{Broken, Exchange, Timeouts};
use super::fields::{Fields, ResponseFields, Spelling};
use super::forward::{Plan, Progress};
use super::head::After;
use super::pool::Link;
use super::reply::{LARGEST, Reply, Unread};
use super::upload::{Pauses, Upload};
use crate::model::RetryOn;
use crate::proxy::attempts::{Attempts, Sent};
use crate::proxy::chunks::Sender;
use crate::proxy::fields::is_hop_by_hop;
use crate::proxy::filters::{self, Head};
use crate::proxy::introduction::Introduction;
use crate::proxy::span::Field;
use crate::telemetry::record::RequestRecord;

pub struct Conversation<'a, C> {
    pub plan: &'a Plan<'a>,
    pub progress: &'a mut Progress,
    pub client: &'a mut C,
    pub upstream: &'a mut Link,
}

/// How it ended.
pub enum End {
    /// The client has the whole answer. What becomes of the connections.
    Over { client: After, upstream: After },
    /// The client has a part of it.
    Cut(Broken),
    /// The client has nothing of it.
    Nothing(Broken),
    /// Nor has it here, and another attempt was allowed.
    Elsewhere,
}

/// What is known of an answer when its head has gone to the client.
struct Begun {
    framing: Framing,
    client: After,
    upstream: After,
    /// Whether the upstream had all of the request by then.
    had_all: bool,
}

thread_local! {
    static REQUEST: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<C: Client> Conversation<'_, C> {
    /// `after`: what becomes of the client's connection, asked when the answer begins.
    pub async fn hold(self, after: &(dyn Fn() -> After + Sync)) -> End {
        let Conversation { plan, progress, client, upstream } = self;
        let turn = plan.turn(upstream);
        let mut request = REQUEST.take();
        request.clear();
        plan.write_request(&progress.record, turn, &mut request);
        if let Some(upload) = &mut progress.upload
            && let Err(failure) = upload.begin(client, &mut request)
        {
            return End::Nothing(failure.into());
        }
        let timeouts = Timeouts {
            read: plan.forward.timeouts.read,
            write: plan.forward.timeouts.write,
            client: plan.limits.body_timeout,
            deadline: progress.attempts.deadline,
        };
        let Progress { record, attempts, upload, has_spoken } = progress;
        let mut exchange = Exchange {
            client,
            upstream,
            upload,
            buffer: Buffer::default(),
            timeouts,
            sent: attempts.sent,
            is_answered: false,
        };
        let sent = exchange.send(&request).await;
        REQUEST.set(request);
        if let Err(broken) = sent {
            return End::Nothing(broken);
        }
        let begun = match plan.answer_begins(&mut exchange, attempts, record, has_spoken, after).await {
            Ok(Answer::Begun(begun)) => begun,
            Ok(Answer::Elsewhere) => return End::Elsewhere,
            Err(broken) => return End::Nothing(broken),
        };
        exchange.answer_begins(if C::CONVERSES { Pauses::Free } else { Pauses::Bounded });
        let (mut incoming, outgoing) = (Incoming::sent_by(Sender::Origin, begun.framing), C::outgoing(begun.framing));
        if let Err(broken) = exchange.relay(&mut incoming, outgoing, &mut record.bytes_out).await {
            return End::Cut(broken);
        }
        // It has its answer, whatever becomes of the rest. An upstream that has answered before it had the whole request may take
        // the rest for another one, and answer that, too: whoever came next on its connection would get that answer.
        let is_sent = exchange.finish_upload().await.is_ok() && begun.had_all;
        let is_clean = is_sent && exchange.buffer.is_empty() && turn == Turn::Any;
        End::Over { client: begun.client, upstream: if is_clean { begun.upstream } else { After::Close } }
    }
}

/// Whether the connection is used again, as far as Weir has to say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Any,
    Last,
}

impl Plan<'_> {
    fn turn(&self, upstream: &Link) -> Turn {
        let keepalive = &self.forward.upstream.definition().keepalive;
        let is_last =
            keepalive.connections == 0 || keepalive.max_requests.is_some_and(|max| upstream.served >= max.get());
        if is_last { Turn::Last } else { Turn::Any }
    }

    fn write_request(&self, record: &RequestRecord, turn: Turn, out: &mut Vec<u8>) {
        let (arrival, chain) = (self.arrival, &self.arrival.route.chain);
        let (head, host) = (arrival.head, arrival.head.host());
        let mut fields = Fields::new(head.bytes, Spelling::Lowercase);
        let goes_on = |field: &&Field| !is_hop_by_hop(field.name.in_bytes(head.bytes));
        head.fields.iter().filter(goes_on).for_each(|field| fields.push(*field));
        Introduction {
            client: &arrival.client,
            connection: arrival.connection,
            host: Some(host),
            request_id: &arrival.request_id,
        }
        .make(&mut fields, arrival.route.certificate_fields, arrival.forwarded);
        if turn == Turn::Last {
            fields.set(&CONNECTION, "close");
        }
        if Outgoing::of(self.body) == Outgoing::InChunks {
            fields.set(&TRANSFER_ENCODING, "chunked");
        }
        if let Some(host) = &self.forward.host {
            fields.set(&HOST, host);
        }
        if !chain.request_edits.is_empty() {
            filters::apply(&chain.request_edits, &mut fields, &arrival.facts(record, self.upstream()));
        }
        // HTTP/1.1 cannot be without (RFC 9112 §3.2).
        if !fields.contains(&HOST) {
            fields.set(&HOST, host);
        }
        for part in [head.method, " ", &self.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        fields.write(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Waits for the answer's head, and passes it on.
    async fn answer_begins<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        attempts: &mut Attempts,
        record: &mut RequestRecord,
        has_spoken: &mut bool,
        after: &(dyn Fn() -> After + Sync),
    ) -> Result<Answer, Broken> {
        loop {
            if exchange.receive().await? == 0 {
                return Err(Broken::Reset);
            }
            while !exchange.buffer.is_empty() {
                let reply = match Reply::parse(exchange.buffer.filled(), self.arrival.head.method) {
                    Ok(reply) => reply,
                    Err(Unread::Partial) if exchange.buffer.filled().len() <= LARGEST => break,
                    Err(Unread::Partial | Unread::Wrong) => return Err(Broken::Protocol),
                };
                let (status, length) = (reply.status, reply.length);
                if (100..200).contains(&status) {
                    // Nobody has asked for another protocol.
                    if status == 101 {
                        return Err(Broken::Protocol);
                    }
                    *has_spoken |= exchange.client.inform(&reply);
                    drop(reply);
                    exchange.buffer.consume(length);
                    exchange.flush().await?;
                    continue;
                }
                if let Some(upload) = &exchange.upload {
                    attempts.sent = upload.sent_at();
                }
                let now = attempts.answered(status);
                if self.is_to_be_tried_elsewhere(status, attempts, exchange.upload.as_deref(), *has_spoken) {
                    return Ok(Answer::Elsewhere);
                }
                record.first_byte = Some(now - record.started);
                record.status = status;
                // What the client still sends of it, though nobody wants it any more, is no other request.
                let had_all = exchange.upload.as_deref().is_none_or(Upload::is_whole);
                let client = if had_all { after() } else { After::Close };
                let begun = Begun { framing: reply.framing, client, upstream: reply.after, had_all };
                let head = reply.edited(|head| self.edit(head, attempts, record));
                exchange.client.begin(head, client).map_err(|Unsendable| Broken::Protocol)?;
                exchange.buffer.consume(length);
                return Ok(Answer::Begun(begun));
            }
        }
    }

    /// A yes is spent.
    fn is_to_be_tried_elsewhere(
        &self,
        status: u16,
        attempts: &mut Attempts,
        upload: Option<&Upload>,
        has_spoken: bool,
    ) -> bool {
        let condition = RetryOn::Status(status);
        !has_spoken
            && self.forward.retry.on.contains(&condition)
            && attempts.may_try_again(self.forward, condition, Sent::Something, self.may_replay(upload))
    }

    fn edit(&self, head: &mut ResponseFields<'_>, attempts: &Attempts, record: &RequestRecord) {
        let chain = &self.arrival.route.chain;
        if let Some(lease) = &attempts.lease
            && let Some(cookie) = self.affinity.cookie(
                &self.forward.upstream,
                lease.endpoint(),
                &attempts.tried,
                self.arrival.client.scheme,
            )
            && let Ok(cookie) = HeaderValue::try_from(cookie)
        {
            head.add(&SET_COOKIE, cookie);
        }
        if filters::edits(chain) {
            let facts = self.arrival.facts(record, self.upstream());
            filters::edit(chain, head, &facts, Some(SystemTime::now()));
        }
    }
}

enum Answer {
    Begun(Begun),
    /// What came is not shown: another endpoint may know better.
    Elsewhere,
}
