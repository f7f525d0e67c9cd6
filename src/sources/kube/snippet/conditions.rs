//! `if` with a `return`, and `rewrite` that redirects: what of a request is looked at, and what is answered.
//!
//! ```text
//! if ($http_x_key != "a b") { return 403; } ──► Condition { Header(x-key), IsNot(a b), Respond(403) }
//! ```

use super::lexer::Directive;
use crate::model::{
    Condition, ConditionalAnswer, LocationForm, PathRewrite, Pattern, QueryRewrite, Redirect, RedirectStatus,
    Replacement, Respond, Subject, Test,
};
use crate::sources::kube::annotations::value::{self, Read, quoted};
use crate::sources::kube::annotations::{Destination, destination};

const ONLY_RETURN: &str = "a return alone is understood in its block";

pub fn of_if(directive: &Directive) -> Read<Condition> {
    let block = directive.block.as_deref().unwrap_or_default();
    let [Directive { name, arguments, .. }] = block else { return Err(ONLY_RETURN.into()) };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = match (&**name, &*arguments) {
        ("return", [code]) => answer(code, "")?,
        ("return", [code, text]) => answer(code, text)?,
        _ => return Err(ONLY_RETURN.into()),
    };
    let (subject, test) = condition(&directive.arguments)?;
    Ok(Condition { subject, test, answer })
}

/// The words of `($variable)` and `($variable OPERATOR text)`.
fn condition(words: &[String]) -> Read<(Subject, Test)> {
    let wrong = || {
        let written = words.join(" ");
        format!("{} is not understood; write it as ($http_x = text), with =, !=, ~, ~*, !~ or !~*", quoted(&written))
    };
    let mut inner: Vec<&str> = words.iter().map(String::as_str).collect();
    // A bracket may be a word of its own.
    match inner.first().copied() {
        Some("(") => drop(inner.remove(0)),
        Some(word) => inner[0] = word.strip_prefix('(').ok_or_else(wrong)?,
        None => return Err(wrong()),
    }
    match inner.pop() {
        Some(")") => {}
        Some(word) => inner.push(word.strip_suffix(')').ok_or_else(wrong)?),
        None => return Err(wrong()),
    }
    let variable = inner.first().and_then(|word| word.strip_prefix('$')).ok_or_else(wrong)?;
    let subject = subject(variable)?;
    let pattern = |text: &str, ignores_case: bool| {
        let source = if ignores_case { format!("(?i){text}") } else { text.to_owned() };
        Pattern::parse(&source).map_err(|_| format!("{} is no pattern that can be read", quoted(text)))
    };
    let test = match inner[1..] {
        [] => Test::Given,
        ["=", text] => Test::Is(text.into()),
        ["!=", text] => Test::IsNot(text.into()),
        ["~", text] => Test::Matches(pattern(text, false)?),
        ["~*", text] => Test::Matches(pattern(text, true)?),
        ["!~", text] => Test::MatchesNot(pattern(text, false)?),
        ["!~*", text] => Test::MatchesNot(pattern(text, true)?),
        _ => return Err(wrong()),
    };
    Ok((subject, test))
}

fn subject(variable: &str) -> Read<Subject> {
    let named = |prefix: &str| variable.strip_prefix(prefix).filter(|name| !name.is_empty());
    Ok(match variable {
        "request_method" => Subject::Method,
        "host" => Subject::Host,
        "scheme" => Subject::Scheme,
        "request_uri" => Subject::Uri,
        "uri" | "document_uri" => Subject::Path,
        _ => match (named("http_"), named("cookie_"), named("arg_")) {
            (Some(name), _, _) => Subject::Header(name.replace('_', "-").to_ascii_lowercase().into()),
            (_, Some(name), _) => Subject::Cookie(name.into()),
            (_, _, Some(name)) => Subject::Query(name.into()),
            (None, None, None) => return Err(format!("${variable} cannot be asked about here")),
        },
    })
}

