//! What can be said of folders when a configuration is read.

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{Action, Files, Model};

/// Roots that are no folders Weir may read. Blocks on files.
pub fn check_roots(model: &Model) -> Diagnostics {
    let mut found = Diagnostics::default();
    for (at, host) in model.hosts.iter().enumerate() {
        for (nth, route) in host.routes.iter().enumerate() {
            let Action::Files(files) = &route.action else { continue };
            if let Err(reason) = check(files) {
                let message = format!("{} cannot be served: {reason}", files.root.display());
                let help = "name a folder that is there and that Weir may read";
                let path = format!("hosts[{at}].routes[{nth}].files.root");
                found.push(Diagnostic::error(route.origin.clone(), path, message).help(help));
            }
        }
    }
    found
}

fn check(files: &Files) -> Result<(), String> {
    // None was written, or none that could be read: that has been reported.
    if files.root.as_os_str().is_empty() {
        return Ok(());
    }
    let metadata = std::fs::metadata(&files.root).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is no folder".into());
    }
    // Asks for the right to go through it, which is all that is needed.
    std::fs::metadata(files.root.join(".")).map(drop).map_err(|error| error.to_string())
}
