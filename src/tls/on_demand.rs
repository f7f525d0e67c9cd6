//! Names that nobody wrote down: a handshake that asks for one may wait while its certificate is ordered.
//!
//! ```text
//! handshake ──name──► OnDemand ──bounded channel──► acme: may it have one? ──► ordered
//!     └───────────────── waits, within its own deadline ◄──────────────────────┘
//! ```

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot};

/// A handshake's question. `decided` is dropped or answered when it makes no more sense to wait.
pub struct Wanted {
    pub name: Box<str>,
    pub decided: oneshot::Sender<()>,
}

/// So many handshakes may wait at one time, and so many names be asked for; more are shown the self-signed certificate at
/// once.
pub const MAX_WAITING: usize = 256;

/// Off until somebody takes the questions.
#[derive(Default)]
pub struct OnDemand(ArcSwapOption<mpsc::Sender<Wanted>>);

impl OnDemand {
    /// Questions go there from now on.
    pub fn ask(&self, asked: Option<mpsc::Sender<Wanted>>) {
        self.0.store(asked.map(Arc::new));
    }

    /// Returns when `name` has a certificate, or will have none soon. At once where nobody takes questions.
    pub async fn wait_for(&self, name: &str) {
        let Some(asked) = self.0.load_full() else { return };
        let (decided, answer) = oneshot::channel();
        if asked.try_send(Wanted { name: name.into(), decided }).is_ok() {
            // Dropped without an answer it is decided, too.
            let _ = answer.await;
        }
    }
}
