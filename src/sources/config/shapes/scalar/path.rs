//! Paths: those that requests are matched by, and those that are sent.
//!
//! Requests are matched by their normalized path (percent-decoded, dot segments resolved, slashes merged), so that a
//! route whose path is not normalized could never match. Such a path is refused with what to write instead.

use std::sync::Arc;

use super::scalar;

scalar! {
    /// A path to match, as it reads after normalization: decoded, without dot segments, double slashes, query and fragment.
    MatchedPath(Arc<str>), "a path that begins with \"/\"", matched_path,
    { "type": "string", "pattern": "^/[^?#]*$" }
}

scalar! {
    /// A path to send: begins with a slash; characters outside of ASCII and blanks are percent-encoded.
    SentPath(Arc<str>), "a path that begins with \"/\"", sent_path,
    { "type": "string", "pattern": "^/[!-~]*$" }
}

scalar! {
    /// A path to send, as above; a query may follow it.
    SentTarget(Arc<str>), "a path that begins with \"/\"", sent_target,
    { "type": "string", "pattern": "^/[!-~]*$" }
}

scalar! {
    /// The path of a health check; a query may follow it.
    ProbePath(Arc<str>), "a path that begins with \"/\"", probe_path,
    { "type": "string", "pattern": "^/[!-~]*$" }
}

scalar! {
    /// What a match is replaced by; `$1` and `${name}` are captures, `$$` is a dollar sign. A query may follow the path.
    Replacement(Arc<str>), "a replacement", replacement,
    { "type": "string" }
}

scalar! {
    /// The name of a file, without a path.
    FileName(Arc<str>), "the name of a file", file_name,
    { "type": "string", "pattern": "^[^/]+$" }
}

fn file_name(text: &str) -> Result<Arc<str>, String> {
    match text.is_empty() || text == "." || text == ".." || text.contains(|c: char| c == '/' || c.is_control()) {
        true => Err(format!("\"{text}\" is not the name of a file; write it without a path, as \"index.html\"")),
        false => Ok(text.into()),
    }
}

fn matched_path(text: &str) -> Result<Arc<str>, String> {
    if let Some((path, _)) = text.split_once('?') {
        return Err(format!("the query is no part of the path; write \"{path}\" and the parameters under \"query\""));
    }
    if let Some((path, _)) = text.split_once('#') {
        return Err(format!("browsers keep what follows a \"#\" to themselves; write \"{path}\""));
    }
    if !text.starts_with('/') {
        return Err(format!("\"{text}\" does not begin with a slash; write \"/{}\"", text.trim_start_matches('*')));
    }
    if text.ends_with("/*") || text.ends_with("/**") {
        let prefix = text.trim_end_matches('*');
        return Err(format!("\"{text}\" would match a star; a \"path\" is a prefix already: write \"{prefix}\""));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(format!("a path cannot hold the control character {bad:?}"));
    }
    let Some(decoded) = decoded(text) else {
        return Err(format!(
            "\"{text}\" holds percent-escapes of bytes that are no UTF-8 text; such requests are refused"
        ));
    };
    match normalized(&decoded) {
        normal if normal == text => Ok(text.into()),
        normal => Err(format!("\"{text}\" never matches, since paths are normalized first; write \"{normal}\"")),
    }
}

fn sent_path(text: &str) -> Result<Arc<str>, String> {
    match text.find(['?', '#']) {
        Some(at) => Err(format!("\"{text}\" is more than a path; write \"{}\", the query is kept", &text[..at])),
        None => probe_path(text),
    }
}

fn probe_path(text: &str) -> Result<Arc<str>, String> {
    if !text.starts_with('/') {
        return Err(format!("\"{text}\" does not begin with a slash; write \"/{text}\""));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        None => Ok(text.into()),
        Some(bad) => {
            Err(format!("\"{text}\" holds {bad:?}, which is sent percent-encoded; write \"{}\"", encoded(bad)))
        }
    }
}

fn sent_target(text: &str) -> Result<Arc<str>, String> {
    if text.starts_with("//") {
        return Err(format!("\"{text}\" would name a host; write \"/{}\"", text.trim_start_matches('/')));
    }
    refuse_question_mark_at_the_end(text)?;
    probe_path(text)
}

/// Nobody who has not read nginx's manual would know what it does.
fn refuse_question_mark_at_the_end(text: &str) -> Result<(), String> {
    match text.strip_suffix('?') {
        None => Ok(()),
        Some(before) => Err(format!("to drop the client's query, write \"{before}\" and query: drop beside it")),
    }
}

fn replacement(text: &str) -> Result<Arc<str>, String> {
    refuse_question_mark_at_the_end(text)?;
    if let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") {
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        return Err(format!(
            "\"{text}\" is more than a path; write \"{}\", and in a redirect scheme: {scheme} and host: {host}",
            if path.is_empty() { "/" } else { path }
        ));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        None => Ok(text.into()),
        Some(bad) => {
            Err(format!("\"{text}\" holds {bad:?}, which is sent percent-encoded; write \"{}\"", encoded(bad)))
        }
    }
}

fn encoded(c: char) -> String {
    c.encode_utf8(&mut [0; 4]).bytes().map(|b| format!("%{b:02X}")).collect()
}

/// A "%" that begins no escape stands for itself. None where the bytes are no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match (first, escaped_byte(after)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn escaped_byte(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    Some((digit(*digits.first()?)? * 16 + digit(*digits.get(1)?)?) as u8)
}

/// Dot segments resolved, slashes merged; a slash at the end stays.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let is_folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    match (kept.is_empty(), is_folder) {
        (true, _) => "/".into(),
        (false, true) => format!("/{}/", kept.join("/")),
        (false, false) => format!("/{}", kept.join("/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normalized_path_is_taken_as_it_is() {
        for path in ["/", "/api", "/api/", "/a b/ü", "/a.b/..c", "/100%"] {
            assert_eq!(&*matched_path(path).unwrap(), path);
        }
    }

    #[test]
    fn a_path_that_could_never_match_is_refused_with_one_that_can() {
        let wrong = [
            ("api", "write \"/api\""),
            ("/a?b=1", "write \"/a\" and the parameters under \"query\""),
            ("/a#b", "write \"/a\""),
            ("/a%20b", "write \"/a b\""),
            ("/a/../b", "write \"/b\""),
            ("/a//b/./", "write \"/a/b/\""),
            ("/a/*", "write \"/a/\""),
            ("/100%25", "write \"/100%\""),
            ("/%ff", "no UTF-8 text"),
        ];
        for (path, mend) in wrong {
            let message = matched_path(path).unwrap_err();
            assert!(message.contains(mend), "{path}: {message}");
        }
    }

    #[test]
    fn a_path_to_send_is_ascii_without_query() {
        assert_eq!(&*sent_path("/a%20b").unwrap(), "/a%20b");
        assert!(sent_path("/a?b").unwrap_err().contains("the query is kept"));
        assert!(sent_path("/a b").unwrap_err().contains("%20"));
        assert_eq!(&*probe_path("/health?full=1").unwrap(), "/health?full=1");
    }
}
