//! One order, from the first question to a certificate in the storage.
//!
//! ```text
//! pending order of the storage, or a new one
//!   pending ──► challenges published ──► "look now" ──► ready ──► CSR ──► valid ──► chain and key stored
//!      └► invalid: which name, and why, in words
//! ```
//!
//! The order and its key are stored before anything is proven: whoever is killed in the middle goes on there.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    RsaKeySize,
};
use rustls::pki_types::CertificateDer;

use super::authority::{Authority, Failure, Session};
use super::challenge::{Publisher, acme_type};
use super::storage::{CertificateStorage, PendingOrder, Secret, StorageError, StoredCertificate};
use super::words;
use crate::model::{AcmeCertificate, AcmeDomain, ChallengeType, KeyType};
use crate::tls::LoadedCertificate;

/// The authority looks from several places, and some look again: minutes are usual, more is a hang.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(Duration::from_secs(300));

/// Some authorities reject nonces at random, to find out who copes (RFC 8555 §6.5).
const REJECTED_NONCES: u32 = 20;

/// What an order needs of its surroundings.
pub struct Ordering<'a> {
    pub name: &'a str,
    pub wanted: &'a AcmeCertificate,
    /// Reads what the authority sends; the error says why it cannot be served.
    pub read: &'a (dyn Fn(&StoredCertificate) -> Result<Arc<LoadedCertificate>, String> + Sync),
    pub authority: &'a Authority,
    pub storage: &'a dyn CertificateStorage,
    pub publisher: &'a Publisher,
}

