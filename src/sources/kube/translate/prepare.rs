//! One Ingress, ready to be laid out over hosts: what its annotations come to, whatever the host and the path.
//!
//! ```text
//! annotations ──► Policy ──options, Secrets, ConfigMaps──► Prepared { filters, variant, timeouts, … }
//! ```

use std::num::NonZeroU32;
use std::sync::Arc;

use super::backend::{self, AddressedBy, Reuse, Sent, Variant};
use super::context::{Context, annotation_path};
use super::report::Reason;
use super::{auth, cors, limits, mirror, passthrough, snippets};
use crate::model::{
    Bandwidth, BodyBuffer, ByteRate, ByteSize, Conditions, Filter, FilterKind, HeaderEdits, HeaderTemplate, LbPolicy,
    Logging, RequestBuffering, ResponseRewrite, Retry, RouteTimeouts, Satisfy, TemplatePart, UpstreamProtocol,
    Variable,
};
use crate::sources::kube::annotations::{self, Balance, Otherwise, Policy, Problem, Protocol};
use crate::sources::kube::snippet;
use crate::sources::kube::state::{Ingress, ObjectKey};

pub struct Prepared<'s> {
    pub ingress: &'s Arc<Ingress>,
    pub policy: Policy,
    /// Of every route but those that are closed or lead elsewhere.
    pub filters: Vec<Filter>,
    /// Who may come in; left out at the paths of `no-auth-locations`.
    pub auth: Vec<Filter>,
    pub cors: Option<Filter>,
    pub variant: Variant,
    /// How clients on TLS have their backend spoken with, where that is another way.
    pub on_tls: Option<Variant>,
    pub timeouts: RouteTimeouts,
    pub retry: Option<Retry>,
}

impl Prepared<'_> {
    /// Whether not everybody may come in.
    pub fn protects(&self) -> bool {
        let refuses = |filter: &Filter| matches!(filter.kind, FilterKind::Allow(_) | FilterKind::Deny(_));
        self.policy.closed.is_some() || !self.auth.is_empty() || self.filters.iter().any(refuses)
    }
}

pub fn prepare<'s>(cx: &mut Context<'s>, ingress: &'s Arc<Ingress>) -> Prepared<'s> {
    let (mut policy, findings) = annotations::read(ingress, &cx.settings.annotations_prefix);
    for annotations::Finding { key, problem, message } in findings {
        let reason = match problem {
            Problem::Unreadable(Otherwise::LeaveOut) => Reason::InvalidAnnotation,
            Problem::Unknown | Problem::Refused(Otherwise::LeaveOut) => Reason::UnsupportedAnnotation,
            Problem::Unreadable(Otherwise::Close) | Problem::Refused(Otherwise::Close) => Reason::RouteClosed,
        };
        cx.warn(ingress, reason, annotation_path(&key), message);
    }
    passthrough::check(cx, ingress, &mut policy);
    snippets::apply(cx, ingress, &mut policy);
    let auth = auth::filters(cx, ingress, &mut policy);
    let headers = headers(cx, ingress, &mut policy);
    let variant = variant(cx, ingress, &mut policy);
    let on_tls = (policy.backend.protocol == Protocol::AutoHttp)
        .then(|| Variant { tls: auth::upstream_tls(cx, ingress, &policy).ok(), ..variant.clone() });
    let mut filters = limits::filters(cx.options, ingress, &policy);
    if !policy.conditions.is_empty() {
        filters.push(FilterKind::Conditions(Conditions(policy.conditions.clone())));
    }
    filters.extend(access(cx, &policy));
    filters.extend(bodies(cx, &policy));
    filters.extend(mirror::filter(cx, ingress, &policy));
    filters.extend(answers(cx, ingress, &policy));
    filters.push(FilterKind::Headers(headers));
    let origin = super::report::origin(super::report::ObjectKind::Ingress, &ingress.key);
    let filter = |kind| Filter { origin: origin.clone(), kind };
    Prepared {
        ingress,
        cors: cors::filter(&policy).map(filter),
        filters: filters.into_iter().map(filter).collect(),
        auth: auth.into_iter().map(filter).collect(),
        variant,
        on_tls,
        timeouts: RouteTimeouts {
            request: None,
            connect: policy.timeouts.connect,
            read: policy.timeouts.read,
            write: policy.timeouts.send,
        },
        retry: retry(cx, &policy),
        policy,
    }
}

fn retry(cx: &Context<'_>, policy: &Policy) -> Option<Retry> {
    let (written, options) = (&policy.retry, cx.options);
    let is_own = written.on.is_some() || written.tries.is_some() || written.timeout.is_some();
    is_own.then(|| {
        backend::retry(
            written.on.clone().unwrap_or_else(|| options.next_upstream.clone()),
            written.tries.unwrap_or(options.next_upstream_tries),
            written.timeout.unwrap_or(options.next_upstream_timeout),
        )
    })
}

