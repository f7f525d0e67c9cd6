//! What all certificates of one authority have in common.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Semaphore;

use super::authority::Authority;
use super::challenge::{Dns, Publisher};
use super::display::Display;
use super::mirror::Mirror;
use super::storage::{CertificateStorage, Directory, StorageError};
use super::{Observer, Shown, dns};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::http_client::HttpClient;
use crate::model::{self, AcmeStorage};
use crate::tls::Challenges;

/// Orders under way at one time. An authority bounds them, too.
const ORDERS_AT_ONCE: usize = 8;

/// The application is asked about so many names at one time; orders do not wait for it.
const ASKS_AT_ONCE: usize = 8;

pub struct Surroundings {
    pub settings: Arc<model::Acme>,
    /// Those of `settings.ca`, as they were read.
    pub roots: Roots,
    pub storage: Arc<dyn CertificateStorage>,
    pub mirror: Arc<Mirror>,
    pub display: Arc<Display>,
    pub authority: Authority,
    pub publisher: Publisher,
    pub http: HttpClient,
    pub observer: Observer,
    pub permits: Semaphore,
    pub ask_permits: Semaphore,
}

/// What can be found wrong with an authority's settings without asking anybody. Blocks on files.
pub fn check(settings: &model::Acme) -> Diagnostics {
    let mut found = Diagnostics::default();
    if let Err(error) = roots(settings) {
        found.push(error);
    }
    for (key, path) in settings.secret_files() {
        if let Err(error) = std::fs::read(path) {
            let message = format!("cannot read {}: {error}", path.display());
            found.push(Diagnostic::error(settings.origin.clone(), key, message));
        }
    }
    found
}

pub type Roots = Vec<CertificateDer<'static>>;

/// The roots that the settings name, none where they name none. Blocks on files.
pub fn roots(settings: &model::Acme) -> Result<Roots, Diagnostic> {
    let wrong = |reason| Diagnostic::error(settings.origin.clone(), "acme.ca", reason);
    settings.ca.as_deref().map_or(Ok(Roots::new()), |path| read_roots(path).map_err(wrong))
}

fn read_roots(path: &Path) -> Result<Roots, String> {
    let wrong = |error: String| format!("cannot read roots from {}: {error}", path.display());
    let roots: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?.collect();
    match roots {
        Ok(roots) if roots.is_empty() => Err(wrong("there is no certificate in it".into())),
        Ok(roots) => Ok(roots),
        Err(error) => Err(wrong(error.to_string())),
    }
}

impl Surroundings {
    /// Opens what the settings name. Blocks on files.
    pub fn open(
        settings: Arc<model::Acme>,
        resolvers: Vec<SocketAddr>,
        shown: &Shown,
        display: Arc<Display>,
        observer: Observer,
    ) -> Result<Self, Diagnostic> {
        let wrong = |reason: String| Diagnostic::error(settings.origin.clone(), "acme.storage", reason);
        let AcmeStorage::Folder(folder) = &settings.storage else {
            return Err(wrong("a file's certificates are kept in a folder".into()).help("name one"));
        };
        let storage = Directory::open(folder).map_err(|error| {
            wrong(format!("cannot be used: {error}")).help("name a folder that the user Weir runs as may write to")
        })?;
        Self::with_storage(Arc::new(storage), settings, resolvers, shown.challenges.clone(), display, observer)
    }

    /// With a storage that is open. Blocks on files.
    pub fn with_storage(
        storage: Arc<dyn CertificateStorage>,
        settings: Arc<model::Acme>,
        resolvers: Vec<SocketAddr>,
        challenges: Arc<Challenges>,
        display: Arc<Display>,
        observer: Observer,
    ) -> Result<Self, Diagnostic> {
        let roots = roots(&settings)?;
        let http = HttpClient::new(&roots).map_err(|error| {
            Diagnostic::error(settings.origin.clone(), "acme", format!("cannot set TLS up: {error}"))
        })?;
        let mirror = Arc::new(Mirror::new(storage.clone(), challenges));
        let dns = settings.dns.as_ref().map(|provider| Dns {
            solver: dns::solver(provider, http.clone()),
            propagation: settings.dns_propagation.clone(),
            resolvers,
        });
        Ok(Self {
            authority: Authority::new(settings.clone(), http.clone(), storage.clone()),
            publisher: Publisher::new(storage.clone(), mirror.clone(), dns),
            settings,
            roots,
            storage,
            mirror,
            display,
            http,
            observer,
            permits: Semaphore::new(ORDERS_AT_ONCE),
            ask_permits: Semaphore::new(ASKS_AT_ONCE),
        })
    }

    /// Has a certificate ordered, due or not, by whichever process comes first: it is written down, so that neither a
    /// failure nor a restart forgets it.
    pub async fn force(&self, name: &str) -> Result<(), String> {
        const LOOKS: u32 = 10;
        const LOOK_EVERY: Duration = Duration::from_millis(500);
        let in_words = |error: StorageError| error.to_string();
        for _ in 0..LOOKS {
            if let Some(_lease) = self.storage.lock(name).await.map_err(in_words)? {
                let mut progress = self.storage.progress(name).await.map_err(in_words)?;
                (progress.forced, progress.not_before) = (true, None);
                return self.storage.put_progress(name, &progress).await.map_err(in_words);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("the certificate \"{name}\" is being ordered right now"))
    }
}
