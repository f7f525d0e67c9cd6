//! The text of a configuration file: read within bounds, checked to be text, and cut into lines.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Origin};

/// The largest file that is read: over a hundred thousand hosts.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// A file's name, as the operator wrote it, and its text.
#[derive(Clone, Debug)]
pub struct SourceText {
    name: Arc<str>,
    text: String,
}

impl SourceText {
    pub fn new(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Reads the file; what cannot be read or is no text is one finding.
    pub(super) fn read(path: &Path) -> Result<Self, Diagnostic> {
        let name: Arc<str> = path.display().to_string().into();
        let bytes = read_bounded(path)
            .map_err(|reason| Diagnostic::error(start_of(&name), "", format!("cannot be read: {reason}")))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let origin = end_of(&name, &String::from_utf8_lossy(valid));
                Err(Diagnostic::error(origin, "", "is not UTF-8 text from here on").help("save the file as UTF-8"))
            }
        }
    }

    /// Control characters never belong in a file; the YAML scanner takes NUL for the end of it.
    pub(super) fn check_characters(&self) -> Result<(), Diagnostic> {
        let is_bad = |b: u8| (b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || b == 0x7f;
        match self.text.bytes().position(is_bad) {
            None => Ok(()),
            Some(at) => {
                let bad = char::from(self.text.as_bytes()[at]);
                let origin = end_of(&self.name, &self.text[..at]);
                Err(Diagnostic::error(origin, "", format!("the control character {bad:?} cannot stand in a file"))
                    .help("in a quoted string write it as an escape"))
            }
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines as YAML counts them: ended by `\n`, `\r\n` or `\r`.
    pub fn lines(&self) -> Lines<'_> {
        Lines::of(&self.text)
    }
}

/// Yields each line without its end.
pub struct Lines<'a>(Option<&'a str>);

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self(Some(text))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        let Some(end) = rest.find(['\n', '\r']) else {
            self.0 = None;
            return Some(rest);
        };
        let after = &rest[end..];
        self.0 = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&rest[..end])
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(format!("it is larger than {} MiB", MAX_FILE_SIZE >> 20));
    }
    Ok(bytes)
}

fn start_of(name: &Arc<str>) -> Origin {
    Origin { file: name.clone(), line: 1, column: 1, length: 1 }
}

/// The place after `text`.
fn end_of(name: &Arc<str>, text: &str) -> Origin {
    let (mut line, mut last) = (0, "");
    for text in Lines(Some(text)) {
        line += 1;
        last = text;
    }
    // A byte order mark is no column.
    let column = last.trim_start_matches('\u{feff}').chars().count() as u32 + 1;
    Origin { file: name.clone(), line, column, length: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_yaml_says() {
        let source = SourceText::new("x", "a\nb\r\nc\rd");
        assert_eq!(source.lines().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_found_at_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.yaml");
        std::fs::write(&path, b"a: 1\nb: \xc3\xa9\xff").unwrap();
        let finding = SourceText::read(&path).unwrap_err();
        assert_eq!((finding.origin.line, finding.origin.column), (2, 5));
        assert_eq!(finding.message, "is not UTF-8 text from here on");
    }

    #[test]
    fn control_characters_are_found_at_their_place() {
        let finding = SourceText::new("x", "a: 1\nb: é\0").check_characters().unwrap_err();
        assert_eq!((finding.origin.line, finding.origin.column), (2, 5));
        assert!(finding.message.contains("control character"), "{}", finding.message);
    }
}
