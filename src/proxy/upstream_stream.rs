//! A connection to an endpoint, in TLS where its upstream says so.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::socket::Socket;

pub enum UpstreamStream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
}

impl UpstreamStream {
    /// `tls`: with the name that is asked for; empty where there is none but the address.
    pub async fn open(address: SocketAddr, tls: Option<(&Arc<ClientConfig>, &str)>) -> Result<Self, OpenFailed> {
        let stream = Socket::connect(address).await.map_err(OpenFailed::Connect)?;
        // What is sent at once should arrive at once. Without it, it is late.
        let _ = stream.set_nodelay(true);
        let Some((config, name)) = tls else { return Ok(UpstreamStream::Plain(stream)) };
        let name = server_name(name, address).map_err(OpenFailed::Tls)?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await.map_err(OpenFailed::Tls)?;
        Ok(UpstreamStream::Tls(Box::new(stream)))
    }

    pub fn break_off(&self) {
        self.socket().break_off();
    }

    /// Whether something has come that the runtime was not told of yet: the end, most likely.
    pub fn has_news(&self) -> bool {
        !self.socket().peek().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn socket(&self) -> &Socket {
        match self {
            UpstreamStream::Plain(stream) => stream,
            UpstreamStream::Tls(stream) => stream.get_ref().0,
        }
    }
}

fn server_name(name: &str, address: SocketAddr) -> io::Result<ServerName<'static>> {
    // An address as a host stands in brackets.
    match name.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']') {
        "" => Ok(ServerName::from(address.ip())),
        name => ServerName::try_from(name.to_owned()).map_err(io::Error::other),
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            UpstreamStream::Plain(io) => Pin::new(io).poll_read(cx, buf),
            UpstreamStream::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            UpstreamStream::Plain(io) => Pin::new(io).poll_write(cx, data),
            UpstreamStream::Tls(io) => Pin::new(io).poll_write(cx, data),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            UpstreamStream::Plain(_) => Poll::Ready(Ok(())),
            UpstreamStream::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            UpstreamStream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            UpstreamStream::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
