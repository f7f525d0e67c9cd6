//! TLS at the door: which certificates there are, which one a client is shown, and how it may speak.
//!
//! ```text
//! model::Certificate ──load──┐
//!      acme ──ordered ones───┴► CertificateStore ──ArcSwap──► CertificateResolver ──► ServerTls ──► listeners
//!      acme ──► Challenges (what an authority may ask) ───────────────────────────────────┘
//! model::ClientAuth ──client_roots──► Terms of each host ──────► Policy of each listener ────┘
//! model::UpstreamTls ──upstream──► UpstreamTlsMaterial ──► snapshot
//! ```
//!
//! Knows the model and files; knows nothing of listeners' sockets, routes or Pingora. Time is passed in,
//! save at the handshake itself.

mod agreement;
mod certificate;
mod challenges;
mod client_certificate;
mod client_config;
mod client_hello;
mod client_roots;
mod fallback;
mod key_pair;
mod load;
mod on_demand;
mod pem;
mod policy;
mod remembered;
mod resolver;
mod server_config;
mod store;
mod terms;
pub mod tickets;
mod upstream;

#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
pub(crate) mod testing;

pub use agreement::{Agreement, Disagreement, Shown, TlsFacts};
pub use certificate::{About, CertificateName, LoadedCertificate, Validity};
pub use challenges::{ChallengeAnswer, Challenges, HTTP_CHALLENGE_PATH};
pub use client_certificate::ClientCertificate;
pub use client_config::client_config;
pub use client_hello::{ClientHello, Hello, LARGEST as LARGEST_HELLO};
pub use client_roots::{ClientRootFiles, load_client_roots};
pub use fallback::FallbackError;
pub use load::{load_certificates, renew_certificates};
pub use on_demand::{MAX_WAITING, OnDemand, Wanted};
pub use policy::{Handshake, Policy, Site, Spoken};
pub use remembered::RememberedCertificates;
pub use resolver::CertificateResolver;
pub use server_config::ServerTls;
pub use store::{CertificateStore, CertificateSummary, Phase};
pub use terms::{ClientTerms, Terms, Unmet};
pub use tickets::{TicketKeys, Tickets};
pub use upstream::{UpstreamTlsMaterial, load_upstreams};

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// The one cryptography provider of the process: aws-lc-rs, with its modern suites and X25519MLKEM768 first.
/// Not whatever is the process's default: Pingora makes ring that, where it comes first.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// Makes it the process's default, which Pingora's upstream connections use. The first call counts.
pub fn install_provider() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
