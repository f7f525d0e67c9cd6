//! Health checks and outlier detection.

use super::Lowering;
use super::process::all;
use crate::defaults;
use crate::model::{HealthCheck, HttpProbe, OutlierDetection, Probe};
use crate::sources::config::decode::{Either, Field};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

pub fn health_check(cx: &Lowering, at: NodeId, shape: shapes::HealthCheck) -> Option<HealthCheck> {
    let probes = [("http", shape.http.key()), ("tcp", shape.tcp.key()), ("grpc", shape.grpc.key())];
    if cx.only_one(&probes) == 0 {
        let keys = ["http", "tcp", "grpc"];
        cx.missing(at, &keys, "nothing says what is asked", "write http: { path: /health }, tcp: {} or grpc: {}");
    }
    let probe = if let Some((at, http)) = shape.http.given() {
        http_probe(cx, at, http)
    } else if let Some(grpc) = shape.grpc.value() {
        Some(Probe::Grpc { service: grpc.service.value().unwrap_or_default().into() })
    } else {
        shape.tcp.value().map(|shapes::TcpProbe {}| Probe::Tcp)
    };
    Some(HealthCheck {
        probe: probe?,
        interval: shape.interval.scalar_or(defaults::HEALTH_INTERVAL),
        timeout: shape.timeout.scalar_or(defaults::HEALTH_TIMEOUT),
        unhealthy_after: shape.unhealthy_after.scalar_or(defaults::UNHEALTHY_AFTER),
        healthy_after: shape.healthy_after.scalar_or(defaults::HEALTHY_AFTER),
        port: shape.port.scalar(),
    })
}

fn http_probe(cx: &Lowering, at: NodeId, shape: shapes::HttpProbe) -> Option<Probe> {
    let status = match shape.status {
        Field::Given(at, list) if list.is_empty() => {
            cx.error_with(at.value(), "no status would be healthy", "write which, as [200, \"300-399\"]");
            Vec::new()
        }
        Field::Absent => vec![defaults::HEALTH_STATUS],
        written => all(written),
    };
    let (_, path) = cx.required(shape.path, at, "path", "path: /health")?;
    Some(Probe::Http(HttpProbe {
        method: shape.method.scalar_or(defaults::HEALTH_METHOD.into()),
        path: path.0,
        host: shape.host.scalar(),
        status,
        body: shape.body.scalar(),
    }))
}

/// On unless it is switched off.
pub fn outlier_detection(written: Field<Either<scalar::Off, shapes::OutlierDetection>>) -> Option<OutlierDetection> {
    let shape = match written.value() {
        Some(Either::Short(scalar::Off(()))) => return None,
        Some(Either::Full(shape)) => shape,
        None => shapes::OutlierDetection::default(),
    };
    Some(OutlierDetection {
        failures: shape.failures.scalar_or(defaults::OUTLIER_FAILURES),
        window: shape.window.scalar_or(defaults::OUTLIER_WINDOW),
        eject_for: shape.eject_for.scalar_or(defaults::OUTLIER_EJECT_FOR),
        statuses: all(shape.statuses),
        max_ejected: shape.max_ejected.scalar_or(defaults::OUTLIER_MAX_EJECTED),
    })
}
