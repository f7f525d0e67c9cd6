//! How the API server is reached: by a kubeconfig, or as a pod of the cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// An API server that does not answer by then is tried again; what was known is served meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The API server, where no kubeconfig says where it is.
#[derive(Clone, Debug)]
pub struct Server {
    pub url: String,
    /// PEM; None: whom the kubeconfig or the system trusts.
    pub authority: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("there is no cluster to be found: {0}")]
    Infer(#[from] kube::config::InferConfigError),
    #[error("\"{0}\" is no URL of an API server")]
    Url(String),
    #[error("the API server cannot be reached in this way: {0}")]
    Client(#[from] kube::Error),
}

/// Asks nothing yet. None: the service account of a pod, or what kubectl would use.
pub async fn connect(kubeconfig: Option<&Path>, server: Option<&Server>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?
        }
        None => match server {
            Some(server) => Config::new(server.url()?),
            None => Config::infer().await?,
        },
    };
    if let Some(server) = server {
        config.cluster_url = server.url()?;
        config.root_cert_file = server.authority.clone().or(config.root_cert_file);
    }
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Ok(Client::try_from(config)?)
}

impl Server {
    fn url(&self) -> Result<http::Uri, ConnectError> {
        self.url.parse().map_err(|_| ConnectError::Url(self.url.clone()))
    }
}
