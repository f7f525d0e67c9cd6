//! Users, read once when a configuration is.
//!
//! ```text
//! name:hash[:comment]      # comment      (blank)      ──► Users, or a finding at the line of the file
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Users;
use super::hash::PasswordHash;
use crate::diagnostics::{Diagnostic, Diagnostics, Origin};
use crate::material::Material;
use crate::model::{BasicAuth, Filter, FilterKind, Model};

/// Larger than any list of users.
const LARGEST_FILE: u64 = 64 << 20;

/// By file, as the model names it.
pub type UserFiles = BTreeMap<PathBuf, Arc<Users>>;

/// Reads what every filter that asks for passwords names. Blocks on files. One that cannot be used has no entry.
pub fn load_users(model: &Model, material: &Material) -> (UserFiles, Diagnostics) {
    let (mut files, mut found) = (UserFiles::new(), Diagnostics::default());
    for (path, filter, auth) in asked_for(model) {
        if files.contains_key(&auth.file) {
            continue;
        }
        match material.read(&auth.file, LARGEST_FILE) {
            Ok(bytes) => {
                let users = Arc::new(parse(&auth.file, &bytes, &mut found));
                files.insert(auth.file.clone(), users);
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", auth.file.display());
                let help = "name a file that is there and that Weir may read; htpasswd -B -c FILE USER makes one";
                found.push(
                    Diagnostic::error(filter.origin.clone(), format!("{path}.basic-auth.file"), message).help(help),
                );
            }
        }
    }
    (files, found)
}

/// Each with its key path.
fn asked_for(model: &Model) -> Vec<(String, &Filter, &BasicAuth)> {
    let mut asked_for = Vec::new();
    for listener in &model.listeners {
        take(&listener.filters, || format!("listeners.{}", listener.name), &mut asked_for);
    }
    for (at, host) in model.hosts.iter().enumerate() {
        take(&host.filters, || format!("hosts[{at}]"), &mut asked_for);
        for (nth, route) in host.routes.iter().enumerate() {
            take(&route.filters, || format!("hosts[{at}].routes[{nth}]"), &mut asked_for);
        }
    }
    asked_for
}

/// Most levels have none: their paths are not written.
fn take<'m>(
    filters: &'m [Filter],
    level: impl Fn() -> String,
    asked_for: &mut Vec<(String, &'m Filter, &'m BasicAuth)>,
) {
    for (at, filter) in filters.iter().enumerate() {
        if let FilterKind::BasicAuth(auth) = &filter.kind {
            asked_for.push((format!("{}.filters[{at}]", level()), filter, auth));
        }
    }
}

/// Entries that cannot be used are reported, at their line of that file.
fn parse(path: &Path, bytes: &[u8], found: &mut Diagnostics) -> Users {
    let file: Arc<str> = path.display().to_string().into();
    let place = |line: u32, length: usize| Origin {
        file: file.clone(),
        line,
        column: 1,
        length: u32::try_from(length).unwrap_or(u32::MAX).max(1),
    };
    let mut users: BTreeMap<Arc<str>, PasswordHash> = BTreeMap::new();
    let mut first_lines: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let result = entry(line).and_then(|entry| match entry {
            None => Ok(()),
            Some((name, hash)) => match first_lines.entry(name.into()) {
                Entry::Occupied(first) => Err(Problem {
                    message: format!("\"{name}\" is here twice; it was first at line {}", first.get()),
                    help: "keep one",
                }),
                Entry::Vacant(place) => {
                    place.insert(number);
                    users.insert(name.into(), hash);
                    Ok(())
                }
            },
        });
        if let Err(problem) = result {
            let name = line.iter().position(|byte| *byte == b':').unwrap_or(1);
            found.push(Diagnostic::error(place(number, name), "", problem.message).help(problem.help));
        }
    }
    if users.is_empty() && !found.has_errors() {
        let message = "no user stands in this file, so that nobody is let in";
        found.push(Diagnostic::warning(place(1, 1), "", message).help("add one with: htpasswd -B FILE USER"));
    }
    Users::new(users)
}

struct Problem {
    message: String,
    help: &'static str,
}

/// `None`: a blank line or a comment. Nothing of what it cannot read is shown: it may be a password.
fn entry(line: &[u8]) -> Result<Option<(&str, PasswordHash)>, Problem> {
    let wrong =
        |message: &str| Problem { message: message.into(), help: "each line is name:hash, as htpasswd writes it" };
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| wrong("this line is not UTF-8"))?;
    let (name, rest) = line.split_once(':').ok_or_else(|| wrong("this line has no colon between a name and a hash"))?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(wrong("this line begins with no name of a user"));
    }
    let hash = rest.split(':').next().unwrap_or_default();
    match PasswordHash::parse(hash) {
        Ok(hash) => Ok(Some((name, hash))),
        Err(unusable) => {
            Err(Problem { message: format!("user \"{name}\": {}", unusable.message), help: unusable.help })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn parsed(text: &str) -> (Users, Vec<String>) {
        let mut found = Diagnostics::default();
        let users = parse(Path::new("htpasswd"), text.as_bytes(), &mut found);
        (users, found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn comments_blank_lines_and_remarks_are_passed_over() {
        let (users, found) = parsed(&format!("# users\n\nann:{SHA}\r\nbob:{SHA}:of the office\n"));
        assert_eq!(found, Vec::<String>::new());
        assert!(users.verify("ann", b"secret") && users.verify("bob", b"secret"));
        assert!(!users.verify("# users", b"secret") && !users.verify("", b""));
    }

    #[test]
    fn each_bad_entry_is_named_at_its_line_and_shows_no_hash() {
        let (users, found) = parsed(&format!("ann:{SHA}\nbob:rqXexS6ZhobKA\nhunter2\n:{SHA}\nann:{SHA}\n"));
        assert_eq!(
            found,
            [
                "htpasswd:2:1: error: user \"bob\": the password is hashed by the old crypt, which reads its first eight characters and \
                 is guessed within hours; write it anew with: htpasswd -B FILE USER",
                "htpasswd:3:1: error: this line has no colon between a name and a hash; each line is name:hash, as htpasswd writes it",
                "htpasswd:4:1: error: this line begins with no name of a user; each line is name:hash, as htpasswd writes it",
                "htpasswd:5:1: error: \"ann\" is here twice; it was first at line 1; keep one",
            ]
        );
        assert_eq!(format!("{users:?}"), "Users(1)");
    }

    #[test]
    fn a_file_without_users_is_a_warning() {
        assert_eq!(
            parsed("# none yet\n").1,
            [
                "htpasswd:1:1: warning: no user stands in this file, so that nobody is let in; add one with: htpasswd -B FILE USER"
            ]
        );
    }
}