/// The annotation in place of the option, as in ingress-nginx; `block-cidrs` stands at the listeners.
fn access(cx: &Context<'_>, policy: &Policy) -> Vec<FilterKind> {
    let own = |own: &Vec<_>, options: &Vec<_>| if own.is_empty() { options.clone() } else { own.clone() };
    let deny = own(&policy.access.deny, &cx.options.deny);
    let allow = own(&policy.access.allow, &cx.options.allow);
    let mut filters = Vec::new();
    if !deny.is_empty() {
        filters.push(FilterKind::Deny(deny));
    }
    if !allow.is_empty() {
        filters.push(FilterKind::Allow(allow));
    }
    if policy.access.satisfy_any {
        filters.push(FilterKind::Satisfy(Satisfy::Any));
    }
    filters
}

/// Cookies and redirects of the backend, and whether its requests are logged.
fn answers(cx: &mut Context<'_>, ingress: &Arc<Ingress>, policy: &Policy) -> Vec<FilterKind> {
    let (written, options) = (&policy.response, &cx.options.response);
    let from = written.redirect_from.as_deref().or(options.redirect_from.as_deref());
    let to = written.redirect_to.as_deref().or(options.redirect_to.as_deref());
    let location = annotations::rewrite::of_redirects(from, to).unwrap_or_else(|message| {
        let path = cx.annotation("proxy-redirect-to");
        cx.warn(ingress, Reason::InvalidAnnotation, path, message);
        None
    });
    let rewrite = ResponseRewrite {
        cookie_domain: written.cookie_domain.clone().or_else(|| options.cookie_domain.clone()).flatten(),
        cookie_path: written.cookie_path.clone().or_else(|| options.cookie_path.clone()).flatten(),
        location,
    };
    let mut filters = Vec::new();
    if rewrite != ResponseRewrite::default() {
        filters.push(FilterKind::ResponseRewrite(rewrite));
    }
    if policy.access_log == Some(false) {
        filters.push(FilterKind::AccessLog(Logging::Off));
    }
    filters
}

fn bodies(cx: &Context<'_>, policy: &Policy) -> Vec<FilterKind> {
    let max = policy.bodies.max_size.unwrap_or(cx.options.body_size);
    let mut filters = Vec::new();
    if max.0 > 0 {
        filters.push(FilterKind::MaxBodySize(max));
    }
    // nginx's `grpc_pass` knows no such thing: a call may be a conversation.
    let is_grpc = matches!(policy.backend.protocol, Protocol::Grpc | Protocol::Grpcs);
    if !is_grpc && policy.bodies.request_buffering.unwrap_or(cx.options.request_buffering) {
        let max_size = if max.0 > 0 { max } else { crate::defaults::BUFFER_SIZE };
        let buffer = BodyBuffer { max_memory: crate::defaults::BUFFER_MEMORY, max_size, folder: None };
        filters.push(FilterKind::RequestBuffering(RequestBuffering::On(buffer)));
    }
    let kib = |kib: u32| ByteSize::kib(kib.into());
    let rate = kib(policy.limits.rate.unwrap_or(cx.options.limit_rate)).0;
    if let Some(rate) = std::num::NonZeroU64::new(rate) {
        let after = kib(policy.limits.rate_after.unwrap_or(cx.options.limit_rate_after));
        filters.push(FilterKind::Bandwidth(Bandwidth { rate: Some(ByteRate(rate)), after, request_rate: None }));
    }
    filters
}

/// What ingress-nginx tells upstreams beyond what Weir tells them anyway, and takes away.
fn headers(cx: &mut Context<'_>, ingress: &Arc<Ingress>, policy: &mut Policy) -> HeaderEdits {
    let variable = |variable| HeaderTemplate(vec![TemplatePart::Variable(variable)]);
    let mut edits = std::mem::take(&mut policy.headers.edits);
    let usual = [
        ("X-Forwarded-Scheme".into(), variable(Variable::Scheme)),
        ("X-Scheme".into(), variable(Variable::Scheme)),
        ("X-Original-Forwarded-For".into(), variable(Variable::Header("x-forwarded-for".into()))),
        ("X-Original-Forwarded-Host".into(), variable(Variable::Header("x-forwarded-host".into()))),
    ];
    // What a snippet sets stands above it.
    edits.request.set.splice(0..0, usual);
    let forwarded = &cx.options.forwarded;
    if (forwarded.use_headers || forwarded.real_ip) && !forwarded.full {
        edits.request.set.push(("X-Forwarded-For".into(), variable(Variable::ClientIp)));
    }
    // httpoxy.
    edits.request.remove.push("Proxy".into());
    if let (Some(prefix), Some(_)) = (&policy.rewrite.forwarded_prefix, &policy.rewrite.target) {
        edits.request.set.push(("X-Forwarded-Prefix".into(), text(prefix)));
    }
    if !cx.options.keep_server {
        edits.response.remove.push("Server".into());
    }
    edits.response.remove.extend(cx.options.hidden_headers.iter().cloned());
    if cx.options.original_uri {
        edits.request.set.push(("X-Original-URI".into(), variable(Variable::Uri)));
    }
    let (on_requests, on_answers) = (cx.options.request_headers.clone(), cx.options.answer_headers.clone());
    edits.request.set.extend(on_requests.map(|key| for_all(cx, "proxy-set-headers", &key)).unwrap_or_default());
    edits.response.set.extend(on_answers.map(|key| for_all(cx, "add-headers", &key)).unwrap_or_default());
    match custom_headers(cx, ingress, policy) {
        Ok(fields) => edits.response.set.extend(fields),
        Err(message) => {
            let path = cx.annotation("custom-headers");
            cx.warn(ingress, Reason::RouteClosed, path, message.clone());
            policy.close(message);
        }
    }
    edits
}

