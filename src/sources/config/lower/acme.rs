//! The ACME authority, and the certificates that are ordered from it.

use super::certificate::Challengeable;
use super::process::all;
use super::{Lowering, Place};
use crate::defaults;
use crate::model::{
    Acme, AcmeCertificate, AcmeRetry, AcmeStorage, ChallengeType, Cloudflare, DnsPropagation, DnsProvider, ExecDns,
    ExternalAccount, GoogleDns, Issuance, KeyType, OnDemand, Rfc2136, TsigAlgorithm,
};
use crate::sources::config::decode::Field;
use crate::sources::config::shapes;
use crate::sources::config::tree::NodeId;

/// None where no authority is named, or where what was written cannot be read.
pub fn acme(cx: &Lowering, written: Field<shapes::Acme>, listeners: Challengeable) -> Option<Acme> {
    let (at, shape) = written.given()?;
    let (challenge_at, issuance) = (readable(&shape.challenge), issuance(&shape, &defaults()));
    let dns = shape.dns.given().and_then(|(at, provider)| dns_provider(cx, at, provider));
    if let Some(place) = challenge_at {
        check_listeners(cx, place, issuance.challenge, listeners);
    }
    let acme = Acme {
        origin: cx.findings.origin(at.key()),
        email: shape.email.scalar(),
        directory: shape.directory.scalar_or(defaults::ACME_DIRECTORY.into()),
        ca: shape.ca.scalar().map(|path| cx.file(path)),
        storage: AcmeStorage::Folder(cx.path(shape.storage.scalar_or(defaults::ACME_STORAGE.into()))),
        external_account: shape.external_account.given().and_then(|(at, account)| external_account(cx, at, account)),
        dns,
        dns_propagation: dns_propagation(shape.dns_propagation.value().unwrap_or_default()),
        retry: retry(cx, shape.retry),
        on_demand: shape.on_demand.given().and_then(|(at, on_demand)| self::on_demand(cx, at, on_demand)),
        issuance,
    };
    if let (Some(place), ChallengeType::Dns01, None) = (challenge_at, acme.issuance.challenge, &acme.dns) {
        check_dns(cx, place, at);
    }
    Some(acme)
}

/// A certificate that is ordered. `acme`: what is written about the authority; none where that cannot be read.
pub fn certificate(
    cx: &Lowering,
    at: NodeId,
    written: shapes::AcmeCertificate,
    acme: Option<&Acme>,
    listeners: Challengeable,
) -> Option<AcmeCertificate> {
    let inherited = acme.map_or_else(defaults, |acme| acme.issuance.clone());
    let own = shapes::Acme {
        challenge: written.challenge,
        key: written.key,
        renew_before: written.renew_before,
        profile: written.profile,
        ..shapes::Acme::default()
    };
    let (challenge_at, issuance) = (readable(&own.challenge), issuance(&own, &inherited));
    let (at_domains, list) = cx.required(written.domains, at, "domains", "domains: [example.org, www.example.org]")?;
    if list.is_empty() {
        cx.error_with(at_domains.value(), "a certificate without a name", "write at least one, as [example.org]");
    }
    let written = list.len();
    let mut domains = Vec::with_capacity(written);
    for (at, domain) in list.into_iter().filter_map(Field::given) {
        if domain.0.is_wildcard() && issuance.challenge != ChallengeType::Dns01 {
            let message = format!("{} needs dns-01: {} proves single names only", domain.0, issuance.challenge);
            cx.error_with(
                at.value(),
                message,
                "write challenge: dns-01, and say under acme.dns where records are written",
            );
        }
        if domains.contains(&domain.0) {
            cx.error_with(at.value(), format!("\"{}\" is here twice", domain.0), "take one out");
            continue;
        }
        domains.push(domain.0);
    }
    if let (Some(place), Some(acme)) = (challenge_at, acme)
        && issuance.challenge == ChallengeType::Dns01
        && acme.dns.is_none()
    {
        check_dns(cx, place, at);
    }
    check_listeners(cx, challenge_at.unwrap_or(at.key()), issuance.challenge, listeners);
    (domains.len() == written && written > 0).then_some(AcmeCertificate { domains, issuance })
}

