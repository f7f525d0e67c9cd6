//! Which certificates Weir is to have issued for the cluster's Ingresses, and into which Secrets.
//!
//! ```text
//! Ingress: acme.weir/issuer: letsencrypt, spec.tls[].secretName ──┐
//! --acme-issuer letsencrypt,email=…  ──────────────────────────────┴─► WantedCertificate { Secret, issuer, names }
//!                                                                       └─► Events: what cannot be had, and why
//! ```
//!
//! Pure. A name is ordered once: the oldest Ingress that names it decides which Secret it comes into.

mod issuer;
mod wanted;

pub use issuer::Issuer;
pub use wanted::{Issuance, WantedCertificate, awaits, issuance};
