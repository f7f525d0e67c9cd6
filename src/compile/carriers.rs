//! Listeners that carry connections or datagrams, and hosts whose TLS ends elsewhere: each is bound to its upstream.

use std::sync::Arc;

use super::{Surroundings, Upstreams};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{self, ListenerName, Model, UpstreamName};
use crate::snapshot::tunnel::{Carriers, Datagrams, Destination, Tunnel};
use crate::tls::{UpstreamTlsMaterial, client_config};

/// Fails where an upstream's TLS material cannot be used.
pub fn carriers(
    model: &Model,
    upstreams: &Upstreams,
    surroundings: &Surroundings<'_>,
) -> Result<Carriers, Diagnostics> {
    let (mut carriers, mut found) = (Carriers::default(), Diagnostics::default());
    for listener in &model.tcp_listeners {
        match tunnel(&listener.name, &listener.tunnel, upstreams, surroundings) {
            Ok(tunnel) => carriers.tcp.extend(tunnel.map(|tunnel| (listener.name.clone(), tunnel))),
            Err(error) => found.push(error),
        }
    }
    for listener in &model.udp_listeners {
        let to = destination(&listener.name, &listener.upstream, upstreams, surroundings);
        let datagrams = to.map(|to| Arc::new(Datagrams { definition: listener.clone(), to }));
        carriers.udp.extend(datagrams.map(|datagrams| (listener.name.clone(), datagrams)));
    }
    if found.has_errors() { Err(found) } else { Ok(carriers) }
}

/// None where the upstream is lost: what should have gone there is closed.
pub fn tunnel(
    listener: &ListenerName,
    definition: &model::Tunnel,
    upstreams: &Upstreams,
    surroundings: &Surroundings<'_>,
) -> Result<Option<Arc<Tunnel>>, Diagnostic> {
    let Some(to) = destination(listener, &definition.upstream, upstreams, surroundings) else { return Ok(None) };
    let upstream = to.upstream.definition();
    let without = UpstreamTlsMaterial::default();
    let material = surroundings.upstream_tls.get(&upstream.name).unwrap_or(&without);
    let tls = upstream.tls.as_ref().map(|tls| client_config(tls, material, &[])).transpose();
    let tls = tls.map_err(|error| {
        Diagnostic::error(upstream.origin.clone(), format!("upstreams.{}.tls", upstream.name), error.to_string())
    })?;
    Ok(Some(Arc::new(Tunnel { definition: definition.clone(), listener: listener.clone(), to, tls })))
}

fn destination(
    listener: &ListenerName,
    upstream: &UpstreamName,
    upstreams: &Upstreams,
    surroundings: &Surroundings<'_>,
) -> Option<Destination> {
    Some(Destination {
        upstream: upstreams.get(upstream)?.clone(),
        metrics: surroundings.metrics.upstream(upstream),
        sessions: surroundings.metrics.sessions(listener, upstream),
    })
}
