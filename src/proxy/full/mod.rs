//! The full lane: Pingora's `HttpProxy`, steered by the snapshot. It can do everything.
//!
//! ```text
//! request_filter ─► arrive: who, which route, checks, limits ──► (Redis) ──► (delay) ──► (sign-in) ──► answered by Weir
//!       │ forward ──► (the body, as a whole)
//! upstream_peer ─► choose an endpoint ─► upstream_request_filter ─► response_filter ─► logging
//!       ▲                                    │ failed: fail_to_connect / error_while_proxy
//!       └────────── may it be tried again? ──┘
//! ```
//!
//! One short function per phase here; what a phase does stands in the file of its concept.

mod arrive;
mod auth_service;
mod buffering;
mod cache;
mod compression;
mod context;
mod delay;
mod departure;
mod failure;
mod files;
mod forward;
mod mirror;
mod own_connector;
mod own_exchange;
mod pace;
mod page;
mod page_upstream;
mod pooled;
mod reply;
mod retry;
mod shared_counts;
mod sign_in;
mod slow_body;

use std::os::fd::RawFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, RespCacheable};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::Shared;
use super::filters::Place;
use crate::shared_counts::Links;
use crate::snapshot::cache::variance;
use arrive::Decision;
use context::{Context, Replaced};
use own_connector::OwnConnector;
use page_upstream::Fetcher;
use pooled::Connected;

pub struct FullLane {
    shared: Arc<Shared>,
    fetcher: Fetcher,
    auth_connector: OwnConnector,
    mirror_connector: Arc<OwnConnector>,
    /// The worker's own.
    links: Links,
}

impl FullLane {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            fetcher: Fetcher::default(),
            auth_connector: OwnConnector::with_pool(auth_service::POOL_SIZE),
            mirror_connector: Arc::new(OwnConnector::with_pool(mirror::POOL_SIZE)),
            links: Links::default(),
        }
    }
}

#[async_trait]
impl ProxyHttp for FullLane {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::default()
    }

    /// None: Pingora's compression module costs on every request, used or not.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        let decision = arrive::decide(&self.shared, session, ctx)?;
        let decision = shared_counts::ask(&self.links, session, ctx, decision).await;
        delay::wait(session, ctx, ctx.admission.delay).await?;
        let decision = sign_in::ask(self, session, ctx, decision).await?;
        if matches!(decision, Decision::Forward) {
            mirror::begin(&self.mirror_connector, session, ctx);
        }
        match decision {
            Decision::Forward if cache::at_hand(&self.fetcher, session, ctx).await? => Ok(true),
            Decision::Forward => {
                pace::request(session, ctx);
                slow_body::begin(session, ctx);
                buffering::collect(session, ctx).await?;
                Ok(false)
            }
            Decision::Answer(answer) => {
                reply::answer(&self.fetcher, session, ctx, answer).await?;
                Ok(true)
            }
            Decision::Serve(wanted) => {
                files::answer(&self.fetcher, session, ctx, wanted).await?;
                Ok(true)
            }
        }
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        cache::enable(session, ctx);
        Ok(())
    }

    fn cache_key_callback(&self, _session: &Session, ctx: &mut Context) -> Result<CacheKey> {
        cache::key(ctx)
    }

    fn cache_vary_filter(&self, meta: &CacheMeta, _: &mut Context, request: &RequestHeader) -> Option<HashBinary> {
        variance(meta.headers(), &request.headers)
    }

    async fn cache_hit_filter(
        &self,
        _session: &mut Session,
        meta: &CacheMeta,
        _hit: &mut HitHandler,
        _is_fresh: bool,
        ctx: &mut Context,
    ) -> Result<Option<ForcedFreshness>> {
        Ok(cache::found(meta, ctx))
    }

    async fn proxy_upstream_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        let Some(answer) = cache::only_if_cached(session, ctx) else { return Ok(true) };
        reply::answer(&self.fetcher, session, ctx, answer).await?;
        Ok(false)
    }

    fn response_cache_filter(
        &self,
        _session: &Session,
        response: &ResponseHeader,
        ctx: &mut Context,
    ) -> Result<RespCacheable> {
        Ok(cache::judge(response, ctx))
    }

    fn should_serve_stale(&self, session: &mut Session, ctx: &mut Context, error: Option<&Error>) -> bool {
        cache::shows_stale(session, ctx, error)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        forward::choose_peer(session, ctx).await
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        fd: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        let origin = if reused { Connected::FromPool } else { Connected::Anew };
        forward::connected(origin, fd, digest, ctx)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        departure::prepare(session, request, ctx)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        departure::watch_body(body.as_ref(), place(end), ctx)?;
        if !ctx.feeds.is_empty() {
            mirror::tee(body.as_ref(), place(end), ctx).await;
        }
        if end { Ok(()) } else { slow_body::watch(session, ctx) }
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        reply::received(session, response, ctx)?;
        cache::invalidate(response, ctx).await;
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if page::intercept(&self.fetcher, session, response, ctx).await? == Replaced::Nothing {
            reply::edit(session, response, ctx);
            return compression::begin(session, response, ctx);
        }
        // What comes of the upstream's body is dropped.
        ctx.compression = None;
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<std::time::Duration>> {
        page::drop_body(session, body, ctx)?;
        reply::watch_deadline(ctx)?;
        compression::pass(body, place(end), ctx)?;
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut http::HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        compression::end(ctx)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        retry::after_connect_failure(session, ctx, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        let origin = if reused { Connected::FromPool } else { Connected::Anew };
        retry::after_failure(session, ctx, error, origin)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
        failure::tell_client(&self.fetcher, session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        reply::finish(&self.shared, session, error, ctx);
    }

    /// The access log says why a request ended; Pingora's line per failed request would say it twice.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Context, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

/// Pingora says whether it is the last.
fn place(end: bool) -> Place {
    if end { Place::End } else { Place::Within }
}
