//! What signals mean to a running Weir.

use std::process::Child;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{App, upgrade};

/// Returns when the process is to drain and end.
pub async fn serve(app: &Arc<App>) -> anyhow::Result<()> {
    let listen = |kind: SignalKind| signal(kind).context("cannot listen for signals");
    let mut terminate: Signal = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut reopen = listen(SignalKind::user_defined1())?;
    let mut upgrade = listen(SignalKind::user_defined2())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => app.reload_now.notify_one(),
            _ = reopen.recv() => reopen_access_log(app).await,
            _ = upgrade.recv() => match start_successor(app).await {
                Ok(successor) => {
                    tracing::info!(pid = successor.id(), "the successor serves; draining");
                    return Ok(());
                }
                Err(error) => tracing::error!(%error, "no successor; serving on"),
            },
        }
    }
    tracing::info!("asked to stop; draining");
    Ok(())
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
