//! `weir check`: everything that is wrong with a file, without serving it.

use std::path::Path;
use std::process::ExitCode;

use super::{Format, NO};
use crate::app::Candidate;
use crate::diagnostics::Severity;
use crate::sources::config::report;

pub fn check(file: &Path, format: Format) -> ExitCode {
    let candidate = Candidate::load(file);
    match format {
        Format::Json => println!("{}", report::json(&candidate.diagnostics)),
        Format::Text if candidate.diagnostics.is_empty() => println!("{}: good", file.display()),
        Format::Text => print!("{}", report::text(&candidate.diagnostics, &candidate.source)),
    }
    match candidate.diagnostics.count(Severity::Error) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(NO),
    }
}
