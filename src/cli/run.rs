//! `weir run`: the file is served until a signal says otherwise.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use super::NO;
use crate::app::{self, StartError};
use crate::telemetry::log::{LogFormat, LogSettings};

pub fn run(file: &Path) -> anyhow::Result<ExitCode> {
    serve(app::Options::new(file))
}

/// Until a signal ends it.
pub fn serve(options: app::Options) -> anyhow::Result<ExitCode> {
    let default = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    LogSettings::read(|name| std::env::var(name).ok(), default)?.install()?;
    let runtime = app::control_runtime()?;
    runtime.block_on(async {
        match app::start(options).await {
            Ok(running) => running.until_stopped().await.map(|()| ExitCode::SUCCESS),
            Err(StartError::Refused(report)) => {
                eprint!("{report}");
                Ok(ExitCode::from(NO))
            }
            Err(StartError::Failed(error)) => Err(error),
        }
    })
}
