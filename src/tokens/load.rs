//! Files of keys and secrets, read once when a configuration is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::KeySet;
use super::key_set::SHORTEST_SECRET;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{FilterKind, JwtKeys, Model};

/// By file, as the model names it.
pub type KeyFiles = BTreeMap<PathBuf, Arc<KeySet>>;

/// Larger than any set of keys; a path to anything else must not fill the memory.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads the files of every filter that asks for tokens. Blocks on files. One that cannot be used has no entry.
pub fn load_keys(model: &Model) -> (KeyFiles, Diagnostics) {
    let (mut files, mut found) = (KeyFiles::new(), Diagnostics::default());
    for filter in model.filters() {
        let FilterKind::Jwt(jwt) = &filter.kind else { continue };
        let (path, key) = match &jwt.keys {
            JwtKeys::Url(_) => continue,
            JwtKeys::File(path) => (path, "jwks"),
            JwtKeys::SecretFile(path) => (path, "secret-file"),
        };
        if files.contains_key(path) {
            continue;
        }
        let read = match &jwt.keys {
            JwtKeys::SecretFile(_) => read_secret(path),
            JwtKeys::Url(_) | JwtKeys::File(_) => read_set(path),
        };
        match read {
            Ok(set) => drop(files.insert(path.clone(), Arc::new(set))),
            Err(message) => {
                let message = format!("{}: {message}", path.display());
                found.push(Diagnostic::error(filter.origin.clone(), format!("jwt.{key}"), message));
            }
        }
    }
    (files, found)
}

fn read_set(path: &Path) -> Result<KeySet, String> {
    KeySet::parse(&read(path)?)
}

/// A line break at its end is the editor's.
fn read_secret(path: &Path) -> Result<KeySet, String> {
    let mut secret = read(path)?;
    if secret.ends_with(b"\n") {
        secret.pop();
        if secret.ends_with(b"\r") {
            secret.pop();
        }
    }
    match secret.len() {
        0..SHORTEST_SECRET => Err(format!(
            "a secret of {} bytes can be guessed from a token; openssl rand -base64 48 makes a longer one (RFC 7518 §3.2)",
            secret.len()
        )),
        _ => Ok(KeySet::of_secret(&secret)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("it cannot be read: {error}"))?;
    match bytes.len() as u64 > LARGEST_FILE {
        true => Err("it is larger than 1 MiB".into()),
        false => Ok(bytes),
    }
}
