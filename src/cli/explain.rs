//! `weir explain`: what would happen to a request, by the matcher that serves.

use std::path::Path;
use std::process::ExitCode;

use super::{Format, NO};
use crate::app::Candidate;
use crate::diagnostics::Severity;
pub use crate::explain::Question;
use crate::explain::Unexplained;
use crate::sources::config::report;

pub fn explain(file: &Path, question: &Question, format: Format) -> anyhow::Result<ExitCode> {
    let candidate = Candidate::load(file);
    let snapshot = match candidate.compile_alone() {
        Ok(snapshot) => snapshot,
        Err(diagnostics) => {
            eprint!("{}", report::text(&diagnostics, &candidate.source));
            eprintln!("weir: the file has {} errors; mend them first", diagnostics.count(Severity::Error));
            return Ok(ExitCode::from(NO));
        }
    };
    match crate::explain::explain(&snapshot, question) {
        Ok(explanation) if format == Format::Json => {
            super::print(&format!("{}\n", serde_json::to_string_pretty(&explanation)?))
        }
        Ok(explanation) => super::print(&explanation.to_string()),
        Err(answer @ Unexplained::Refused(_)) => super::print(&format!("outcome   {answer}\n")),
        Err(Unexplained::Question(reason)) => {
            eprintln!("weir: {reason}");
            Ok(ExitCode::from(NO))
        }
    }
}
