//! Cases in which the lanes once differed, at their least. They are played in every run.

use super::case::Case;

/// Name, and case.
pub fn cases() -> Vec<(&'static str, Case)> {
    vec![(
        "a plain request",
        Case::plain("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    )]
}
