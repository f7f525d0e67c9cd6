//! Dynamic update: one message to the zone's primary, signed with a key that both know.
//!
//! ```text
//! name ──SOA?──► zone ──► UPDATE { zone, + or − TXT } + TSIG ──TCP──► server ──► answer, signed with the same key
//! ```
//!
//! RFC 2136 and RFC 8945. Over TCP alone: a signed message may be too long for a datagram, and a spoofed answer is no concern.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::{Message, Query, ResponseCode, update_message};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm as Algorithm, TsigError};
use hickory_proto::rr::rdata::{SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType, TSigner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Solver, TTL, read_secret, suffixes};
use crate::model::{Rfc2136, TsigAlgorithm};

/// For one exchange with the server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How far both clocks may be apart, in seconds (RFC 8945 §10 recommends it).
const FUDGE: u16 = 300;

pub struct DynamicUpdate(Rfc2136);

impl DynamicUpdate {
    pub fn new(settings: Rfc2136) -> Self {
        Self(settings)
    }

    /// What is configured, or what the server says is closest to the name.
    async fn zone(&self, name: &str) -> Result<Name, String> {
        if let Some(zone) = &self.0.zone {
            let zone = parse(zone)?;
            return match zone.zone_of(&parse(name)?) {
                true => Ok(zone),
                false => Err(format!("{name} is not in the zone {zone}; write no zone, and it is found")),
            };
        }
        let mut answer = ResponseCode::NoError;
        for candidate in suffixes(name) {
            let mut question = Message::query();
            question.metadata.recursion_desired = false;
            question.add_query(Query::query(parse(candidate)?, RecordType::SOA));
            let (_, message) = self.exchange(&question).await?;
            if let Some(zone) = closest_zone(&message, &parse(name)?) {
                return Ok(zone);
            }
            answer = message.metadata.response_code;
        }
        let server = self.0.server;
        Err(format!("{server}: the server has no zone for {name} (it answers \"{answer}\"); is it the zone's primary?"))
    }

    async fn update(&self, zone: &Name, mut message: Message) -> Result<(), String> {
        let signer = self.signer().await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unsigned = |error| format!("the update cannot be signed: {error}");
        let mut verifier = message.finalize(&signer, now).map_err(unsigned)?;
        let (bytes, answer) = self.exchange(&message).await?;
        if let Some(reason) = self.refusal(zone, &answer) {
            return Err(format!("{}: {reason}", self.0.server));
        }
        let genuine = verifier.as_mut().is_some_and(|verifier| verifier.verify(&bytes).is_ok());
        match genuine {
            true => Ok(()),
            false => Err(format!(
                "{}: the answer is not signed with the key {}; who answers there?",
                self.0.server,
                self.key()
            )),
        }
    }

    async fn signer(&self) -> Result<TSigner, String> {
        let (path, secret) = (&self.0.secret_file, read_secret(&self.0.secret_file).await?);
        let not_base64 =
            |_| format!("{}: not base64; write the key's secret alone, as tsig-keygen prints it", path.display());
        let secret = BASE64_STANDARD.decode(secret.expose()).map_err(not_base64)?;
        let algorithm = match self.0.algorithm {
            TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
            TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
            TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
        };
        TSigner::new(secret, algorithm, parse(&self.0.key_name)?, FUDGE).map_err(|error| error.to_string())
    }

    /// Why the update was not made. Told also of an answer without a signature: a false one could only deny.
    fn refusal(&self, zone: &Name, answer: &Message) -> Option<String> {
        let key = format!("the server does not accept the key {}", self.key());
        if let Some(error) = answer.signature().and_then(|signature| signature.data.error) {
            let file = self.0.secret_file.display();
            return Some(match error {
                TsigError::BadKey => {
                    format!("{key}: it knows none of this name and algorithm, or none that may update {zone} (BADKEY)")
                }
                TsigError::BadSig => format!("{key}: the secret in {file} is not the server's (BADSIG)"),
                TsigError::BadTime => format!("{key}: the clocks are more than {FUDGE} s apart (BADTIME)"),
                TsigError::BadTrunc => format!("{key}: it wants longer signatures (BADTRUNC)"),
                TsigError::Unknown(code) => format!("{key}: TSIG error {code}"),
            });
        }
        match answer.metadata.response_code {
            ResponseCode::NoError => None,
            ResponseCode::NotAuth => Some(format!(
                "the server is not authoritative for zone {zone}, or does not accept the key {} (NOTAUTH)",
                self.key()
            )),
            ResponseCode::NotZone => Some(format!("the name is not in zone {zone} (NOTZONE)")),
            ResponseCode::Refused => {
                Some(format!("the server refuses updates of zone {zone}: does its policy allow the key to?"))
            }
            ResponseCode::NotImp => Some("the server knows no dynamic updates".into()),
            other => Some(format!("the server does not update zone {zone}: \"{other}\"")),
        }
    }

    /// With its trailing dot, as servers write it.
    fn key(&self) -> String {
        format!("{}.", self.0.key_name.trim_end_matches('.'))
    }

    /// The answer as it came, and read.
    async fn exchange(&self, question: &Message) -> Result<(Vec<u8>, Message), String> {
        let server = self.0.server;
        let bytes = question.to_vec().map_err(|error| error.to_string())?;
        let answer = match tokio::time::timeout(TIMEOUT, exchange_over_tcp(server, &bytes)).await {
            Ok(answer) => answer.map_err(|error| format!("{server}: {error}"))?,
            Err(_) => return Err(format!("{server}: no answer within {} s", TIMEOUT.as_secs())),
        };
        let message = Message::from_vec(&answer).map_err(|error| format!("{server}: no DNS message: {error}"))?;
        match message.metadata.id == question.metadata.id {
            true => Ok((answer, message)),
            false => Err(format!("{server}: the answer is to another question")),
        }
    }
}

#[async_trait]
impl Solver for DynamicUpdate {
    async fn present(&self, name: &str, value: &str) -> Result<(), String> {
        let zone = self.zone(name).await?;
        let message = update_message::append(record(name, value)?, zone.clone(), false, false);
        self.update(&zone, message).await
    }

    async fn cleanup(&self, name: &str, value: &str) -> Result<(), String> {
        let zone = self.zone(name).await?;
        let message = update_message::delete_by_rdata(record(name, value)?, zone.clone(), false);
        self.update(&zone, message).await
    }
}

/// In the answer where the name is a zone itself, beside a negative one where it is within.
fn closest_zone(message: &Message, name: &Name) -> Option<Name> {
    let mut records = message.answers.iter().chain(&message.authorities);
    let is_soa = |record: &&Record| matches!(record.data, RData::SOA(SOA { .. })) && record.name.zone_of(name);
    records.find(is_soa).map(|record| record.name.clone())
}

fn record(name: &str, value: &str) -> Result<RecordSet, String> {
    let mut record = Record::from_rdata(parse(name)?, TTL, RData::TXT(TXT::new(vec![value.into()])));
    record.dns_class = DNSClass::IN;
    Ok(record.into())
}

fn parse(name: &str) -> Result<Name, String> {
    let mut parsed = Name::from_ascii(name).map_err(|error| format!("\"{name}\" is no name: {error}"))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

/// Each message follows its length (RFC 1035 §4.2.2).
async fn exchange_over_tcp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| std::io::Error::other("the message is too long"))?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
