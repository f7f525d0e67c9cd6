//! `ssl-passthrough`: a host whose TLS ends at the backend of its path `/`.
//!
//! As in ingress-nginx the Ingress that brings a host decides, and over TLS its other annotations mean nothing. What is served
//! without TLS is served as ever.

use std::sync::Arc;

use super::backend::{Backend, Variant};
use super::context::Context;
use super::report::Reason;
use super::server::{Leads, Server};
use super::settings::SslPassthrough;
use crate::model::{HostName, Tunnel, UpstreamName};
use crate::sources::kube::annotations::Policy;
use crate::sources::kube::state::Ingress;

const KEY: &str = "ssl-passthrough";

/// What was meant for the backend alone is not read here because a flag is missing.
pub fn check(cx: &mut Context<'_>, ingress: &Arc<Ingress>, policy: &mut Policy) {
    if policy.ssl_passthrough && cx.settings.ssl_passthrough == SslPassthrough::Refuse {
        let message = "TLS is passed through with the flag --enable-ssl-passthrough alone";
        cx.warn(ingress, Reason::RouteClosed, cx.annotation(KEY), message);
        policy.close(message);
    }
}

/// None: TLS of the host ends here.
pub fn tunnel(cx: &mut Context<'_>, name: &HostName, server: &Server<'_>) -> Option<Tunnel> {
    if cx.settings.ssl_passthrough == SslPassthrough::Refuse {
        return None;
    }
    tell_who_cannot_ask(cx, name, server);
    let owner = server.opener.filter(|owner| owner.policy.ssl_passthrough)?;
    let root = server.locations.iter().find(|location| *location.path == *"/");
    let upstream = match root.map(|root| &root.leads) {
        Some(Leads::To(backend)) => upstream(cx, owner.ingress, backend),
        Some(Leads::Nowhere | Leads::Refused) | None => {
            let message = format!("{name} has no path /, whose backend TLS could be passed to: it is closed");
            cx.warn(owner.ingress, Reason::RouteClosed, cx.annotation(KEY), message);
            nowhere()
        }
    };
    let others = server.locations.iter().filter(|location| *location.path != *"/").count();
    if others > 0 {
        let message = format!("{name}: paths other than / are served without TLS alone");
        cx.warn(owner.ingress, Reason::UnsupportedAnnotation, cx.annotation(KEY), message);
    }
    Some(Tunnel { upstream, idle_timeout: cx.options.streams.timeout, send_proxy_protocol: None })
}

fn upstream(cx: &mut Context<'_>, ingress: &Ingress, backend: &Backend) -> UpstreamName {
    cx.upstreams.of(backend, &Variant::connections()).unwrap_or_else(|bad| {
        cx.warn(ingress, Reason::ServiceNotFound, cx.annotation(KEY), bad.in_words(backend));
        nowhere()
    })
}

/// Of no upstream: whoever is to be sent there is turned away.
fn nowhere() -> UpstreamName {
    UpstreamName::new("nowhere")
}

fn tell_who_cannot_ask(cx: &mut Context<'_>, name: &HostName, server: &Server<'_>) {
    let mut told: Vec<&Arc<Ingress>> = Vec::new();
    for owner in server.locations.iter().filter_map(|location| location.owner) {
        let is_opener = server.opener.is_some_and(|opener| Arc::ptr_eq(opener.ingress, owner.ingress));
        if !owner.policy.ssl_passthrough || is_opener || told.iter().any(|other| Arc::ptr_eq(other, owner.ingress)) {
            continue;
        }
        told.push(owner.ingress);
        let message = match server.opener {
            Some(opener) => format!("TLS of {name} is as the Ingress {} has it, which comes first", opener.ingress.key),
            None => "a rule without a host has no TLS of its own that could be passed through".to_owned(),
        };
        cx.warn(owner.ingress, Reason::Conflict, cx.annotation(KEY), message);
    }
}
