//! HTTP/2: a client that chooses its SNI and its `:authority`, and an origin that also speaks gRPC.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates::{Identity, TlsClient};
use super::ports::free_address;
use super::wait::{block_on, eventually, runtime};

/// A message as gRPC frames it: no compression, its length, itself.
pub fn grpc_message(payload: &[u8]) -> Bytes {
    let length = u32::try_from(payload.len()).expect("a small message");
    [&[0][..], &length.to_be_bytes(), payload].concat().into()
}

/// One connection. Dropped: closed.
pub struct H2Client {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

#[derive(Debug)]
pub struct H2Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

/// A request under way, both directions open.
pub struct H2Stream {
    send: SendStream<Bytes>,
    receive: Receiving,
}

enum Receiving {
    Head(ResponseFuture),
    Body(http::response::Parts, RecvStream),
}

#[derive(Clone, Copy, PartialEq)]
enum Body {
    None,
    Follows,
}

impl H2Client {
    /// Plain TCP with prior knowledge (h2c).
    #[track_caller]
    pub fn plain(to: SocketAddr) -> H2Client {
        let stream = block_on(TcpStream::connect(to)).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self::over(stream, "http")
    }

    /// With a window of so many bytes for each stream.
    #[track_caller]
    pub fn narrow(to: SocketAddr, window: u32) -> H2Client {
        let stream = block_on(TcpStream::connect(to)).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (sender, connection) = block_on(builder.handshake(stream)).expect("an h2 connection");
        H2Client { sender, connection: runtime().spawn(connection), scheme: "http" }
    }

    /// Over TLS; `client` must offer `h2`.
    #[track_caller]
    pub fn tls(to: SocketAddr, server_name: &str, client: &TlsClient) -> H2Client {
        let connector = TlsConnector::from(client.config.clone());
        let name = ServerName::try_from(server_name.to_owned()).expect("a server name");
        let stream = block_on(async {
            let tcp = TcpStream::connect(to).await?;
            // As every client does: what follows a small head need not wait until that is acknowledged.
            tcp.set_nodelay(true)?;
            connector.connect(name, tcp).await
        });
        let stream = stream.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "h2 is agreed on");
        Self::over(stream, "https")
    }

