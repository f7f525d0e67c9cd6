//! `weir health`: one question to the admin listener, for containers without a shell.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use super::{NO, admin};

const PATIENCE: Duration = Duration::from_secs(2);

pub fn health(address: SocketAddr) -> anyhow::Result<ExitCode> {
    match admin::ask(address, "GET", "/readyz", PATIENCE) {
        Ok(answer) if answer.status == 200 => Ok(ExitCode::SUCCESS),
        Ok(answer) => {
            eprintln!("weir: not ready: {}", answer.body.trim());
            Ok(ExitCode::from(NO))
        }
        Err(error) => {
            eprintln!("weir: cannot ask {address}: {error}");
            Ok(ExitCode::from(NO))
        }
    }
}
