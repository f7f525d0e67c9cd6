//! A request that cannot be answered as it should be: the client is told which of the ways it is.
//!
//! | status | means |
//! |---|---|
//! | 408, 413 | the client's body: too slow, too large |
//! | 502 | an endpoint could not be reached, or broke off |
//! | 503 | there is no endpoint, or no place at one |
//! | 504 | an endpoint did not answer in time |

use pingora::ErrorType::{
    ConnectTimedout, ConnectionClosed, H2Error, HTTPStatus, InvalidHTTPHeader, ReadError, ReadTimedout,
    TLSHandshakeTimedout, WriteError, WriteTimedout,
};
use pingora::{Error, ErrorSource};
use pingora_proxy::{FailToProxy, Session};

use super::arrive::version;
use super::context::{Context, Replaced};
use super::page_upstream::Fetcher;
use super::reply;
use crate::proxy::answer::{self, Answer, failure_detail};
use crate::telemetry::record::Ended;

/// Sends an error page, where nothing has been sent yet and somebody is there to read it.
pub async fn tell_client(fetcher: &Fetcher, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
    if matches!(ctx.replaced, Replaced::Upstream { .. }) && *error.esource() != ErrorSource::Downstream {
        // The client has its answer.
        return FailToProxy { error_code: ctx.record.status, can_reuse_downstream: false };
    }
    let status = status_for(error);
    match (error.etype(), error.esource()) {
        (ReadTimedout | WriteTimedout, ErrorSource::Downstream) => ctx.record.ended = Ended::ClientTimeout,
        _ if status.is_none() => ctx.record.ended = Ended::ClientClosed,
        _ => {}
    }
    let Some(status) = status else {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    if ctx.record.ended == Ended::Completed {
        ctx.record.ended = match status {
            408 => Ended::ClientTimeout,
            413 => Ended::Refused("max-body-size"),
            _ => Ended::Refused("request"),
        };
    }
    tracing::debug!(route = ctx.route.as_ref().map(|r| r.name.as_str()), status, %error, "a request failed");
    if !is_answered(session) {
        // Pingora ends the connection after a failure: the client is told, or its next request breaks.
        session.set_keepalive(None);
        let page = Answer::error(status, failure_detail(status), ctx.request_id(), answer::accept(session));
        if let Err(error) = reply::answer(fetcher, session, ctx, page).await {
            tracing::debug!(%error, "the client did not take its error page");
        }
    } else if *error.esource() == ErrorSource::Upstream && version(session) == http::Version::HTTP_2 {
        // A stream that is only let go of is cancelled, as if the client had wanted that.
        session.as_downstream_mut().shutdown().await;
    }
    FailToProxy { error_code: status, can_reuse_downstream: false }
}

/// Interim answers promise one that is final.
fn is_answered(session: &Session) -> bool {
    let written = session.response_written().map(|head| head.status);
    written.is_some_and(|status| !status.is_informational() || status == http::StatusCode::SWITCHING_PROTOCOLS)
}

/// `None`: the client is gone.
fn status_for(error: &Error) -> Option<u16> {
    match (error.etype(), error.esource()) {
        (HTTPStatus(status), _) => Some(*status),
        (ReadTimedout | ConnectTimedout | WriteTimedout | TLSHandshakeTimedout, ErrorSource::Upstream) => Some(504),
        (_, ErrorSource::Upstream) => Some(502),
        (ReadTimedout, ErrorSource::Downstream) => Some(408),
        (ReadError, ErrorSource::Downstream) if is_unreadable(error) => Some(400),
        (ReadError | WriteError | ConnectionClosed | H2Error | WriteTimedout, ErrorSource::Downstream) => None,
        (_, ErrorSource::Downstream) => Some(400),
        (InvalidHTTPHeader, _) => Some(400),
        (_, ErrorSource::Internal | ErrorSource::Unset) => Some(500),
    }
}

/// The client is there, and sends chunks that are none.
fn is_unreadable(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidData)
}
