//! A stream as Pingora's proxy sees it, where Pingora's own session for it does not do.
//!
//! ```text
//! HttpSession (Pingora's, for HTTP/2) ──► Exchange ──► HttpProxy
//!      body ──────────── body-timeout ─────►   read error: 408
//!      extended CONNECT ─ as GET, Upgrade ─►   routed, balanced, retried and logged as on HTTP/1
//!      200, DATA ◄─────── 101, its bytes ──    (RFC 8441)
//! ```
//!
//! Requests without a body, most of them, never come here.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v2::server::HttpSession;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::proxy::pace::{Direction, Paces};
use crate::proxy::spooling::Kept;

/// As large as what comes from a client at once.
const KEPT_PIECE: usize = 16 << 10;

pub struct Exchange {
    inner: HttpSession,
    tunnel: Tunnel,
    /// The client has all it will get.
    answered: bool,
    read_timeout: Option<Duration>,
    wait: Wait,
    /// Where some route bounds the bandwidth. Whoever finds out whether this one's does has it from the request's extensions.
    paces: Option<Arc<Paces>>,
    /// The body, where it was waited for. Whoever waits puts it there, through the request's extensions.
    kept: Option<Arc<Kept>>,
}

/// What an extended CONNECT is at.
enum Tunnel {
    /// It is an ordinary request.
    None,
    Asked,
    /// With the upstream's 101, which the client has as a 200.
    Open(Box<ResponseHeader>),
}

type MessageReader = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

impl Exchange {
    pub fn is_needed_for(session: &HttpSession) -> bool {
        !session.is_body_empty() || is_websocket(session.req_header())
    }

    pub fn new(mut inner: HttpSession, body_timeout: Duration, paces: Option<Arc<Paces>>) -> Self {
        if let Some(paces) = &paces {
            inner.req_header_mut().extensions_mut().insert(paces.clone());
        }
        let kept = (!inner.is_body_empty()).then(Arc::<Kept>::default);
        if let Some(kept) = &kept {
            inner.req_header_mut().extensions_mut().insert(kept.clone());
        }
        let tunnel = if is_websocket(inner.req_header()) {
            become_upgrade(inner.req_header_mut());
            Tunnel::Asked
        } else {
            Tunnel::None
        };
        inner.set_total_drain_timeout(Some(body_timeout));
        Self { inner, tunnel, answered: false, read_timeout: Some(body_timeout), wait: Wait::default(), paces, kept }
    }

    /// While an answer flows the exchange is a conversation, as a gRPC stream is: the upstream's timeouts bound it,
    /// and the client may listen.
    fn patience(&self) -> Option<Duration> {
        let bounded = match self.tunnel {
            Tunnel::Open(_) => true,
            Tunnel::None | Tunnel::Asked => self.answered || self.inner.response_written().is_none(),
        };
        self.read_timeout.filter(|_| bounded)
    }

    /// As much at a time as may go.
    async fn write_paced(&mut self, paces: &Paces, mut data: Bytes, end: bool) -> Result<()> {
        while !data.is_empty() {
            let allowed = poll_fn(|cx| paces.poll(Direction::Response, cx, data.len())).await;
            let piece = data.split_to(allowed);
            paces.spend(Direction::Response, piece.len());
            self.inner.write_body(piece, end && data.is_empty()).await?;
        }
        Ok(())
    }

    /// Whether that was all.
    async fn respond_paced(&mut self, paces: &Paces, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut ended = false;
        for task in tasks {
            ended |= match task {
                HttpTask::Body(Some(data), end) if !data.is_empty() => {
                    self.write_paced(paces, data, end).await.map_err(Error::into_down)?;
                    end && self.inner.response_duplex_vec(vec![HttpTask::Done]).await?
                }
                other => self.inner.response_duplex_vec(vec![other]).await?,
            };
        }
        Ok(ended)
    }

    /// Into what an HTTP/2 client can be sent.
    fn translate(&mut self, task: HttpTask) -> HttpTask {
        match task {
            HttpTask::Header(head, end) => HttpTask::Header(self.translate_head(head), end),
            HttpTask::UpgradedBody(data, end) => HttpTask::Body(data, end),
            other => other,
        }
    }

    fn translate_head(&mut self, head: Box<ResponseHeader>) -> Box<ResponseHeader> {
        if !matches!(self.tunnel, Tunnel::Asked) {
            return head;
        }
        if head.status.is_success() {
            return not_opened(head);
        }
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return head;
        }
        let mut opened = head.clone();
        // It answers the key that Weir made up; `Upgrade` and `Connection` go with all of their kind.
        opened.remove_header(&SEC_WEBSOCKET_ACCEPT);
        // Fails only for what is no status.
        let _ = opened.set_status(StatusCode::OK);
        self.tunnel = Tunnel::Open(head);
        opened
    }
}

/// A success would open the tunnel in the client's eyes (RFC 8441 §5), and nobody is at its other end.
fn not_opened(mut head: Box<ResponseHeader>) -> Box<ResponseHeader> {
    // Fails only for what is no status.
    let _ = head.set_status(StatusCode::BAD_GATEWAY);
    head
}

/// The next piece that is not empty. Pingora would send an empty one on as the chunk that ends a body.
async fn read_content(session: &mut HttpSession) -> Result<Option<Bytes>> {
    loop {
        match session.read_body_bytes().await? {
            Some(piece) if piece.is_empty() => {}
            piece => return Ok(piece),
        }
    }
}