impl Ordering<'_> {
    /// `replaces`: the leaf that the new certificate takes the place of.
    pub async fn run(&self, replaces: Option<&CertificateDer<'_>>) -> Result<Arc<LoadedCertificate>, Failure> {
        // What stands for an order that is gone on with may be asked for at any moment.
        if !self.goes_on().await {
            self.publisher.sweep(self.name).await;
        }
        let mut rejected = 0;
        let outcome = loop {
            match self.attempt(replaces).await {
                // It has been sent three times by then; the order is gone on with where it stands.
                Err(failure) if failure.is_bad_nonce && rejected < REJECTED_NONCES => rejected += 1,
                outcome => break outcome,
            }
        };
        self.publisher.sweep(self.name).await;
        outcome
    }

    async fn goes_on(&self) -> bool {
        match self.wanted.issuance.challenge {
            ChallengeType::Http01 | ChallengeType::TlsAlpn01 => matches!(self.stored_order().await, Ok(Some(_))),
            // A record that is there cannot be written again everywhere.
            ChallengeType::Dns01 => false,
        }
    }

    async fn attempt(&self, replaces: Option<&CertificateDer<'_>>) -> Result<Arc<LoadedCertificate>, Failure> {
        let session = self.authority.connect().await?;
        match self.begin(&session, replaces).await {
            Err(Trouble::Acme(error)) if words::is_unknown_account(&error) => {
                let session = self.authority.connect_anew(&session).await?;
                let begun = self.begin(&session, None).await.map_err(|trouble| self.failure(&session, trouble))?;
                self.complete(begun, &session).await
            }
            Err(trouble) => Err(self.failure(&session, trouble)),
            Ok(begun) => self.complete(begun, &session).await,
        }
    }

    /// Goes on with an order that was begun, or begins one.
    async fn begin(&self, session: &Session, replaces: Option<&CertificateDer<'_>>) -> Result<Begun, Trouble> {
        if let Some(pending) = self.stored_order().await? {
            match session.account.order(pending.url.clone()).await {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        tracing::info!(certificate = self.name, "going on with an order that was begun before");
                        return Ok(Begun { order, key: pending.key });
                    }
                }
                // The authority does not know it any more.
                Err(error) if words::is_final(&error) && !words::is_unknown_account(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let key_type = self.wanted.issuance.key;
        // An RSA key takes a second.
        let key = tokio::task::spawn_blocking(move || generate_key(key_type)).await;
        let key = key.map_err(|error| error.to_string())?.map_err(|error| format!("cannot make a key: {error}"))?;
        let order = self.new_order(session, replaces).await?;
        let pending = PendingOrder {
            directory: self.authority.directory().to_owned(),
            url: order.url().to_owned(),
            domains: self.names(),
            issuance: self.issuance(),
            key: Secret::new(key.serialize_pem()),
        };
        self.storage.put_order(self.name, &pending).await?;
        Ok(Begun { order, key: pending.key })
    }

    /// One of this directory, for these names, that has not become the certificate which is stored.
    async fn stored_order(&self) -> Result<Option<PendingOrder>, Trouble> {
        let Some(order) = self.storage.order(self.name).await? else { return Ok(None) };
        let stored = self.storage.certificate(self.name).await?;
        let is_over = stored.is_some_and(|certificate| certificate.key == order.key);
        let (directory, names) = (self.authority.directory(), self.names());
        let fits = order.directory == directory && order.domains == names && order.issuance == self.issuance();
        Ok(Some(order).filter(|_| fits && !is_over))
    }

    /// What an order was made with, and cannot be changed in it.
    fn issuance(&self) -> String {
        format!("{:?}", (self.wanted.issuance.key, &self.wanted.issuance.profile))
    }

    fn names(&self) -> Vec<String> {
        self.wanted.domains.iter().map(ToString::to_string).collect()
    }

    async fn new_order(&self, session: &Session, replaces: Option<&CertificateDer<'_>>) -> Result<Order, Error> {
        let domain = |domain: &AcmeDomain| Identifier::Dns(domain.as_str().to_owned());
        let identifiers: Vec<_> = self.wanted.domains.iter().map(domain).collect();
        let wanted = || match &self.wanted.issuance.profile {
            Some(profile) => NewOrder::new(&identifiers).profile(profile),
            None => NewOrder::new(&identifiers),
        };
        if let Some(replaced) = replaces.and_then(|leaf| CertificateIdentifier::try_from(leaf).ok()) {
            match session.account.new_order(&wanted().replaces(replaced)).await {
                Ok(order) => return Ok(order),
                Err(error @ Error::Api(_)) if !words::is_final(&error) => return Err(error),
                // It knows no renewal information, or not this certificate: to be asked without it.
                Err(error) => tracing::debug!(%error, "the authority is not told what is replaced"),
            }
        }
        session.account.new_order(&wanted()).await
    }

    async fn complete(&self, mut begun: Begun, session: &Session) -> Result<Arc<LoadedCertificate>, Failure> {
        let sent = match self.advance(&mut begun, session).await {
            Ok(sent) => sent,
            Err(failure) => {
                // What cannot become a certificate is not gone on with.
                if begun.order.state().status == OrderStatus::Invalid {
                    self.forget_order().await;
                }
                return Err(failure);
            }
        };
        let certificate = match (self.read)(&sent) {
            Ok(certificate) => certificate,
            Err(reason) => {
                self.forget_order().await;
                return Err(format!("what the authority sent cannot be used: {reason}").into());
            }
        };
        self.storage.put_certificate(self.name, &sent).await.map_err(|error| error.to_string())?;
        self.forget_order().await;
        Ok(certificate)
    }

    async fn forget_order(&self) {
        if let Err(error) = self.storage.remove_order(self.name).await {
            tracing::warn!(certificate = self.name, %error, "cannot take out an order that is over");
        }
    }

    async fn advance(&self, begun: &mut Begun, session: &Session) -> Result<StoredCertificate, Failure> {
        let Begun { order, key } = begun;
        if order.state().status == OrderStatus::Pending {
            self.prove(order, session).await?;
        }
        if order.state().status == OrderStatus::Ready {
            let request = signing_request(&self.wanted.domains, key)?;
            order.finalize_csr(&request).await.map_err(|error| self.authority.failure(session, &error))?;
        }
        let chain = order.poll_certificate(&POLLING).await;
        let chain = chain.map_err(|error| self.authority.failure(session, &error))?;
        Ok(StoredCertificate { chain, key: key.clone() })
    }

    /// Publishes what the authority will look for, lets it look, and waits for its verdict.
    async fn prove(&self, order: &mut Order, session: &Session) -> Result<(), Failure> {
        let kind = self.wanted.issuance.challenge;
        self.publish(order, session).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.authority.failure(session, &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let domain = base_of(authorization.identifier().identifier);
            // One that is looked at already is not to be told again.
            if let Some(mut challenge) = authorization.challenge(acme_type(kind))
                && challenge.status == ChallengeStatus::Pending
            {
                match challenge.set_ready().await {
                    // Some authorities look at once.
                    Err(Error::Api(problem)) if words::is_about_a_challenge(&problem) => {
                        return Err(words::of_challenge(&domain, kind, &problem).into());
                    }
                    outcome => outcome.map_err(|error| self.authority.failure(session, &error))?,
                }
            }
        }
        match order.poll_ready(&POLLING).await {
            Ok(OrderStatus::Invalid) => Err(self.verdict(order, session).await),
            Ok(_) => Ok(()),
            Err(_) if order.state().status == OrderStatus::Invalid => Err(self.verdict(order, session).await),
            Err(error) => Err(self.authority.failure(session, &error)),
        }
    }

    async fn publish(&self, order: &mut Order, session: &Session) -> Result<(), Failure> {
        let kind = self.wanted.issuance.challenge;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.authority.failure(session, &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let offered: Vec<String> = authorization.challenges.iter().map(|c| format!("{:?}", c.r#type)).collect();
            let domain = base_of(authorization.identifier().identifier);
            let Some(challenge) = authorization.challenge(acme_type(kind)) else {
                let offered = offered.join(", ");
                return Err(format!("the authority does not offer {kind} for {domain}, but {offered}").into());
            };
            self.publisher.publish(self.name, kind, &domain, &challenge.token, &challenge.key_authorization()).await?;
        }
        Ok(self.publisher.settle(self.name, kind).await?)
    }

    /// Which names could not be proven, and why.
    async fn verdict(&self, order: &mut Order, session: &Session) -> Failure {
        let mut reasons = Vec::new();
        let kind = self.wanted.issuance.challenge;
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let domain = base_of(authorization.identifier().identifier);
            let Ok(state) = authorization.refresh().await else { continue };
            let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            reasons.extend(problems.map(|problem| words::of_challenge(&domain, kind, problem)));
        }
        if reasons.is_empty() {
            let reason = order.state().error.as_ref().map(|problem| problem.to_string());
            reasons.push(reason.unwrap_or_else(|| "the authority gives no reason".into()));
        }
        Failure { retry_after: session.retry_after(), ..Failure::from(reasons.join("; ")) }
    }

    fn failure(&self, session: &Session, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Acme(error) => self.authority.failure(session, &error),
            Trouble::Own(words) => words.into(),
        }
    }
}

/// Why an order could not be begun.
enum Trouble {
    Acme(Error),
    /// The authority has no part in it.
    Own(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Acme(error)
    }
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Self::Own(words)
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        Self::Own(format!("the storage does not work: {error}"))
    }
}

struct Begun {
    order: Order,
    key: Secret,
}

fn base_of(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.clone(),
        // We order for DNS names alone. The enum is instant-acme's.
        other => format!("{other:?}"),
    }
}

fn generate_key(key_type: KeyType) -> Result<KeyPair, rcgen::Error> {
    match key_type {
        KeyType::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyType::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
}

/// Without a common name: clients have ignored it since 2017, and it has no room for long names.
fn signing_request(domains: &[AcmeDomain], key: &Secret) -> Result<Vec<u8>, String> {
    let wrong = |error: rcgen::Error| format!("cannot make a signing request: {error}");
    let key = KeyPair::from_pem(key.expose()).map_err(wrong)?;
    let names: Vec<String> = domains.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key).map_err(wrong)?.der().to_vec())
}
