//! Connections of a worker's own questions, beside those that requests travel on.

use std::sync::Arc;

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use tokio::sync::OnceCell;
use tokio::task::{JoinError, spawn_blocking};

/// Made when it is first needed, and elsewhere: it reads the system's certificate authorities, which takes as long as the rest of a
/// start.
#[derive(Default)]
pub struct OwnConnector {
    made: Arc<OnceCell<Connector>>,
    /// Idle connections in all; none: as many as Pingora thinks right.
    pool_size: Option<usize>,
}

impl OwnConnector {
    pub fn with_pool(size: usize) -> Self {
        Self { pool_size: Some(size), ..Self::default() }
    }

    pub async fn get(&self) -> Result<&Connector, JoinError> {
        if self.made.get().is_none() {
            let (made, pool_size) = (self.made.clone(), self.pool_size);
            // In a task of its own: whoever asks may be gone before it is made, and the next one would begin anew.
            tokio::spawn(async move { made.get_or_try_init(|| make(pool_size)).await.map(drop) }).await??;
        }
        self.made.get_or_try_init(|| make(self.pool_size)).await
    }
}

async fn make(pool_size: Option<usize>) -> Result<Connector, JoinError> {
    spawn_blocking(move || Connector::new(pool_size.map(ConnectorOptions::new))).await
}