fn answer(code: &str, text: &str) -> Read<ConditionalAnswer> {
    let status = value::status(code, 200, 599)?;
    if let (Some(status), false) = (RedirectStatus::from_code(status), text.is_empty()) {
        let to: Destination = destination(text)?;
        return Ok(ConditionalAnswer::Redirect(Redirect {
            status,
            scheme: to.scheme,
            host: to.host,
            port: to.port.or(to.scheme.map(|scheme| scheme.default_port())),
            query: if to.path.is_some() { QueryRewrite::Drop } else { QueryRewrite::Keep },
            path: to.path.as_deref().map(|path| PathRewrite::Full(Replacement::literal(path))),
            form: LocationForm::Absolute,
        }));
    }
    if text.contains('$') {
        return Err("variables cannot stand in an answer's text".into());
    }
    let headers = if text.is_empty() { Vec::new() } else { vec![("Content-Type".into(), "text/plain".into())] };
    Ok(ConditionalAnswer::Respond(Respond { status, headers, body: text.into() }))
}

/// `rewrite PATTERN TARGET permanent` and `redirect`: the target is a path with captures.
pub fn of_rewrite(pattern: &str, to: &str, flag: &str) -> Read<Condition> {
    let read = Pattern::parse(pattern).map_err(|_| format!("{} is no pattern that can be read", quoted(pattern)))?;
    let (query, path) = match to.strip_suffix('?') {
        Some(path) => (QueryRewrite::Drop, path),
        None => (QueryRewrite::Keep, to),
    };
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(format!("{} is no path to redirect to; begin it with a slash", quoted(to)));
    }
    let whole = Pattern::parse(&format!("^(?s:.*?)(?:{pattern})(?s:.*)$")).map_err(|_| "the pattern is too large")?;
    let replacement = Replacement::parse(&braced(path), &whole)
        .map_err(|_| format!("{} cannot be written as a URI; captures are $1 to $9", quoted(to)))?;
    let redirect = Redirect {
        status: if flag == "permanent" { RedirectStatus::MovedPermanently } else { RedirectStatus::Found },
        scheme: None,
        host: None,
        port: None,
        path: Some(PathRewrite::Regex { pattern: whole, replacement }),
        query,
        form: LocationForm::Absolute,
    };
    Ok(Condition { subject: Subject::Path, test: Test::Matches(read), answer: ConditionalAnswer::Redirect(redirect) })
}

/// `$1x` is the first capture and an x.
fn braced(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '$'
            && let Some(digit) = chars.next_if(char::is_ascii_digit)
        {
            out.push_str(&format!("{{{digit}}}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::kube::snippet::lexer;

    fn read(text: &str) -> Read<Condition> {
        of_if(&lexer::directives(text).unwrap()[0])
    }

    #[test]
    fn what_is_asked_is_a_variable_and_a_test() {
        let asked = |text: &str| {
            let condition = read(&format!("if {text} {{ return 403; }}")).unwrap();
            (condition.subject, condition.test)
        };
        let header = |name: &str| Subject::Header(name.into());
        assert_eq!(asked("($http_x_key)"), (header("x-key"), Test::Given));
        assert_eq!(asked("($http_x_key != \"a b\")"), (header("x-key"), Test::IsNot("a b".into())));
        assert_eq!(asked("( $arg_a = b )"), (Subject::Query("a".into()), Test::Is("b".into())));
        assert_eq!(asked("($cookie_id = '')"), (Subject::Cookie("id".into()), Test::Is("".into())));
        let pattern = |text: &str| Pattern::parse(text).unwrap();
        assert_eq!(
            asked("($request_method !~ ^(GET|HEAD)$)"),
            (Subject::Method, Test::MatchesNot(pattern("^(GET|HEAD)$")))
        );
        assert_eq!(asked("($host ~* shop)"), (Subject::Host, Test::Matches(pattern("(?i)shop"))));
        for wrong in ["($geo)", "$http_x", "($http_x > 1)", "(-f $request_filename)", "($http_x ~ \"(\")"] {
            assert!(read(&format!("if {wrong} {{ return 403; }}")).is_err(), "{wrong}");
        }
        assert!(read("if ($http_x) { return 403; add_header A b; }").unwrap_err().contains("a return alone"));
    }
}
