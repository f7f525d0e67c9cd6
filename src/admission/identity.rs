//! What the webhook shows of itself: a certificate of an operator's, or one of an authority that Weir makes for it alone.
//!
//! ```text
//! names, what there was, now ──renewed──► Identity { authorities, authority's key, chain, key }   (nothing is due: None)
//!                                            └──► Shown ◄── handshakes
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::*;

/// Nobody has to trust it but the API server, which is told when it changes.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Renewed when a third is left.
const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// Clocks differ.
const BACKDATED: Duration = Duration::from_secs(3600);

const AUTHORITY_NAME: &str = "Weir admission webhook";

/// PEM, as a Secret keeps it. Not `Debug`: it holds keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whom the API server is to trust: today's authority first, and the one before for as long as it may be met.
    pub authorities: String,
    pub authority_key: String,
    pub chain: String,
    pub key: String,
}

/// What handshakes are answered with; none before there is something.
#[derive(Clone, Default)]
pub struct Shown(Arc<ArcSwapOption<CertifiedKey>>);

impl Shown {
    /// PEM. What cannot be used changes nothing.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), String> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let certificates = certificates.map_err(|error| format!("the certificate is no PEM: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key is no PEM: {error}"))?;
        let certified = CertifiedKey::from_der(certificates, key, &crate::tls::provider())
            .map_err(|error| format!("certificate and key cannot be used together: {error}"))?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl Identity {
    /// What is to take the place of `before`; none where nothing is due. `names`: DNS names and addresses, sorted.
    pub fn renewed(before: Option<&Self>, names: &[String], now: SystemTime) -> Result<Option<Self>, rcgen::Error> {
        let Some(before) = before else { return Self::new(names, now, "").map(Some) };
        let authority = first(&before.authorities);
        let leaf = first(&before.chain);
        let key = KeyPair::from_pem(&before.authority_key);
        let (Some(authority), Some(leaf), Ok(key)) = (authority, leaf, key) else {
            return Self::new(names, now, "").map(Some);
        };
        if is_due(authority.until, AUTHORITY_LIFETIME, now) {
            let kept = if authority.until > now { authority.pem } else { String::new() };
            return Self::new(names, now, &kept).map(Some);
        }
        if leaf.names == names && !is_due(leaf.until, LIFETIME, now) {
            return Ok(None);
        }
        let (chain, leaf_key) = issue(names, &Issuer::new(authority_params(now), key), now)?;
        Ok(Some(Self { chain, key: leaf_key, ..before.clone() }))
    }

    /// `kept`: the authority before.
    fn new(names: &[String], now: SystemTime, kept: &str) -> Result<Self, rcgen::Error> {
        let (params, key) = (authority_params(now), KeyPair::generate()?);
        let authority = params.self_signed(&key)?.pem();
        let authority_key = key.serialize_pem();
        let (chain, leaf_key) = issue(names, &Issuer::new(params, key), now)?;
        Ok(Self { authorities: format!("{authority}{kept}"), authority_key, chain, key: leaf_key })
    }
}

fn is_due(until: SystemTime, lifetime: Duration, now: SystemTime) -> bool {
    until.duration_since(now).map_or(true, |left| left < lifetime / 3)
}

fn authority_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = ((now - BACKDATED).into(), (now + AUTHORITY_LIFETIME).into());
    params
}

fn issue(names: &[String], authority: &Issuer<'_, KeyPair>, now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = ((now - BACKDATED).into(), (now + LIFETIME).into());
    Ok((params.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}

/// The first certificate of a PEM text.
struct First {
    pem: String,
    until: SystemTime,
    names: Vec<String>,
}

fn first(text: &str) -> Option<First> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let pem = &text[..text.find(END)? + END.len()];
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let until = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    let extension = certificate.subject_alternative_name().ok()?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => Some(IpAddr::from(bytes).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    let mut names: Vec<String> =
        extension.iter().flat_map(|extension| extension.value.general_names.iter().filter_map(name)).collect();
    names.sort();
    Some(First { pem: pem.to_owned(), until: SystemTime::UNIX_EPOCH + Duration::from_secs(until), names })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_stands_is_kept_until_it_is_due_or_is_for_other_names() {
        let now = SystemTime::now();
        let one = names(&["127.0.0.1", "weir-webhook.weir.svc"]);
        let first = Identity::renewed(None, &one, now).unwrap().unwrap();
        let renewed = |names: &[String], days: u64| {
            Identity::renewed(Some(&first), names, now + Duration::from_secs(days * 86_400)).unwrap()
        };
        assert!(renewed(&one, 0).is_none() && renewed(&one, 59).is_none());
        for (names, days) in [(names(&["other.weir.svc"]), 0), (one.clone(), 61)] {
            let second = renewed(&names, days).unwrap();
            assert!(second.authorities == first.authorities, "the API server need not be told");
            assert!(second.chain != first.chain && second.key != first.key);
            Shown::default().replace(second.chain.as_bytes(), second.key.as_bytes()).unwrap();
        }
    }

    #[test]
    fn an_authority_that_ends_is_trusted_beside_the_next_until_then() {
        let (now, one) = (SystemTime::now(), names(&["weir-webhook.weir.svc"]));
        let first = Identity::renewed(None, &one, now).unwrap().unwrap();
        let later = now + AUTHORITY_LIFETIME * 3 / 4;
        let second = Identity::renewed(Some(&first), &one, later).unwrap().unwrap();
        assert!(second.authorities.ends_with(&first.authorities) && second.authorities != first.authorities);
        assert!(Identity::renewed(Some(&second), &one, later).unwrap().is_none());
        let after = Identity::renewed(Some(&first), &one, now + AUTHORITY_LIFETIME * 2).unwrap().unwrap();
        assert_eq!(after.authorities.matches("BEGIN").count(), 1, "nobody trusts what has ended");
    }

    #[test]
    fn what_cannot_be_read_is_made_anew() {
        let one = names(&["weir-webhook.weir.svc"]);
        let broken =
            Identity { authorities: "x".into(), authority_key: "y".into(), chain: "z".into(), key: String::new() };
        assert!(Identity::renewed(Some(&broken), &one, SystemTime::now()).unwrap().is_some());
        let error = Shown::default().replace(b"x", b"y").unwrap_err();
        assert!(error.starts_with("the key is no PEM: "), "{error}");
    }
}