/// The fields of a ConfigMap of whoever runs the controller. What cannot be used of them is told to them alone.
fn for_all(cx: &mut Context<'_>, option: &str, key: &ObjectKey) -> Vec<(Arc<str>, HeaderTemplate)> {
    let Some(map) = cx.config_map(key) else {
        cx.note(option, format!("there is no ConfigMap {key}"));
        return Vec::new();
    };
    let field = |(name, value): (&Arc<str>, &Arc<str>)| {
        let read = || Ok((annotations::value::field_name(name)?, snippet::template(value)?));
        read().map_err(|message: String| format!("ConfigMap {key}: {message}"))
    };
    let (good, bad): (Vec<_>, Vec<_>) = map.data.iter().map(field).partition(Result::is_ok);
    bad.into_iter().filter_map(Result::err).for_each(|message| cx.note(option, message));
    good.into_iter().flatten().collect()
}

/// The text itself, whatever signs it has.
fn text(text: &Arc<str>) -> HeaderTemplate {
    HeaderTemplate(vec![TemplatePart::Text(text.clone())])
}

fn custom_headers(
    cx: &mut Context<'_>,
    ingress: &Ingress,
    policy: &Policy,
) -> Result<Vec<(Arc<str>, HeaderTemplate)>, String> {
    let Some(reference) = &policy.headers.custom else { return Ok(Vec::new()) };
    let key = reference.within(&ingress.key.namespace)?;
    let map = cx.config_map(&key).ok_or_else(|| format!("there is no ConfigMap {key}"))?;
    let field = |(name, value): (&Arc<str>, &Arc<str>)| {
        let name = annotations::value::field_name(name)?;
        let value = annotations::value::field_value(value)?;
        match cx.options.response_headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name)) {
            true => Ok((name, text(&value))),
            false => Err(format!("{name} is not among the option global-allowed-response-headers")),
        }
    };
    map.data.iter().map(field).collect()
}

const HASH_SUBSET_SIZE: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");

fn variant(cx: &mut Context<'_>, ingress: &Arc<Ingress>, policy: &mut Policy) -> Variant {
    let protocol = policy.backend.protocol;
    let tls = match protocol {
        Protocol::Https | Protocol::Grpcs | Protocol::AutoHttp => match auth::upstream_tls(cx, ingress, policy) {
            // Plain for who comes without TLS.
            Ok(_) if protocol == Protocol::AutoHttp => None,
            Ok(tls) => Some(tls),
            Err(message) => {
                let path = cx.annotation("proxy-ssl-secret");
                cx.warn(ingress, Reason::RouteClosed, path, message.clone());
                policy.close(message);
                None
            }
        },
        Protocol::Http | Protocol::Grpc => None,
    };
    let balance = match (&policy.backend.hash_by, policy.backend.balance.unwrap_or(cx.options.balance)) {
        // A cookie remembers the endpoint; a hash would find another.
        (Some(key), _) if !policy.session.cookie => match policy.backend.hash_subset {
            true => LbPolicy::HashSubset(key.clone(), policy.backend.hash_subset_size.unwrap_or(HASH_SUBSET_SIZE)),
            false => LbPolicy::Hash(key.clone()),
        },
        (_, Balance::RoundRobin) => LbPolicy::RoundRobin,
        (_, Balance::Ewma) => LbPolicy::PeakEwma,
    };
    Variant {
        protocol: match protocol {
            Protocol::Http | Protocol::Https | Protocol::AutoHttp => UpstreamProtocol::Http1,
            Protocol::Grpc | Protocol::Grpcs => UpstreamProtocol::Http2,
        },
        tls,
        balance,
        sticky: None,
        address: match policy.backend.service_upstream.unwrap_or(cx.options.service_upstream) {
            true => AddressedBy::Service,
            false => AddressedBy::Endpoints,
        },
        reuse: if policy.headers.connection.is_some() { Reuse::Close } else { Reuse::Keep },
        sent: Sent::Requests,
    }
}
