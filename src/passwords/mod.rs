//! Who may come in by name and password: files as `htpasswd` writes them, read and asked.
//!
//! ```text
//! file ──load──► Users { name: PasswordHash } + Diagnostics
//! name, password ──► Checks ──verified lately?──► yes
//!                      └──no──► a thread that may block ──Users──► yes or no
//! ```
//!
//! It knows nothing of HTTP. Hashes and passwords are neither shown nor logged.

mod apr1;
mod checks;
mod hash;
mod load;
mod recent;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use checks::{Checks, TooMany};
use hash::PasswordHash;
pub use load::{UserFiles, load_users};

/// The users of one file. None: nobody comes in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    by_name: BTreeMap<Arc<str>, PasswordHash>,
    /// What a wrong password costs, whoever is named.
    dearest: Option<PasswordHash>,
}

impl Users {
    fn new(by_name: BTreeMap<Arc<str>, PasswordHash>) -> Self {
        let dearest = by_name.values().max_by_key(|hash| hash.cost()).cloned();
        Self { by_name, dearest }
    }

    /// Takes as long as the hashes ask for: a tenth of a second is common. That there is no such user takes as long as that a password
    /// is wrong, so that names cannot be found out.
    fn verify(&self, name: &str, password: &[u8]) -> bool {
        let hash = self.by_name.get(name);
        if hash.is_some_and(|hash| hash.verify(password)) {
            return true;
        }
        if let Some(dearest) = &self.dearest
            && hash.is_none_or(|hash| hash.cost() < dearest.cost())
        {
            std::hint::black_box(dearest.verify(password));
        }
        false
    }

    fn get(&self, name: &str) -> Option<(&Arc<str>, &PasswordHash)> {
        self.by_name.get_key_value(name)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.by_name.len())
    }
}
