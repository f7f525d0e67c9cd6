use clap::Parser;

use super::*;
use crate::app::WebhookCertificate;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn flags(arguments: &[&str]) -> Result<Flags, String> {
    let line = std::iter::once("weir").chain(arguments.iter().copied());
    Line::try_parse_from(line).map(|line| line.flags).map_err(|error| error.to_string())
}

fn options(arguments: &[&str]) -> Result<ClusterOptions, String> {
    match flags(arguments)?.options()? {
        Options::Cluster(options) => Ok(*options),
        Options::File(_) => Err("no cluster".into()),
    }
}

#[test]
fn without_flags_everything_is_as_in_ingress_nginx() {
    let options = options(&[]).unwrap();
    let settings = &options.settings;
    assert_eq!((settings.http.port(), settings.https.port()), (80, 443));
    assert_eq!(settings.process.admin.as_ref().map(|admin| admin.address.port()), Some(10254));
    assert_eq!((&*settings.class.annotation, &*settings.class.controller), ("nginx", "k8s.io/ingress-nginx"));
    assert_eq!(settings.class.by_name, ClassByName::Ignore);
    assert_eq!(settings.class.without_class, WithoutClass::Ignore);
    assert_eq!(&*settings.annotations_prefix, "nginx.ingress.kubernetes.io");
    assert_eq!(options.scope.namespaces, Namespaces::All);
    assert_eq!(options.reporting.statuses, StatusUpdates::Cleared);
    assert_eq!(options.reporting.node_addresses, Some(NodeAddresses::External));
    let lease = "ingress-controller-leader".to_owned();
    assert_eq!(options.reporting.leadership, Leadership::Elected { lease, ttl: Duration::from_secs(30) });
}

#[test]
fn the_arguments_of_its_daemon_set_carry_over() {
    let options = options(&[
        "--publish-service=ingress/controller",
        "--election-id",
        "leader",
        "--election-ttl=1m",
        "--update-status-on-shutdown=false",
        "--report-node-internal-ip-address",
        "--disable-svc-external-name",
        "--controller-class=example.org/other",
        "--ingress-class=other",
        "--ingress-class-by-name",
        "--watch-ingress-without-class=true",
        "--configmap=ingress/options",
        "--default-ssl-certificate=tls/default",
        "--default-backend-service=web/nothing",
        "--watch-namespace=shop",
        "--publish-status-address=",
        "--validating-webhook=:8443",
        "--validating-webhook-certificate=/usr/local/certificates/cert",
        "--validating-webhook-key=/usr/local/certificates/key",
        "--enable-metrics=false",
        "--tcp-services-configmap",
        "ingress/tcp",
        "--udp-services-configmap=ingress/udp",
        "--enable-ssl-passthrough",
        "--shutdown-grace-period=5",
        "-v=2",
        "--healthz-host=127.0.0.1",
    ])
    .unwrap();
    let key = |text| ObjectKey::parse(text);
    let settings = &options.settings;
    assert_eq!(settings.publish, Publish::Service(key("ingress/controller").unwrap()));
    assert_eq!((&*settings.class.annotation, &*settings.class.controller), ("other", "example.org/other"));
    assert_eq!(settings.class.by_name, ClassByName::Regard);
    assert_eq!(settings.class.without_class, WithoutClass::Serve);
    assert_eq!((&settings.config_map, &settings.default_certificate), (&key("ingress/options"), &key("tls/default")));
    assert_eq!(settings.default_backend, key("web/nothing"));
    assert_eq!((&settings.tcp_services, &settings.udp_services), (&key("ingress/tcp"), &key("ingress/udp")));
    assert_eq!(settings.ssl_passthrough, SslPassthrough::Honour);
    let maps = ["ingress/options", "ingress/tcp", "ingress/udp"].map(|text| key(text).unwrap());
    assert_eq!(options.scope.config_maps, maps);
    assert_eq!(settings.process.shutdown.delay, Duration::from_secs(5));
    assert_eq!(settings.process.admin.as_ref().map(|admin| admin.address), "127.0.0.1:10254".parse().ok());
    assert_eq!(options.scope.external_names, ExternalNames::Ignore);
    assert_eq!(options.reporting.statuses, StatusUpdates::Left);
    assert_eq!(options.reporting.node_addresses, None, "a Service is published");
    let ttl = Duration::from_secs(60);
    assert_eq!(options.reporting.leadership, Leadership::Elected { lease: "leader".into(), ttl });
    assert_eq!(options.scope.namespaces, Namespaces::One("shop".into()));
    assert_eq!(options.scope.services, [key("ingress/controller").unwrap(), key("web/nothing").unwrap()]);
    assert_eq!(options.scope.secrets, [key("tls/default").unwrap()]);
    let webhook = options.webhook.expect("a webhook");
    let (certificate, key) = ("/usr/local/certificates/cert".into(), "/usr/local/certificates/key".into());
    assert_eq!((webhook.address.port(), webhook.certificate), (8443, WebhookCertificate::Files { certificate, key }));
}

