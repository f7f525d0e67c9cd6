//! Certificates: from files, or ordered from an ACME authority.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, scalar};
use crate::defaults;
use crate::model::format_duration;

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "certificate", rename_all = "kebab-case")]
pub enum Certificate {
    /// From PEM files; they are read again when they change.
    File(KeyPair),
    /// Ordered from the authority under `acme`, kept in its storage, and renewed in time.
    Acme(AcmeCertificate),
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with cert and key")]
#[schemars(extend("required" = ["cert", "key"]))]
pub struct KeyPair {
    /// The chain, leaf first.
    pub cert: Field<scalar::FilePath>,
    /// The leaf's private key.
    pub key: Field<scalar::FilePath>,
}

/// One certificate for these names. The other keys stand instead of those under `acme`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with domains")]
#[schemars(extend("required" = ["domains"]))]
pub struct AcmeCertificate {
    /// The first one is what the certificate is called by.
    pub domains: Field<List<scalar::Domain>>,
    pub challenge: Field<ChallengeType>,
    pub key: Field<KeyType>,
    pub renew_before: Field<scalar::Timeout>,
    pub profile: Field<String>,
}

/// The authority that certificates are ordered from. To name one is to agree to its terms of service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map: {} for the defaults")]
pub struct Acme {
    /// Who is told of trouble with a certificate.
    pub email: Field<scalar::Email>,
    #[schemars(extend("default" = defaults::ACME_DIRECTORY_NAME))]
    pub directory: Field<scalar::AcmeDirectory>,
    /// Roots that the authority's own certificate is verified against, beside the system's: a PEM file.
    pub ca: Field<scalar::FilePath>,
    /// The folder of accounts, keys, certificates and challenges. Several processes may share it.
    #[schemars(extend("default" = defaults::ACME_STORAGE))]
    pub storage: Field<scalar::FilePath>,
    /// How it is proven that a name is ours. Wildcards need `dns-01`.
    #[schemars(extend("default" = "http-01"))]
    pub challenge: Field<ChallengeType>,
    #[schemars(extend("default" = "ecdsa-p256"))]
    pub key: Field<KeyType>,
    /// How long before its end a certificate is renewed. By default when the authority suggests (RFC 9773), else when a
    /// third of its lifetime is left.
    pub renew_before: Field<scalar::Timeout>,
    /// One of the authority's profiles, as `shortlived`.
    pub profile: Field<String>,
    /// Ties the account to one that the authority knows already.
    pub external_account: Field<ExternalAccount>,
    /// Where `dns-01` records are written.
    pub dns: Field<DnsProvider>,
    /// When a record can be taken for seen.
    pub dns_propagation: Field<DnsPropagation>,
    /// How long is waited after a failure.
    pub retry: Field<AcmeRetry>,
    /// Certificates for names that are not written here, ordered when a client asks for one. Off by default.
    pub on_demand: Field<OnDemand>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "challenge")]
#[schemars(inline)]
pub enum ChallengeType {
    /// Answered on port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// Answered on port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// Answered by the DNS.
    #[serde(rename = "dns-01")]
    Dns01,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "key type")]
#[schemars(inline)]
pub enum KeyType {
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// External account binding, as ZeroSSL, Google and others demand.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with key-id and hmac-file")]
#[schemars(extend("required" = ["key-id", "hmac-file"]))]
pub struct ExternalAccount {
    pub key_id: Field<String>,
    /// Holds the HMAC key in base64url, as the authority shows it.
    pub hmac_file: Field<scalar::FilePath>,
}

/// Who writes TXT records.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "DNS provider", rename_all = "kebab-case")]
#[schemars(rename = "DnsProvider")]
pub enum DnsProvider {
    /// Dynamic updates, signed with TSIG: BIND, Knot, PowerDNS.
    Rfc2136(Rfc2136),
    Cloudflare(Cloudflare),
    /// Google Cloud DNS; `{}` takes the machine's own account.
    Google(GoogleDns),
    /// A program of yours.
    Exec(ExecDns),
}

/// Dynamic updates (RFC 2136).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with server, key-name and secret-file")]
#[schemars(extend("required" = ["server", "key-name", "secret-file"]))]
pub struct Rfc2136 {
    /// The primary server of the zone.
    pub server: Field<scalar::ResolverAddress>,
    /// By default the server is asked which zone a name belongs to.
    pub zone: Field<scalar::SingleHost>,
    /// The name of the TSIG key.
    pub key_name: Field<String>,
    #[schemars(extend("default" = "hmac-sha256"))]
    pub algorithm: Field<TsigAlgorithm>,
    /// Holds the TSIG key in base64.
    pub secret_file: Field<scalar::FilePath>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "TSIG algorithm", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TsigAlgorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// The DNS of Cloudflare.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with token-file")]
#[schemars(extend("required" = ["token-file"]))]
pub struct Cloudflare {
    /// Holds an API token with the permission Zone.DNS: Edit.
    pub token_file: Field<scalar::FilePath>,
    #[schemars(extend("default" = defaults::CLOUDFLARE_API))]
    pub api: Field<scalar::Url>,
}

/// Google Cloud DNS.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with project and credentials")]
pub struct GoogleDns {
    /// By default the one of the credentials, or of the machine.
    pub project: Field<String>,
    /// The JSON key file of a service account. By default the machine's own account is used.
    pub credentials: Field<scalar::FilePath>,
    #[schemars(extend("default" = defaults::GOOGLE_DNS_API))]
    pub api: Field<scalar::Url>,
    /// The metadata server of the machine.
    #[schemars(extend("default" = defaults::GOOGLE_METADATA))]
    pub metadata: Field<scalar::Url>,
}

/// It is run as `COMMAND… present NAME VALUE` and `COMMAND… cleanup NAME VALUE`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with command")]
#[schemars(extend("required" = ["command"]))]
pub struct ExecDns {
    /// The program, and arguments that come first.
    pub command: Field<List<String>>,
    #[schemars(extend("default" = format_duration(defaults::DNS_EXEC_TIMEOUT)))]
    pub timeout: Field<scalar::Timeout>,
}

/// A record takes a while to reach every server that the authority may ask.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with delay, timeout and servers")]
pub struct DnsPropagation {
    /// Waited in any case.
    #[schemars(extend("default" = format_duration(defaults::DNS_PROPAGATION_DELAY)))]
    pub delay: Field<scalar::Span>,
    /// How long the servers may take to show the record; `0s` asks none.
    #[schemars(extend("default" = format_duration(defaults::DNS_PROPAGATION_TIMEOUT)))]
    pub timeout: Field<scalar::Span>,
    /// Who is asked. By default the zone's own name servers.
    pub servers: Field<List<scalar::ResolverAddress>>,
}

/// The time between two attempts: three times as long after each failure.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with first and longest")]
pub struct AcmeRetry {
    #[schemars(extend("default" = format_duration(defaults::ACME_RETRY_FIRST)))]
    pub first: Field<scalar::Timeout>,
    #[schemars(extend("default" = format_duration(defaults::ACME_RETRY_LONGEST)))]
    pub longest: Field<scalar::Timeout>,
}

/// Without `ask` anybody could have certificates ordered in your name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with ask and rate")]
#[schemars(extend("required" = ["ask"]))]
pub struct OnDemand {
    /// Asked with `?domain=NAME` added; only a 200 lets a certificate be ordered.
    pub ask: Field<scalar::Url>,
    /// How many certificates may be ordered.
    #[schemars(extend("default" = "10/h"))]
    pub rate: Field<scalar::Rate>,
}
