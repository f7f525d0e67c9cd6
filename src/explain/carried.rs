//! What is carried on without being read: where a connection would go.

use std::net::IpAddr;
use std::time::Instant;

use super::{Candidate, Chosen, Explanation, Question, Unexplained, candidates};
use crate::model::{ProxyVersion, format_duration};
use crate::proxy::connection_key;
use crate::snapshot::Snapshot;
use crate::snapshot::tunnel::Tunnel;
use crate::snapshot::upstream::PickRequest;

/// A connection, of which nothing is known but where it comes from and to.
pub(super) fn explain(snapshot: &Snapshot, question: &Question, port: Option<u16>) -> Result<Explanation, Unexplained> {
    let listeners = || snapshot.model.tcp_listeners.iter();
    let listener = listeners().find(|listener| Some(listener.address.port()) == port);
    let tunnel = listener.and_then(|listener| Some((listener, snapshot.carriers.tcp.get(&listener.name)?)));
    let Some((listener, tunnel)) = tunnel else {
        let known: Vec<_> = listeners().map(|listener| listener.address.port().to_string()).collect();
        let known = if known.is_empty() { "none does".to_owned() } else { known.join(", ") };
        return Err(format!("no listener carries connections on that port; those that do: {known}").into());
    };
    Ok(Explanation {
        listener: Chosen { name: listener.name.to_string(), origin: listener.origin.clone() },
        host: None,
        path: String::new(),
        names: Vec::new(),
        routes: Vec::new(),
        route: None,
        filters: Vec::new(),
        limits: Vec::new(),
        notes: Vec::new(),
        action: in_words(tunnel),
        endpoints: endpoints(tunnel, question.from),
    })
}

pub(super) fn in_words(tunnel: &Tunnel) -> String {
    let (definition, upstream) = (&tunnel.definition, tunnel.to.upstream.definition());
    let idle = format_duration(definition.idle_timeout);
    let connect = format_duration(upstream.timeouts.connect);
    let told = match definition.send_proxy_protocol {
        None => "",
        Some(ProxyVersion::V1) => ", behind a PROXY header of version 1",
        Some(ProxyVersion::V2) => ", behind a PROXY header of version 2",
    };
    format!("carried to upstream {} as it comes{told} (timeouts: connect {connect}, idle {idle})", upstream.name)
}

pub(super) fn endpoints(tunnel: &Tunnel, client: IpAddr) -> Vec<Candidate> {
    let key = connection_key(&tunnel.to.upstream.definition().balance, client);
    candidates(&tunnel.to.upstream, &PickRequest { now: Instant::now(), key, sticky: None, exclude: &[] })
}
