//! What signals mean to a running Weir.

use std::process::Child;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{App, upgrade};
use crate::sources::kube::reporting::Departure;

/// What the process has been sent and has not looked at yet. Made before anything listens: a signal that comes earlier
/// ends the process, whatever its name promises.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind: SignalKind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            reopen: listen(SignalKind::user_defined1())?,
            upgrade: listen(SignalKind::user_defined2())?,
        })
    }
}

/// Returns when the process is to drain and end.
pub async fn serve(app: &Arc<App>, signals: &mut Signals) -> Departure {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => app.reload_now.notify_one(),
            _ = signals.reopen.recv() => reopen_access_log(app).await,
            _ = signals.upgrade.recv() => match start_successor(app).await {
                Ok(successor) => {
                    tracing::info!(pid = successor.id(), "the successor serves; draining");
                    return Departure::IsSucceeded;
                }
                Err(error) => tracing::error!(%error, "no successor; serving on"),
            },
        }
    }
    tracing::info!("asked to stop; draining");
    Departure::Ends
}

async fn reopen_access_log(app: &App) {
    if let Some(log) = &app.parts.lock().await.access_log {
        log.reopen();
    }
}

/// The admin listener's address is the successor's from then on.
async fn start_successor(app: &Arc<App>) -> anyhow::Result<Child> {
    let mut parts = app.parts.lock().await;
    let sockets = parts.plane.sockets().context("cannot duplicate the listening sockets")?;
    // One address, one owner: the successor binds it itself.
    if let Some(admin) = parts.admin.take() {
        admin.stop().await;
    }
    let successor = upgrade::hand_over(&app.program, sockets).await;
    if successor.is_err() {
        app.restore_admin(&mut parts).await;
    }
    Ok(successor?)
}