    #[track_caller]
    fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, scheme: &'static str) -> H2Client {
        let (sender, connection) = block_on(h2::client::handshake(stream)).expect("an h2 connection");
        H2Client { sender, connection: runtime().spawn(connection), scheme }
    }

    #[track_caller]
    pub fn get(&mut self, authority: &str, path: &str) -> H2Response {
        self.send("GET", authority, path, &[], None)
    }

    #[track_caller]
    pub fn send(
        &mut self,
        method: &str,
        authority: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> H2Response {
        match self.try_send(method, authority, path, headers, body) {
            Ok(response) => response,
            Err(error) => panic!("{method} {authority}{path} got no answer: {error}"),
        }
    }

    pub fn try_send(
        &mut self,
        method: &str,
        authority: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<H2Response, h2::Error> {
        let request = self.head(method, authority, path, headers);
        block_on(async {
            let mut sender = self.sender.clone().ready().await?;
            let (response, mut send) = sender.send_request(request, body.is_none())?;
            if let Some(body) = body {
                // A server that has answered already may have reset the stream: the answer tells.
                let _ = send.send_data(body, true);
            }
            collect(response.await?).await
        })
    }

    /// Sends the head alone; the body follows piece by piece.
    #[track_caller]
    pub fn open_stream(&mut self, method: &str, authority: &str, path: &str, headers: &[(&str, &str)]) -> H2Stream {
        self.open(self.head(method, authority, path, headers), Body::Follows)
    }

    /// A GET, whose answer is waited for later.
    #[track_caller]
    pub fn begin_get(&mut self, authority: &str, path: &str) -> H2Stream {
        self.open(self.head("GET", authority, path, &[]), Body::None)
    }

    #[track_caller]
    fn open(&mut self, request: Request<()>, body: Body) -> H2Stream {
        block_on(async {
            let mut sender = self.sender.clone().ready().await.expect("the connection is open");
            let (response, send) = sender.send_request(request, body == Body::None).expect("a stream");
            H2Stream { send, receive: Receiving::Head(response) }
        })
    }

    /// Asks for a WebSocket on a stream (RFC 8441).
    #[track_caller]
    pub fn open_websocket(&mut self, authority: &str, path: &str) -> H2Stream {
        self.open_tunnel("websocket", authority, path)
    }

    /// Extended CONNECT, once the server has said that it knows it.
    #[track_caller]
    pub fn open_tunnel(&mut self, protocol: &'static str, authority: &str, path: &str) -> H2Stream {
        self.open_tunnel_with(protocol, authority, path, &[])
    }

    /// The same, with these fields beside those of the handshake.
    #[track_caller]
    pub fn open_tunnel_with(
        &mut self,
        protocol: &'static str,
        authority: &str,
        path: &str,
        more: &[(&str, &str)],
    ) -> H2Stream {
        eventually("the server's SETTINGS allow extended CONNECT", || {
            self.sender.is_extended_connect_protocol_enabled().then_some(())
        });
        let fields = [&[("sec-websocket-version", "13")], more].concat();
        let mut request = self.head("CONNECT", authority, path, &fields);
        request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
        self.open(request, Body::Follows)
    }

    /// How many streams the server lets this connection have open at one time.
    pub fn max_streams(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// Waits until the server has closed the connection, and says whether it did so in order (GOAWAY without error).
    #[track_caller]
    pub fn closed_in_order(mut self) -> bool {
        let connection = &mut self.connection;
        block_on(connection).expect("the connection task does not panic").is_ok()
    }

    fn head(&self, method: &str, authority: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let uri = format!("{}://{authority}{path}", self.scheme);
        let builder = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).expect("a request")
    }
}

impl Drop for H2Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl H2Response {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name).map(|value| value.to_str().expect("text"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl H2Stream {
    #[track_caller]
    pub fn send(&mut self, bytes: Bytes) {
        self.send.send_data(bytes, false).expect("the stream is open");
    }

    #[track_caller]
    pub fn finish(&mut self) {
        self.send.send_data(Bytes::new(), true).expect("the stream is open");
    }

    /// Ends the body with a trailer.
    #[track_caller]
    pub fn finish_with_trailer(&mut self, name: &'static str, value: &'static str) {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        self.send.send_trailers(trailers).expect("the stream is open");
    }

    /// Gives the request up.
    pub fn cancel(mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }

    #[track_caller]
    pub fn status(&mut self) -> u16 {
        self.head().0
    }

    #[track_caller]
    pub fn header(&mut self, name: &str) -> Option<String> {
        self.head().1.get(name).map(|value| value.to_str().expect("text").to_owned())
    }

    /// Waits until the server has given the stream up, and says why.
    #[track_caller]
    pub fn reset_by_server(&mut self) -> h2::Reason {
        block_on(std::future::poll_fn(|cx| self.send.poll_reset(cx))).expect("a RST_STREAM")
    }

    /// Everything that is left of the answer's body.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let mut text = Vec::new();
        while let Some(piece) = self.receive() {
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).expect("text")
    }

    /// The bytes that go each way, as a stream of them; it ends where the other side's do.
    pub fn into_io(mut self) -> DuplexStream {
        self.status();
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        runtime().spawn(self.carry(theirs));
        ours
    }

    async fn carry(self, io: DuplexStream) -> Result<(), h2::Error> {
        let Receiving::Body(_, mut receive) = self.receive else { unreachable!("the head was read") };
        let (mut send, (mut read, mut write)) = (self.send, tokio::io::split(io));
        let up = async {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(n @ 1..) = read.read(&mut buffer).await {
                send_whole(&mut send, Bytes::copy_from_slice(&buffer[..n])).await?;
            }
            send.send_data(Bytes::new(), true)
        };
        let down = async {
            while let Some(piece) = receive.data().await {
                let piece = piece?;
                let _ = receive.flow_control().release_capacity(piece.len());
                if write.write_all(&piece).await.is_err() {
                    break;
                }
            }
            let _ = write.shutdown().await;
            Ok(())
        };
        tokio::try_join!(up, down).map(drop)
    }

    /// The next piece of the answer's body.
    #[track_caller]
    pub fn receive(&mut self) -> Option<Bytes> {
        let body = self.body();
        let piece = block_on(body.data())?.expect("the stream is open");
        let _ = body.flow_control().release_capacity(piece.len());
        Some(piece)
    }

    /// The error that the answer's body ends with.
    #[track_caller]
    pub fn broken(&mut self) -> h2::Error {
        let body = self.body();
        loop {
            match block_on(body.data()) {
                Some(Ok(piece)) => drop(body.flow_control().release_capacity(piece.len())),
                Some(Err(error)) => return error,
                None => panic!("the answer ends as if it were whole"),
            }
        }
    }

    #[track_caller]
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        let body = self.body();
        block_on(body.trailers()).expect("the stream ends in order")
    }

    #[track_caller]
    fn body(&mut self) -> &mut RecvStream {
        self.head();
        match &mut self.receive {
            Receiving::Body(_, body) => body,
            Receiving::Head(_) => unreachable!("the head was read above"),
        }
    }

    #[track_caller]
    fn head(&mut self) -> (u16, &HeaderMap) {
        if let Receiving::Head(response) = &mut self.receive {
            let (head, body) = block_on(response).expect("an answer").into_parts();
            self.receive = Receiving::Body(head, body);
        }
        match &self.receive {
            Receiving::Body(head, _) => (head.status.as_u16(), &head.headers),
            Receiving::Head(_) => unreachable!("the head was read above"),
        }
    }
}

/// As fast as the other side takes it.
async fn send_whole(send: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let Some(n) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { break };
        let n = n?.min(data.len());
        send.send_data(data.split_to(n), false)?;
    }
    Ok(())
}

