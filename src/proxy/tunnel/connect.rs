//! A connection to one of an upstream's endpoints: others are tried while none could be made.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::{HashKey, LbPolicy, Retry, RetryOn};
use crate::proxy::upstream_stream::{OpenFailed, UpstreamStream};
use crate::snapshot::tunnel::Tunnel;
use crate::snapshot::upstream::{Endpoint, Lease, Outcome, PickError, PickRequest, address_key};
use crate::telemetry::record::UpstreamConnection;
use crate::telemetry::session::{SessionEnd, SessionRecord};

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
    let upstream = &tunnel.to.upstream;
    let tls = tunnel.tls.as_ref().map(|config| (config, upstream.server_name(endpoint).unwrap_or_default()));
    UpstreamStream::open(endpoint.address, tls).await.map_err(|failed| {
        tracing::debug!(upstream = tunnel.to.name(), endpoint = %endpoint.address, error = %failed, "no connection");
        match failed {
            OpenFailed::Connect(_) => SessionEnd::ConnectFailed,
            OpenFailed::Tls(_) => SessionEnd::TlsFailed,
        }
    })
}