#[test]
fn issuers_and_a_webhook_of_its_own_certificate_are_weirs_own_flags() {
    let options = options(&[
        "--acme-issuer=letsencrypt,email=ops@a.test",
        "--acme-issuer=staging,directory=letsencrypt-staging",
        "--validating-webhook=127.0.0.1:9443",
        "--validating-webhook-configuration=weir",
    ])
    .unwrap();
    let names: Vec<_> = options.issuers.iter().map(|issuer| &*issuer.name).collect();
    assert_eq!(names, ["letsencrypt", "staging"]);
    let webhook = options.webhook.expect("a webhook");
    assert_eq!(webhook.address, "127.0.0.1:9443".parse().unwrap());
    assert_eq!(webhook.certificate, WebhookCertificate::Own { configuration: "weir".into() });
}

#[test]
fn what_is_passed_over_is_named() {
    let flags = flags(&["--ssl-passthrough-proxy-port=442", "--v=3", "--vmodule", "a=1"]).unwrap();
    let names: Vec<_> = flags.passed_over.names().collect();
    assert_eq!(names, ["ssl-passthrough-proxy-port", "v", "vmodule"]);
}

#[test]
fn mistakes_are_told() {
    for (arguments, expected) in [
        (&["--configmap=options"][..], "write it as namespace/name"),
        (&["--election-ttl=soon"], "\"soon\" is no duration; write it as 30s or 1m30s"),
        (&["--healthz-host=here"], "write an IP address"),
        (&["--validating-webhook=8443"], "write it as :8443, or as ADDRESS:PORT"),
        (&["--acme-issuer=corp"], "\"corp\" is no directory that everybody knows"),
        (&["--no-such-flag"], "unexpected argument '--no-such-flag'"),
    ] {
        let message = flags(arguments).err().expect("it is refused");
        assert!(message.contains(expected), "{message}");
    }
    for (arguments, expected) in [
        (
            ["--watch-namespace=a", "--watch-namespace-selector=b"],
            "--watch-namespace and --watch-namespace-selector exclude each other",
        ),
        (
            ["--publish-service=a/b", "--publish-status-address=c"],
            "--publish-service and --publish-status-address exclude each other",
        ),
        (
            ["--acme-issuer=letsencrypt", "--acme-issuer=letsencrypt,email=ops@a.test"],
            "--acme-issuer: there are two of the name letsencrypt",
        ),
        (
            ["--acme-issuer=letsencrypt", "--acme-issuer=other,directory=letsencrypt"],
            "--acme-issuer: letsencrypt and other have the same directory",
        ),
        (
            ["--acme-issuer=letsencrypt", "--disable-leader-election"],
            "--acme-issuer needs an elected leader: every replica would order on its own with --disable-leader-election",
        ),
        (
            ["--validating-webhook=:8443", "--watch-namespace=a"],
            "--validating-webhook needs a certificate: write --validating-webhook-certificate and \
             --validating-webhook-key, or --validating-webhook-configuration to have Weir make one",
        ),
        (
            ["--validating-webhook=:8443", "--validating-webhook-key=k"],
            "--validating-webhook-certificate and --validating-webhook-key belong together",
        ),
    ] {
        assert_eq!(options(&arguments).err().expect("it is refused"), expected);
    }
}

#[test]
fn durations_are_written_as_in_go() {
    assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
    assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert!(duration("30").is_err() && duration("").is_err() && duration("0s").is_err());
}