async fn collect(response: Response<RecvStream>) -> Result<H2Response, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?;
    Ok(H2Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

/// Speaks HTTP/2 only: gRPC health checks, and the methods of an `echo.Echo`:
/// - `Unary` and `Stream` send back what comes, at its end or at once,
/// - `Repeat` sends ten messages for what came,
/// - `Fail` answers with trailers alone,
/// - `Hold` sends one message and then nothing, until it is cancelled,
/// - `Break` sends one message and then resets the stream.
///
/// Anything else is answered with its method and path.
pub struct H2Origin {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    unhealthy: AtomicBool,
    heads: Mutex<Vec<http::request::Parts>>,
    connections: AtomicUsize,
    cancelled: AtomicUsize,
}

impl H2Origin {
    /// With prior knowledge over TCP.
    pub fn plain() -> H2Origin {
        Self::start(None)
    }

    /// Over TLS, agreed on by ALPN.
    pub fn tls(identity: &Identity) -> H2Origin {
        Self::start(Some(TlsAcceptor::from(Arc::new(identity.server_config(&[b"h2"])))))
    }

    fn start(tls: Option<TlsAcceptor>) -> H2Origin {
        let address = free_address();
        let listener = block_on(TcpListener::bind(address)).expect("the port is free");
        let state = Arc::new(State::default());
        let accepting = runtime().spawn({
            let state = state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (state, tls) = (state.clone(), tls.clone());
                    tokio::spawn(async move {
                        state.connections.fetch_add(1, Ordering::SeqCst);
                        match tls {
                            None => serve(stream, state).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serve(stream, state).await,
                                Err(_) => Ok(()),
                            },
                        }
                    });
                }
            }
        });
        H2Origin { address, state, accepting }
    }

    /// What its gRPC health check says from now on.
    pub fn set_serving(&self, serving: bool) {
        self.state.unhealthy.store(!serving, Ordering::SeqCst);
    }

    /// The heads of all requests but health checks.
    pub fn received(&self) -> Vec<http::request::Parts> {
        self.state.heads.lock().expect("no panic while held").clone()
    }

    pub fn connection_count(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Calls that were given up with a RST_STREAM whose reason is CANCEL.
    pub fn cancelled_count(&self) -> usize {
        self.state.cancelled.load(Ordering::SeqCst)
    }
}

impl State {
    fn count_cancel(&self, reason: Option<h2::Reason>) {
        if reason == Some(h2::Reason::CANCEL) {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(io).await?;
    while let Some(stream) = connection.accept().await {
        let (request, respond) = stream?;
        tokio::spawn(answer(request, respond, state.clone()));
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: Arc<State>,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path == "/grpc.health.v1.Health/Check" {
        // HealthCheckResponse.status: 1 is SERVING, 2 NOT_SERVING.
        let status = if state.unhealthy.load(Ordering::SeqCst) { 2 } else { 1 };
        return grpc_answer(&mut respond, vec![grpc_message(&[0x08, status])]).await;
    }
    state.heads.lock().expect("no panic while held").push(head.clone());
    match path.as_str() {
        "/echo.Echo/Fail" => {
            let refused = grpc_head().header("grpc-status", "7").header("grpc-message", "no").body(());
            respond.send_response(refused.expect("a response"), true).map(drop)
        }
        "/echo.Echo/Stream" => {
            let mut send = respond.send_response(grpc_head().body(()).expect("a response"), false)?;
            while let Some(piece) = body.data().await {
                let piece = piece.inspect_err(|error| state.count_cancel(error.reason()))?;
                let _ = body.flow_control().release_capacity(piece.len());
                send.send_data(piece, false)?;
            }
            send.send_trailers(grpc_ok())
        }
        "/echo.Echo/Repeat" => {
            let message = body.data().await.expect("a message")?;
            grpc_answer(&mut respond, vec![message; 10]).await
        }
        "/echo.Echo/Hold" => {
            let mut send = respond.send_response(grpc_head().body(()).expect("a response"), false)?;
            send.send_data(grpc_message(b"first"), false)?;
            let reason = std::future::poll_fn(|cx| send.poll_reset(cx)).await?;
            state.count_cancel(Some(reason));
            Ok(())
        }
        "/echo.Echo/Break" => {
            let mut send = respond.send_response(grpc_head().body(()).expect("a response"), false)?;
            send.send_data(grpc_message(b"first"), false)?;
            // Only once that is on its way: a reset overtakes what waits.
            let _ = body.data().await;
            send.send_reset(h2::Reason::INTERNAL_ERROR);
            Ok(())
        }
        "/echo.Echo/Unary" => {
            let mut pieces = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece?;
                let _ = body.flow_control().release_capacity(piece.len());
                pieces.push(piece);
            }
            grpc_answer(&mut respond, pieces).await
        }
        _ => {
            let text = format!("h2 {} {path}", head.method);
            let mut send = respond.send_response(Response::new(()), false)?;
            send.send_data(text.into(), true)
        }
    }
}

async fn grpc_answer(respond: &mut SendResponse<Bytes>, pieces: Vec<Bytes>) -> Result<(), h2::Error> {
    let mut send = respond.send_response(grpc_head().body(()).expect("a response"), false)?;
    for piece in pieces {
        send.send_data(piece, false)?;
    }
    send.send_trailers(grpc_ok())
}

fn grpc_head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

fn grpc_ok() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}
