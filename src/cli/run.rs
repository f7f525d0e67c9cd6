//! `weir run`: the file is served until a signal says otherwise.

use std::path::Path;
use std::process::ExitCode;

use super::NO;
use crate::app::{self, StartError};

pub fn run(file: &Path) -> anyhow::Result<ExitCode> {
    crate::telemetry::log::init();
    let runtime = app::control_runtime()?;
    runtime.block_on(async {
        match app::start(&app::Options::new(file)).await {
            Ok(running) => running.until_stopped().await.map(|()| ExitCode::SUCCESS),
            Err(StartError::Refused(report)) => {
                eprint!("{report}");
                Ok(ExitCode::from(NO))
            }
            Err(StartError::Failed(error)) => Err(error),
        }
    })
}
