//! PEM, bounded in size, with errors that say which file and why.
//!
//! ```text
//! path ──read──► bytes ──► certificate chain | private key   or   Problem { message, help }
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::material::Material;

/// Larger than the bundle of every public root; a path to anything else must not fill the memory.
const MAX_FILE_SIZE: u64 = 4 << 20;

/// What is wrong with a file, in the words of a diagnostic. Never holds its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub message: String,
    pub help: Option<&'static str>,
}

impl Problem {
    pub fn new(message: String) -> Self {
        Self { message, help: None }
    }

    pub fn help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }
}

/// Every certificate in the file, in its order; at least one.
pub(super) fn read_certificates(path: &Path, material: &Material) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read(path, material)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::new(format!("{} is not a PEM file: {error}", path.display())))?;
    if certificates.is_empty() {
        let problem = Problem::new(format!("there is no certificate in {}", path.display()));
        return Err(match has_private_key(&bytes) {
            true => problem.help("it holds a private key; are \"cert\" and \"key\" exchanged?"),
            false => problem.help("a PEM certificate begins with \"-----BEGIN CERTIFICATE-----\""),
        });
    }
    Ok(certificates)
}

/// The first private key in the file: PKCS#8, PKCS#1 or SEC1.
pub(super) fn read_private_key(path: &Path, material: &Material) -> Result<PrivateKeyDer<'static>, Problem> {
    let bytes = read(path, material)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let problem = Problem::new(format!("there is no private key in {}", path.display()));
        if contains(&bytes, b"ENCRYPTED") {
            problem.help("the key is encrypted; decrypt it with \"openssl pkey -in encrypted.key -out plain.key\"")
        } else if contains(&bytes, b"BEGIN CERTIFICATE") {
            problem.help("it holds a certificate; are \"cert\" and \"key\" exchanged?")
        } else {
            problem.help("a PEM key begins with \"-----BEGIN PRIVATE KEY-----\"")
        }
    })
}

fn read(path: &Path, material: &Material) -> Result<Arc<[u8]>, Problem> {
    material.read(path, MAX_FILE_SIZE).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => Problem::new(format!("cannot read {path}: there is no such file")),
        io::ErrorKind::FileTooLarge => Problem::new(format!("{path} is larger than {} MiB", MAX_FILE_SIZE >> 20)),
        io::ErrorKind::PermissionDenied => Problem::new(format!("cannot read {path}: permission denied"))
            .help("the user that Weir runs as must be able to read it, and to enter its directory"),
        _ => Problem::new(format!("cannot read {path}: {error}")),
    }
}

fn has_private_key(bytes: &[u8]) -> bool {
    contains(bytes, b"PRIVATE KEY-----")
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_permission_names_who_must_be_able_to_read_it() {
        let problem = unreadable(Path::new("a.key"), &io::ErrorKind::PermissionDenied.into());
        assert_eq!(problem.message, "cannot read a.key: permission denied");
        assert!(problem.help.unwrap().contains("the user that Weir runs as"));
    }

    #[test]
    fn a_file_that_has_no_end_is_refused() {
        let problem = read_certificates(Path::new("/dev/zero"), &Material::OnDisk).unwrap_err();
        assert_eq!(problem.message, "/dev/zero is larger than 4 MiB");
    }
}
