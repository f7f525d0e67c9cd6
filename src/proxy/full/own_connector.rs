//! Connections of a worker's own questions, beside those that requests travel on.

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use tokio::sync::OnceCell;
use tokio::task::{JoinError, spawn_blocking};

/// Made when it is first needed, and elsewhere: it reads the system's certificate authorities, which takes as long as the rest of a
/// start.
#[derive(Default)]
pub struct OwnConnector {
    made: OnceCell<Connector>,
    /// Idle connections in all; none: as many as Pingora thinks right.
    pool_size: Option<usize>,
}

impl OwnConnector {
    pub fn with_pool(size: usize) -> Self {
        Self { pool_size: Some(size), ..Self::default() }
    }

    pub async fn get(&self) -> Result<&Connector, JoinError> {
        let options = self.pool_size.map(ConnectorOptions::new);
        self.made.get_or_try_init(|| spawn_blocking(move || Connector::new(options))).await
    }
}
