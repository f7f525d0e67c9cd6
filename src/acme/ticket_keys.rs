//! Keys of session tickets that all processes on one storage share: a client resumes at whichever it meets.
//!
//! ```text
//! storage (under its lock) ──► maintain: still good, or the next key beside them ──► tls::Tickets
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::storage::{CertificateStorage, Secret, StorageError};
use crate::tls::Tickets;
use crate::tls::tickets::{Store, maintain};

/// Keys are published half a period before they are used: everybody looks several times in between.
const LOOKS_PER_PERIOD: u32 = 8;

const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Another process is at it, or the storage does not work.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps the keys in step for as long as it is polled.
pub async fn share(storage: Arc<dyn CertificateStorage>, tickets: Arc<Tickets>, rotate: Duration) {
    loop {
        let pause = match look(&*storage, &tickets, rotate).await {
            Ok(true) => (rotate / LOOKS_PER_PERIOD).min(LONGEST_PAUSE),
            Ok(false) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "the keys of session tickets are not shared; those in use go on");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Whether it was our turn.
async fn look(storage: &dyn CertificateStorage, tickets: &Tickets, rotate: Duration) -> Result<bool, StorageError> {
    let Some(_lease) = storage.lock("ticket-keys").await? else { return Ok(false) };
    let stored = storage.ticket_keys().await?;
    let maintained = maintain(stored.as_ref().map(Secret::expose), SystemTime::now(), rotate);
    let (keys, store) =
        maintained.map_err(|error| StorageError { what: "ticket keys".into(), reason: error.to_string() })?;
    if store == Store::Anew {
        storage.put_ticket_keys(&Secret::new(keys.to_json())).await?;
    }
    tickets.replace(keys);
    Ok(true)
}
