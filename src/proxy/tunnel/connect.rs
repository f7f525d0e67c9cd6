//! A connection to one of an upstream's endpoints: others are tried while none could be made.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::{HashKey, LbPolicy, Retry, RetryOn};
use crate::snapshot::tunnel::Tunnel;
use crate::snapshot::upstream::{Endpoint, Lease, Outcome, PickError, PickRequest, address_key};
use crate::telemetry::record::UpstreamConnection;
use crate::telemetry::session::{SessionEnd, SessionRecord};

pub enum UpstreamStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The place at the endpoint is held for as long as the lease lives.
pub async fn connect(tunnel: &Tunnel, record: &mut SessionRecord<'_>) -> Result<(UpstreamStream, Lease), SessionEnd> {
    let upstream = &tunnel.to.upstream;
    let definition = upstream.definition();
    let (first, mut tried) = (Instant::now(), Vec::new());
    loop {
        let key = key(&definition.balance, record.client.ip());
        let pick = PickRequest { now: Instant::now(), key, sticky: None, exclude: &tried };
        let lease = upstream.acquire(&pick, None).await.map_err(|error| match error {
            PickError::NoEndpoints | PickError::AllUnhealthy => SessionEnd::NoEndpoint,
            PickError::Saturated(_) => SessionEnd::QueueOverflow,
        })?;
        let begun = Instant::now();
        record.endpoint = Some(lease.endpoint().address);
        let opened = tokio::time::timeout(definition.timeouts.connect, open(tunnel, lease.endpoint())).await;
        let (outcome, end) = match opened {
            Ok(Ok(stream)) => {
                let took = begun.elapsed();
                lease.report(Outcome::Connected { took }, Instant::now());
                tunnel.to.metrics.connected(UpstreamConnection::New { took });
                record.connect = Some(took);
                return Ok((stream, lease));
            }
            Ok(Err(end)) => (Outcome::ConnectFailed, end),
            Err(_) => (Outcome::TimedOut, SessionEnd::ConnectTimeout),
        };
        let address = lease.endpoint().address;
        lease.report(outcome, Instant::now());
        tracing::debug!(upstream = record.upstream, endpoint = %address, error = end.as_str(), "no connection");
        tried.push(address);
        if !may_try_again(&definition.retry, tried.len(), first.elapsed()) {
            return Err(end);
        }
        tunnel.to.metrics.retried();
        record.retries += 1;
    }
}

/// Nothing was sent: it costs nobody anything.
fn may_try_again(retry: &Retry, attempts: usize, since_first: Duration) -> bool {
    retry.on.contains(&RetryOn::Connect)
        && attempts < retry.attempts.get() as usize
        && retry.timeout.is_none_or(|limit| since_first < limit)
}

/// A connection has an address, and nothing else to be told apart by.
pub fn key(balance: &LbPolicy, client: IpAddr) -> Option<u64> {
    match balance {
        LbPolicy::Hash(key) | LbPolicy::HashSubset(key, _) => (*key == HashKey::ClientIp).then(|| address_key(client)),
        LbPolicy::RoundRobin | LbPolicy::LeastConnections | LbPolicy::PeakEwma | LbPolicy::Random => None,
    }
}

async fn open(tunnel: &Tunnel, endpoint: &Endpoint) -> Result<UpstreamStream, SessionEnd> {
    let stream = TcpStream::connect(endpoint.address).await.map_err(|_| SessionEnd::ConnectFailed)?;
    // What a client sends at once should arrive at once.
    let _ = stream.set_nodelay(true);
    match &tunnel.tls {
        None => Ok(UpstreamStream::Plain(stream)),
        Some(config) => handshake(tunnel, config, endpoint, stream).await.map_err(|error| {
            tracing::debug!(upstream = tunnel.to.name(), endpoint = %endpoint.address, %error, "no TLS");
            SessionEnd::TlsFailed
        }),
    }
}

async fn handshake(
    tunnel: &Tunnel,
    config: &Arc<ClientConfig>,
    endpoint: &Endpoint,
    stream: TcpStream,
) -> io::Result<UpstreamStream> {
    let own = tunnel.to.upstream.definition().tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let name = match own.or(endpoint.name.as_deref()) {
        Some(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()).map_err(io::Error::other)?,
        None => ServerName::from(endpoint.address.ip()),
    };
    let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
    Ok(UpstreamStream::Tls(Box::new(stream)))
}

impl UpstreamStream {
    pub fn break_off(&self) {
        match self {
            UpstreamStream::Plain(stream) => break_off(stream),
            UpstreamStream::Tls(stream) => break_off(stream.get_ref().0),
        }
    }
}

/// Its end is to be seen as no end that was meant.
pub fn break_off(stream: &TcpStream) {
    // A socket that is closed already is fine.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
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
