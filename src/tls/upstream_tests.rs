use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::diagnostics::Origin;
use crate::model::*;
use crate::tls::testing::{Authority, Files, Leaf};

fn upstream(name: &str, ca: Option<PathBuf>, client: Option<(PathBuf, PathBuf)>) -> Reused<Upstream> {
    let second = Duration::from_secs(1);
    Reused::from(Upstream {
        name: UpstreamName::new(name),
        origin: Origin { file: "weir.yaml".into(), line: 3, column: 3, length: 1 },
        endpoints: Vec::new(),
        balance: LbPolicy::RoundRobin,
        sticky: None,
        slow_start: None,
        health_check: None,
        outlier_detection: None,
        when_all_unhealthy: WhenAllUnhealthy::TryAll,
        protocol: UpstreamProtocol::Http1,
        tls: Some(UpstreamTls {
            verify: Verify::Full,
            server_name: None,
            ca,
            client_certificate: client.map(|(cert, key)| ClientCertificate { cert, key }),
        }),
        keepalive: Keepalive { connections: 1, idle_timeout: second, max_requests: None },
        timeouts: UpstreamTimeouts { connect: second, read: second, write: second, request: None },
        retry: Retry {
            attempts: NonZeroU32::MIN,
            on: Vec::new(),
            timeout: None,
            budget: Percent(0),
            max_body: ByteSize(0),
        },
        limits: UpstreamLimits { max_connections: None, queue: 0, queue_timeout: second },
    })
}

#[test]
fn roots_and_client_certificate_are_read_by_upstream() {
    let (files, authority) = (Files::new(), Authority::new());
    let issued = authority.issue(&Leaf::for_names(&["client.test"]));
    let ca = files.write("ca.pem", &authority.pem);
    let client = (files.write("c.crt", &issued.cert_pem), files.write("c.key", &issued.key_pem));
    let (material, diagnostics) =
        load_upstreams(&[upstream("api", Some(ca), Some(client)), upstream("web", None, None)], &Material::OnDisk);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let api = &material[&UpstreamName::new("api")];
    assert_eq!(api.ca.as_ref().unwrap()[0], authority.der);
    assert_eq!(api.client.as_ref().unwrap().0.len(), 1);
    assert!(format!("{api:?}").contains("(redacted)"));
    let web = &material[&UpstreamName::new("web")];
    assert!(web.ca.is_none() && web.client.is_none());
}

#[test]
fn an_upstream_whose_files_cannot_be_used_has_no_material_and_every_finding() {
    let files = Files::new();
    let empty = files.write("empty.pem", "nothing here\n");
    let missing = (files.path("no.crt"), files.path("no.key"));
    let (material, diagnostics) = load_upstreams(&[upstream("api", Some(empty), Some(missing))], &Material::OnDisk);
    let texts: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(material.is_empty());
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts[0].starts_with("weir.yaml:3:3: error: upstreams.api.tls.ca: there is no certificate in"),
        "{texts:?}"
    );
    assert!(texts[1].contains("upstreams.api.tls.client-certificate.cert: cannot read"), "{texts:?}");
    assert!(texts[2].contains("upstreams.api.tls.client-certificate.key: cannot read"), "{texts:?}");
}