/// RFC 8441. Other protocols are none that an HTTP/1 upgrade could carry on.
fn is_websocket(request: &RequestHeader) -> bool {
    request.method == Method::CONNECT
        && request.extensions.get::<h2::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// The handshake that an HTTP/1 client would have sent (RFC 8441 §5).
fn become_upgrade(request: &mut RequestHeader) {
    request.set_method(Method::GET);
    request.set_version(Version::HTTP_11);
    // What comes through the tunnel is no body (RFC 9110 §9.3.6): an upstream that waited for one would take the connection's next
    // request for it.
    for name in [CONTENT_LENGTH, EXPECT] {
        request.remove_header(&name);
    }
    let host = request.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let fields = [
        (HOST, host),
        (CONNECTION, Some(HeaderValue::from_static("Upgrade"))),
        (UPGRADE, Some(HeaderValue::from_static("websocket"))),
        // The key proves nothing to anybody but a cache between Weir and the upstream, of which there is none.
        (SEC_WEBSOCKET_KEY, Some(HeaderValue::from_static("d2VpciBzcGVha3MgaDI="))),
    ];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        // Fails only beyond 32,768 fields.
        let _ = request.insert_header(name, value);
    }
}

/// How long the client has been awaited. One timer for the life of a body, which is looked at again only when it
/// fires: a piece that comes in time costs no more than a store.
#[derive(Default)]
struct Wait {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Ready when it has lasted for too long.
    fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let Some(end) = self.since.get_or_insert_with(Instant::now).checked_add(limit) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[async_trait]
impl Session for Exchange {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if let Some(piece) = self.kept.as_ref().and_then(|kept| kept.take(KEPT_PIECE)) {
            return piece
                .map(Some)
                .map_err(|error| Error::because(ErrorType::InternalError, "a kept body is lost", error));
        }
        if let Some(paces) = self.paces.as_ref().filter(|paces| paces.any()) {
            // A byte is as good as a piece: what came is taken as a whole, and the next waits for it.
            poll_fn(|cx| paces.poll(Direction::Request, cx, usize::MAX)).await;
        }
        let (limit, wait) = (self.patience(), &mut self.wait);
        let mut read = std::pin::pin!(read_content(&mut self.inner));
        let piece = poll_fn(|cx| match (read.as_mut().poll(cx), limit) {
            (Poll::Pending, Some(limit)) => wait.poll(cx, limit).map(|()| {
                let error = Error::explain(ErrorType::ReadTimedout, "the client stopped sending");
                Err(error.into_down())
            }),
            (polled, _) => polled,
        })
        .await;
        if let (Some(since), Some(kept)) = (self.wait.since.take(), &self.kept) {
            kept.waited.fetch_add(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        if let (Some(paces), Ok(Some(piece))) = (&self.paces, &piece) {
            paces.spend(Direction::Request, piece.len());
        }
        piece
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.is_body_done() {
            return self.inner.read_body_or_idle(true).await;
        }
        self.read_body_bytes().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner.drain_request_body().await
    }

    /// Behind an extended CONNECT there is nothing of a request until the tunnel is open.
    fn is_body_done(&mut self) -> bool {
        match self.tunnel {
            Tunnel::None => self.inner.is_body_done() && self.kept.as_ref().is_none_or(|kept| kept.is_drained()),
            Tunnel::Asked => true,
            Tunnel::Open(_) => self.answered || self.inner.is_body_done(),
        }
    }

    fn is_body_empty(&mut self) -> bool {
        !matches!(self.tunnel, Tunnel::None) || self.inner.is_body_empty()
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        let head = self.translate_head(head);
        self.answered |= end;
        self.inner.write_response_header(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(head.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.answered |= end;
        match self.paces.clone().filter(|paces| paces.any()) {
            Some(paces) => self.write_paced(&paces, data, end).await,
            None => self.inner.write_body(data, end).await,
        }
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.answered = true;
        self.inner.write_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        for task in &mut tasks {
            *task = self.translate(std::mem::replace(task, HttpTask::Done));
        }
        let end = match self.paces.clone().filter(|paces| paces.any()) {
            Some(paces) => self.respond_paced(&paces, tasks).await?,
            None => self.inner.response_duplex_vec(tasks).await?,
        };
        self.answered |= end;
        Ok(end)
    }

    async fn finish(&mut self) -> Result<()> {
        self.answered = true;
        self.inner.finish()
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
        self.wait = Wait::default();
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    /// For a tunnel the 101: in logs and metrics a WebSocket is one, whatever carries it.
    fn response_written(&self) -> Option<&ResponseHeader> {
        match &self.tunnel {
            Tunnel::Open(head) => Some(head),
            Tunnel::None | Tunnel::Asked => self.inner.response_written(),
        }
    }

    async fn shutdown(&mut self, code: u32, _ctx: &str) {
        self.inner.shutdown_with_reason(h2::Reason::from(code));
    }

    async fn abandon(&mut self, _ctx: &str) {
        self.inner.shutdown();
    }

    fn is_upgrade_req(&self) -> bool {
        !matches!(self.tunnel, Tunnel::None)
    }

    fn was_upgraded(&self) -> bool {
        matches!(self.tunnel, Tunnel::Open(_))
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.pseudo_raw_h1_request_header()
    }

    /// What goes through a tunnel is never sent twice.
    fn enable_retry_buffering(&mut self) {
        if matches!(self.tunnel, Tunnel::None) {
            self.inner.enable_retry_buffering();
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        // What was kept has been read once already.
        self.inner.retry_buffer_truncated() || self.kept.as_ref().is_some_and(|kept| kept.was_used())
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.inner.get_retry_buffer()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    // HTTP/2 has no messages beside the body.

    fn take_custom_message_reader(&mut self) -> Option<MessageReader> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: MessageReader) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