/// The place of a value that could be read.
fn readable<T>(field: &Field<T>) -> Option<Place> {
    match field {
        Field::Given(at, _) => Some(at.key()),
        Field::Absent | Field::Wrong(_) => None,
    }
}

fn check_dns(cx: &Lowering, place: Place, at: NodeId) {
    if !cx.is_one_misspelled(at, &["dns"]) {
        let message = "dns-01 has nowhere to write its records";
        cx.error_with(
            place,
            message,
            "write under acme, for example, dns: { rfc2136: { server: …, key-name: …, secret-file: … } }",
        );
    }
}

fn check_listeners(cx: &Lowering, place: Place, challenge: ChallengeType, listeners: Challengeable) {
    match challenge {
        ChallengeType::Http01 if !listeners.plain => {
            let message = "http-01 is answered on port 80, and no listener is plain";
            cx.warning(place, message, "add a plain listener that port 80 leads to, or write challenge: tls-alpn-01");
        }
        ChallengeType::TlsAlpn01 if !listeners.tls => {
            let message = "tls-alpn-01 is answered on port 443, and no listener has TLS";
            cx.warning(
                place,
                message,
                "add a listener with tls: {} that port 443 leads to, or write challenge: http-01",
            );
        }
        ChallengeType::Http01 | ChallengeType::TlsAlpn01 | ChallengeType::Dns01 => {}
    }
}

fn defaults() -> Issuance {
    Issuance { challenge: defaults::ACME_CHALLENGE, key: defaults::ACME_KEY, renew_before: None, profile: None }
}

fn issuance(shape: &shapes::Acme, inherited: &Issuance) -> Issuance {
    let given = |field: &Field<String>| match field {
        Field::Given(_, text) => Some(text.as_str().into()),
        Field::Absent | Field::Wrong(_) => None,
    };
    Issuance {
        challenge: match shape.challenge {
            Field::Given(_, shapes::ChallengeType::Http01) => ChallengeType::Http01,
            Field::Given(_, shapes::ChallengeType::TlsAlpn01) => ChallengeType::TlsAlpn01,
            Field::Given(_, shapes::ChallengeType::Dns01) => ChallengeType::Dns01,
            Field::Absent | Field::Wrong(_) => inherited.challenge,
        },
        key: match shape.key {
            Field::Given(_, shapes::KeyType::EcdsaP256) => KeyType::EcdsaP256,
            Field::Given(_, shapes::KeyType::EcdsaP384) => KeyType::EcdsaP384,
            Field::Given(_, shapes::KeyType::Rsa2048) => KeyType::Rsa2048,
            Field::Given(_, shapes::KeyType::Rsa4096) => KeyType::Rsa4096,
            Field::Absent | Field::Wrong(_) => inherited.key,
        },
        renew_before: match &shape.renew_before {
            Field::Given(_, time) => Some(time.0),
            Field::Absent | Field::Wrong(_) => inherited.renew_before,
        },
        profile: given(&shape.profile).or_else(|| inherited.profile.clone()),
    }
}

fn external_account(cx: &Lowering, at: NodeId, shape: shapes::ExternalAccount) -> Option<ExternalAccount> {
    let key_id = cx.required(shape.key_id, at, "key-id", "key-id: the key's name at the authority");
    let hmac_file = cx.required(shape.hmac_file, at, "hmac-file", "hmac-file: path/to/hmac-key");
    Some(ExternalAccount { key_id: key_id?.1.into(), hmac_file: cx.file(hmac_file?.1.0) })
}

