//! Flags of the admission webhook: ingress-nginx's, and one for a certificate of Weir's own.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Given, everywhere, given, path, text};
use crate::app::{Webhook, WebhookCertificate};

#[derive(Args)]
pub struct WebhookFlags {
    /// Where the admission webhook is asked, as :8443; without it there is none
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    validating_webhook: Option<Given<SocketAddr>>,
    /// The webhook's certificate; without it Weir makes one
    #[arg(long, value_name = "FILE", value_parser = path)]
    validating_webhook_certificate: Option<Given<PathBuf>>,
    /// Its key
    #[arg(long, value_name = "FILE", value_parser = path)]
    validating_webhook_key: Option<Given<PathBuf>>,
    /// The ValidatingWebhookConfiguration that leads here: told whom to trust, where Weir makes the certificate
    #[arg(long, value_name = "NAME", value_parser = text)]
    validating_webhook_configuration: Option<Given<String>>,
}

impl WebhookFlags {
    /// Else what is wrong with them together.
    pub fn webhook(&self) -> Result<Option<Webhook>, String> {
        let Some(address) = self.validating_webhook.flatten() else { return Ok(None) };
        let files =
            (self.validating_webhook_certificate.clone().flatten(), self.validating_webhook_key.clone().flatten());
        let certificate = match (files, self.validating_webhook_configuration.clone().flatten()) {
            ((Some(certificate), Some(key)), None) => WebhookCertificate::Files { certificate, key },
            ((None, None), Some(configuration)) => WebhookCertificate::Own { configuration },
            ((Some(_), Some(_)), Some(_)) => {
                return Err(
                    "--validating-webhook-certificate and --validating-webhook-configuration exclude each other: \
                            whom to trust is told of Weir's own certificate alone"
                        .into(),
                );
            }
            ((None, None), None) => {
                return Err("--validating-webhook needs a certificate: write --validating-webhook-certificate and \
                            --validating-webhook-key, or --validating-webhook-configuration to have Weir make one"
                    .into());
            }
            ((Some(_), None) | (None, Some(_)), _) => {
                return Err("--validating-webhook-certificate and --validating-webhook-key belong together".into());
            }
        };
        Ok(Some(Webhook { address, certificate }))
    }
}

/// As Go listens: `:8443` is every address.
fn address(written: &str) -> Result<Given<SocketAddr>, String> {
    given(written, |text| match text.strip_prefix(':') {
        Some(port) => port.parse().map(everywhere).map_err(|_| "write it as :8443".to_owned()),
        None => text.parse().map_err(|_| "write it as :8443, or as ADDRESS:PORT".to_owned()),
    })
}
