//! Findings as a person reads them in a terminal, and as a program reads them in CI.
//!
//! ```text
//! weir.yaml:14:15: error: hosts[0].routes[2].timeouts.read: "5" has no unit; write "5s" for seconds
//!    14 |         read: 5
//!       |               ^
//!   help: …
//! ```

use std::fmt::Write;

use serde_json::json;

use super::SourceText;
use crate::diagnostics::{Diagnostic, Diagnostics, Severity};

/// As much of a line as is shown around a finding.
const WIDTH: usize = 160;

/// Each finding with its line; the last line counts them. Empty where there are none.
pub fn text(diagnostics: &Diagnostics, source: &SourceText) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let lines: Vec<&str> = source.lines().collect();
    let mut out = String::new();
    for diagnostic in diagnostics.iter() {
        let line = match diagnostic.origin.file == *source.name() {
            true => (diagnostic.origin.line as usize).checked_sub(1).and_then(|at| lines.get(at)),
            false => None,
        };
        // Where there is nothing to show, there is nothing to mark; a file that could not be read has no lines at all.
        let line = line.copied().filter(|line| !line.trim().is_empty());
        append(&mut out, diagnostic, line);
        out.push('\n');
    }
    out + &counts(diagnostics) + "\n"
}

/// One object: how many errors and warnings there are, and each of them.
pub fn json(diagnostics: &Diagnostics) -> String {
    let report = json!({
        "errors": diagnostics.count(Severity::Error),
        "warnings": diagnostics.count(Severity::Warning),
        "diagnostics": diagnostics,
    });
    format!("{report:#}\n")
}

/// `2 errors, 1 warning`
fn counts(diagnostics: &Diagnostics) -> String {
    let shown = |severity: Severity| match diagnostics.count(severity) {
        0 => None,
        1 => Some(format!("1 {severity}")),
        n => Some(format!("{n} {severity}s")),
    };
    [shown(Severity::Error), shown(Severity::Warning)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn append(out: &mut String, diagnostic: &Diagnostic, line: Option<&str>) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{}", Diagnostic { help: None, ..diagnostic.clone() });
    if let Some(line) = line {
        let number = diagnostic.origin.line.to_string();
        let excerpt = Excerpt::of(line, diagnostic.origin.column as usize - 1, diagnostic.origin.length as usize);
        let _ = writeln!(out, "{number:>5} | {}", excerpt.text);
        let _ = writeln!(out, "{:>w$} | {}{}", "", excerpt.indent, "^".repeat(excerpt.length), w = number.len().max(5));
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(out, "  help: {help}");
    }
}

/// The part of a line that is shown, and what stands below it.
struct Excerpt {
    text: String,
    indent: String,
    length: usize,
}

impl Excerpt {
    /// `start` counts characters from 0.
    fn of(line: &str, start: usize, length: usize) -> Self {
        let first = start.saturating_sub(WIDTH / 2);
        let chars: Vec<char> = line.trim_start_matches('\u{feff}').chars().skip(first).take(WIDTH).collect();
        let start = (start - first).min(chars.len());
        let end = start.saturating_add(length).min(chars.len());
        // What was marked may go on to the blanks after it, or over the end of the line.
        let marked = chars[start..end].iter().rev().skip_while(|c| c.is_whitespace()).count();
        Self {
            text: chars.iter().map(|c| if c.is_control() && *c != '\t' { '\u{fffd}' } else { *c }).collect(),
            indent: chars[..start].iter().map(|c| if *c == '\t' { '\t' } else { ' ' }).collect(),
            length: marked.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Origin;

    fn finding(line: u32, column: u32, length: u32) -> Diagnostics {
        let origin = Origin { file: "weir.yaml".into(), line, column, length };
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic::error(origin.clone(), "a.b", "is wrong").help("mend it"));
        diagnostics.push(Diagnostic::warning(origin, "", "is odd"));
        diagnostics
    }

    #[test]
    fn a_finding_is_shown_with_its_line_and_marks() {
        let source = SourceText::new("weir.yaml", "x: 1\n\té: \"ü\"  # c\n");
        let expected = "weir.yaml:2:5: error: a.b: is wrong\n    2 | \té: \"ü\"  # c\n      | \t   ^^^\n  help: mend it\n\n\
                        weir.yaml:2:5: warning: is odd\n    2 | \té: \"ü\"  # c\n      | \t   ^^^\n\n1 error, 1 warning\n";
        assert_eq!(text(&finding(2, 5, 5), &source), expected);
    }

    #[test]
    fn a_long_line_is_shown_around_the_finding() {
        let source = SourceText::new("weir.yaml", format!("{}HERE{}", "a".repeat(10_000), "b".repeat(10_000)));
        let shown = text(&finding(1, 10_001, 4), &source);
        assert!(shown.contains("aaHEREbb") && shown.contains("^^^^\n"), "{shown}");
        assert!(shown.len() < 1_000);
    }

    #[test]
    fn a_finding_beyond_the_text_is_shown_without_a_line() {
        let shown = text(&finding(9, 1, 1), &SourceText::new("weir.yaml", "x"));
        assert!(shown.starts_with("weir.yaml:9:1: error: a.b: is wrong\n  help: mend it\n"), "{shown}");
    }

    #[test]
    fn json_counts_and_lists() {
        let report: serde_json::Value = serde_json::from_str(&json(&finding(2, 5, 1))).unwrap();
        assert_eq!((&report["errors"], &report["warnings"]), (&json!(1), &json!(1)));
        assert_eq!(report["diagnostics"][0]["origin"]["column"], 5);
        assert_eq!(report["diagnostics"][0]["help"], "mend it");
    }

    #[test]
    fn nothing_found_is_nothing_said() {
        assert_eq!(text(&Diagnostics::default(), &SourceText::new("x", "")), "");
    }
}