fn dns_provider(cx: &Lowering, at: NodeId, written: shapes::DnsProvider) -> Option<DnsProvider> {
    Some(match written {
        shapes::DnsProvider::Rfc2136(shape) => DnsProvider::Rfc2136(rfc2136(cx, at, shape)?),
        shapes::DnsProvider::Cloudflare(shape) => {
            let token = cx.required(shape.token_file, at, "token-file", "token-file: path/to/token");
            DnsProvider::Cloudflare(Cloudflare {
                token_file: cx.file(token?.1.0),
                api: shape.api.scalar_or(defaults::CLOUDFLARE_API.into()),
            })
        }
        shapes::DnsProvider::Google(shape) => DnsProvider::Google(GoogleDns {
            project: shape.project.value().map(Into::into),
            credentials: shape.credentials.scalar().map(|path| cx.file(path)),
            api: shape.api.scalar_or(defaults::GOOGLE_DNS_API.into()),
            metadata: shape.metadata.scalar_or(defaults::GOOGLE_METADATA.into()),
        }),
        shapes::DnsProvider::Exec(shape) => {
            let (at, command) = cx.required(shape.command, at, "command", "command: [path/to/program]")?;
            if command.is_empty() {
                cx.error_with(at.value(), "no program is named", "write command: [path/to/program]");
            }
            let command = command.into_iter().filter_map(Field::value).map(Into::into).collect();
            DnsProvider::Exec(ExecDns { command, timeout: shape.timeout.scalar_or(defaults::DNS_EXEC_TIMEOUT) })
        }
    })
}

fn rfc2136(cx: &Lowering, at: NodeId, shape: shapes::Rfc2136) -> Option<Rfc2136> {
    let server = cx.required(shape.server, at, "server", "server: 10.0.0.53");
    let key_name = cx.required(shape.key_name, at, "key-name", "key-name: weir.");
    let secret_file = cx.required(shape.secret_file, at, "secret-file", "secret-file: path/to/tsig-key");
    Some(Rfc2136 {
        server: server?.1.0,
        zone: shape.zone.scalar(),
        key_name: key_name?.1.into(),
        algorithm: match shape.algorithm.value() {
            Some(shapes::TsigAlgorithm::HmacSha256) => TsigAlgorithm::HmacSha256,
            Some(shapes::TsigAlgorithm::HmacSha384) => TsigAlgorithm::HmacSha384,
            Some(shapes::TsigAlgorithm::HmacSha512) => TsigAlgorithm::HmacSha512,
            None => defaults::TSIG_ALGORITHM,
        },
        secret_file: cx.file(secret_file?.1.0),
    })
}

fn dns_propagation(shape: shapes::DnsPropagation) -> DnsPropagation {
    DnsPropagation {
        delay: shape.delay.scalar_or(defaults::DNS_PROPAGATION_DELAY),
        timeout: shape.timeout.scalar_or(defaults::DNS_PROPAGATION_TIMEOUT),
        servers: all(shape.servers),
    }
}

fn retry(cx: &Lowering, written: Field<shapes::AcmeRetry>) -> AcmeRetry {
    let at = written.key();
    let shape = written.value().unwrap_or_default();
    let retry = AcmeRetry {
        first: shape.first.scalar_or(defaults::ACME_RETRY_FIRST),
        longest: shape.longest.scalar_or(defaults::ACME_RETRY_LONGEST),
    };
    if let Some(at) = at
        && retry.first > retry.longest
    {
        cx.error_with(at, "\"first\" is longer than \"longest\"", "write a longer \"longest\"");
    }
    retry
}

fn on_demand(cx: &Lowering, at: NodeId, shape: shapes::OnDemand) -> Option<OnDemand> {
    let example = "ask: http://127.0.0.1:3000/may-have-a-certificate";
    let ask = cx.required(shape.ask, at, "ask", example)?;
    Some(OnDemand { ask: ask.1.0, rate: shape.rate.scalar_or(defaults::ON_DEMAND_RATE) })
}
