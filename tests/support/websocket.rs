//! A WebSocket origin that sends back what it gets, and a client for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use super::certificates::TlsClient;
use super::http2::H2Client;
use super::ports::{free_address, listen};
use super::wait::{block_on, runtime};

/// Echoes text and binary messages.
pub struct WebSocketOrigin {
    pub address: SocketAddr,
    open: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<Request>>>,
    accepting: JoinHandle<()>,
}

impl WebSocketOrigin {
    pub fn start() -> WebSocketOrigin {
        Self::start_at(free_address())
    }

    pub fn start_at(address: SocketAddr) -> WebSocketOrigin {
        let listener = block_on(async move {
            let listener = listen(address);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .expect("the listener can be waited on");
        let (open, heads) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let accepting = runtime().spawn({
            let (open, heads) = (open.clone(), heads.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (open, heads) = (open.clone(), heads.clone());
                    tokio::spawn(async move {
                        open.fetch_add(1, Ordering::SeqCst);
                        let _ = echo(stream, &heads).await;
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        WebSocketOrigin { address, open, heads, accepting }
    }

    /// Connections that are open now.
    pub fn open_count(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// The handshakes that arrived.
    pub fn handshakes(&self) -> Vec<Request> {
        self.heads.lock().expect("no panic while held").clone()
    }
}

impl Drop for WebSocketOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// The size of the error type is the library's choice.
#[allow(clippy::result_large_err)]
async fn echo(stream: TcpStream, heads: &Mutex<Vec<Request>>) -> Result<(), Error> {
    let keep = |request: &Request, response: Response| {
        heads.lock().expect("no panic while held").push(request.clone());
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, keep).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

pub struct WebSocket {
    socket: WebSocketStream<Box<dyn Stream>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl WebSocket {
    #[track_caller]
    pub fn open(to: SocketAddr, host: &str, path: &str) -> WebSocket {
        match Self::try_open(to, host, path) {
            Ok(socket) => socket,
            Err(error) => panic!("no WebSocket at {to}{path}: {error}"),
        }
    }

    pub fn try_open(to: SocketAddr, host: &str, path: &str) -> Result<WebSocket, Box<Error>> {
        let request = format!("ws://{host}{path}").into_client_request()?;
        let socket = block_on(async {
            let stream: Box<dyn Stream> = Box::new(TcpStream::connect(to).await?);
            client_async(request, stream).await
        });
        Ok(WebSocket { socket: socket.map_err(Box::new)?.0 })
    }

    #[track_caller]
    pub fn open_tls(to: SocketAddr, host: &str, path: &str, client: &TlsClient) -> WebSocket {
        let request = format!("wss://{host}{path}").into_client_request().expect("a URL");
        let name = ServerName::try_from(host.to_owned()).expect("a server name");
        let connector = TlsConnector::from(client.config.clone());
        let socket = block_on(async {
            let stream: Box<dyn Stream> = Box::new(connector.connect(name, TcpStream::connect(to).await?).await?);
            client_async(request, stream).await
        });
        WebSocket { socket: socket.expect("a WebSocket over TLS").0 }
    }

    /// On a stream of an HTTP/2 connection.
    #[track_caller]
    pub fn over_h2(client: &mut H2Client, host: &str, path: &str) -> WebSocket {
        let mut stream = client.open_websocket(host, path);
        assert_eq!(stream.status(), 200, "a tunnel to {host}{path}");
        let stream: Box<dyn Stream> = Box::new(stream.into_io());
        WebSocket { socket: block_on(WebSocketStream::from_raw_socket(stream, Role::Client, None)) }
    }

    #[track_caller]
    pub fn send(&mut self, text: &str) {
        block_on(self.socket.send(Message::text(text))).expect("the socket is open");
    }

    #[track_caller]
    pub fn send_binary(&mut self, bytes: Vec<u8>) {
        block_on(self.socket.send(Message::binary(bytes))).expect("the socket is open");
    }

    #[track_caller]
    pub fn receive(&mut self) -> Message {
        block_on(self.socket.next()).expect("the socket is open").expect("a message")
    }

    /// Sends and expects the same back.
    #[track_caller]
    pub fn assert_echoes(&mut self, text: &str) {
        self.send(text);
        assert_eq!(self.receive(), Message::text(text));
    }

    /// Closes as the protocol says, and waits for the other side to do so.
    pub fn close(mut self) {
        let _ = block_on(self.socket.close(None));
        while let Some(Ok(_)) = block_on(self.socket.next()) {}
    }
}
