//! Snippets: nginx directives, of which a few are understood as what they mean. No text reaches any configuration.
//!
//! ```text
//! snippet ──lexer──► directives ──► Change each ──► all of them, or none: the directive that is not understood is named
//! ```

mod conditions;
mod lexer;

use std::sync::Arc;

use ipnet::IpNet;

use super::annotations::value::{self, Read, quoted};
use super::annotations::{Destination, Policy, destination};
use crate::model::{HeaderTemplate, TemplatePart, Variable};
use lexer::{Directive, Problem};

/// Why a snippet is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    /// Without it somebody would come in who should not.
    pub about_access: bool,
}

/// Applies all of it to the policy, or nothing.
pub fn apply(text: &str, policy: &mut Policy) -> Result<(), Refusal> {
    let about_access = is_about_access(text);
    let refused = |message| Refusal { message, about_access };
    let directives = lexer::directives(text).map_err(|problem| {
        refused(match problem {
            Problem::Block { name, line } => format!("line {line}: \"{name}\" and its block are not understood"),
            Problem::Unreadable { reason, line } => format!("line {line}: {reason}"),
        })
    })?;
    let mut changed = policy.clone();
    let mut access = Access::default();
    for directive in &directives {
        let Directive { name, line, .. } = directive;
        let outcome = change(directive, &mut changed, &mut access);
        outcome.map_err(|reason| refused(format!("line {line}: \"{name}\": {reason}")))?;
    }
    access.settle(&mut changed).map_err(|reason| refused(reason.into()))?;
    *policy = changed;
    Ok(())
}

/// Of a snippet for the question who may come in: `proxy_set_header`, and nothing else.
pub fn fields_of_question(text: &str) -> Read<Vec<(Arc<str>, HeaderTemplate)>> {
    let directives = lexer::directives(text).map_err(|problem| match problem {
        Problem::Block { name, line } => format!("line {line}: \"{name}\" and its block are not understood"),
        Problem::Unreadable { reason, line } => format!("line {line}: {reason}"),
    })?;
    let field = |Directive { name, arguments, line, .. }: &Directive| match (&**name, arguments.as_slice()) {
        ("proxy_set_header", [field, text]) => Ok((value::field_name(field)?, template(text)?)),
        _ => Err(format!("line {line}: \"{name}\": it is not understood")),
    };
    directives.iter().map(field).collect()
}

fn change(directive: &Directive, policy: &mut Policy, access: &mut Access) -> Read<()> {
    let arguments: Vec<&str> = directive.arguments.iter().map(String::as_str).collect();
    let edits = &mut policy.headers.edits;
    match (&*directive.name, &*arguments) {
        ("add_header", [name, text] | [name, text, "always"]) => {
            edits.response.add.push((value::field_name(name)?, template(text)?));
        }
        ("more_set_headers", fields) => {
            for (name, text) in self::fields(fields)? {
                match text.is_empty() {
                    true => edits.response.remove.push(name),
                    false => edits.response.set.push((name, template(text)?)),
                }
            }
        }
        ("more_set_input_headers", fields) => {
            for (name, text) in self::fields(fields)? {
                edits.request.set.push((name, template(text)?));
            }
        }
        ("more_clear_headers", names) if !names.is_empty() => edits.response.remove.extend(self::names(names)?),
        ("more_clear_input_headers", names) if !names.is_empty() => edits.request.remove.extend(self::names(names)?),
        ("proxy_hide_header", [name]) => edits.response.remove.push(value::field_name(name)?),
        ("proxy_set_header", [name, text]) if name.eq_ignore_ascii_case("host") => match template(text)?.0.as_slice() {
            [TemplatePart::Variable(Variable::Host)] => {}
            [TemplatePart::Text(host)] => policy.backend.host = Some(host.clone()),
            _ => return Err("the host can be a text alone".into()),
        },
        ("proxy_set_header", [name, text]) => match text.is_empty() {
            true => edits.request.remove.push(value::field_name(name)?),
            false => edits.request.set.push((value::field_name(name)?, template(text)?)),
        },
        ("if", _) => policy.conditions.push(conditions::of_if(directive)?),
        ("rewrite", [pattern, to, flag @ ("permanent" | "redirect")]) => {
            policy.conditions.push(conditions::of_rewrite(pattern, to, flag)?);
        }
        ("allow" | "deny", [whom]) => access.add(&directive.name, whom)?,
        ("proxy_connect_timeout", [text]) => policy.timeouts.connect = Some(value::time(text)?),
        ("proxy_send_timeout", [text]) => policy.timeouts.send = Some(value::time(text)?),
        ("proxy_read_timeout", [text]) => policy.timeouts.read = Some(value::time(text)?),
        ("client_max_body_size", [text]) => policy.bodies.max_size = Some(value::size(text)?),
        ("return", [code]) => policy.respond = Some((value::status(code, 200, 599)?, "".into())),
        ("return", [code, text]) => answer(policy, code, text)?,
        (
            "proxy_buffering"
            | "proxy_buffer_size"
            | "proxy_buffers"
            | "proxy_busy_buffers_size"
            | "client_body_buffer_size"
            | "proxy_max_temp_file_size"
            | "proxy_http_version",
            _,
        ) => {}
        _ => return Err("it is not understood".into()),
    }
    Ok(())
}

/// A redirect, or a text. The first that is written holds.
fn answer(policy: &mut Policy, code: &str, text: &str) -> Read<()> {
    let status = value::status(code, 200, 599)?;
    if policy.respond.is_some() || policy.redirect.permanent.is_some() {
        return Ok(());
    }
    match status {
        301..=303 | 307 | 308 => {
            let to: Destination = destination(text)?;
            (policy.redirect.permanent, policy.redirect.permanent_code) = (Some(to), Some(status));
        }
        _ if text.contains('$') => return Err("variables cannot stand in an answer's text".into()),
        _ => policy.respond = Some((status, text.into())),
    }
    Ok(())
}

fn names(names: &[&str]) -> Read<Vec<Arc<str>>> {
    let one = |name: &&str| match name.starts_with('-') || name.contains('*') {
        true => Err(format!("{} is not understood here", quoted(name))),
        false => value::field_name(name),
    };
    names.iter().map(one).collect()
}

/// `"Name: value"`, each.
fn fields<'a>(written: &[&'a str]) -> Read<Vec<(Arc<str>, &'a str)>> {
    let field = |text: &&'a str| {
        let (name, value) = text.split_once(':').ok_or_else(|| format!("{} is no \"Name: value\"", quoted(text)))?;
        Ok((value::field_name(name.trim())?, value.trim()))
    };
    match written.is_empty() {
        true => Err("it names no field".into()),
        false => written.iter().map(field).collect(),
    }
}

/// nginx's variables, as far as Weir has them.
pub fn template(text: &str) -> Read<HeaderTemplate> {
    value::field_value(text)?;
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if !before.is_empty() {
            parts.push(TemplatePart::Text(before.into()));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, next) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len())),
        };
        parts.push(TemplatePart::Variable(variable(name)?));
        rest = next;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(TemplatePart::Text(rest.into()));
    }
    Ok(HeaderTemplate(parts))
}

fn variable(name: &str) -> Read<Variable> {
    Ok(match name {
        "remote_addr" | "the_real_ip" | "proxy_add_x_forwarded_for" => Variable::ClientIp,
        "host" | "http_host" | "best_http_host" => Variable::Host,
        "request_method" => Variable::Method,
        "uri" | "document_uri" => Variable::Path,
        "args" | "query_string" => Variable::Query,
        "request_uri" => Variable::Uri,
        "scheme" | "pass_access_scheme" => Variable::Scheme,
        "req_id" | "request_id" => Variable::RequestId,
        "ssl_protocol" => Variable::TlsVersion,
        "ssl_cipher" => Variable::TlsCipher,
        "remote_user" => Variable::User,
        "upstream_addr" => Variable::Endpoint,
        _ => match name.strip_prefix("http_") {
            Some(field) if !field.is_empty() => Variable::Header(field.replace('_', "-").to_ascii_lowercase().into()),
            Some(_) | None => return Err(format!("there is no variable ${name} here")),
        },
    })
}

/// `allow` and `deny`, in their order: nginx takes the first that fits.
#[derive(Default)]
struct Access(Vec<(Rule, Option<Vec<IpNet>>)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Allow,
    Deny,
}

impl Access {
    fn add(&mut self, name: &str, whom: &str) -> Read<()> {
        let rule = if name == "allow" { Rule::Allow } else { Rule::Deny };
        let networks = if whom == "all" { None } else { Some(value::networks(whom)?) };
        self.0.push((rule, networks));
        Ok(())
    }

    /// Some are denied, then some are allowed, then the rest is denied or not: in this order the two filters mean the same.
    fn settle(self, policy: &mut Policy) -> Result<(), &'static str> {
        const ORDER: &str = "allow and deny in this order are not understood; write deny, then allow, then deny all";
        let mut allowing = false;
        let mut ended = false;
        for (rule, networks) in self.0 {
            match (rule, networks) {
                _ if ended => return Err(ORDER),
                (Rule::Deny, Some(networks)) if !allowing => policy.access.deny.extend(networks),
                (Rule::Allow, Some(networks)) => {
                    allowing = true;
                    policy.access.allow.extend(networks);
                }
                (Rule::Deny, None) if allowing => ended = true,
                (Rule::Allow, None) if !allowing => ended = true,
                (Rule::Deny, None) => {
                    policy.close("a snippet denies everybody");
                    ended = true;
                }
                (Rule::Deny | Rule::Allow, _) => return Err(ORDER),
            }
        }
        if allowing && !ended { Err(ORDER) } else { Ok(()) }
    }
}

/// Beginnings of directives by which access is refused.
const ABOUT_ACCESS: [&str; 10] = [
    "deny",
    "allow",
    "auth_",
    "satisfy",
    "limit_",
    "return 4",
    "return 5",
    "secure_link",
    "access_by_lua",
    "modsecurity",
];

/// Wherever in the text it stands, in blocks as well.
fn is_about_access(text: &str) -> bool {
    let mut directives =
        text.split([';', '{', '}', '\n']).map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    directives.any(|directive| ABOUT_ACCESS.iter().any(|start| directive.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ByteSize;

    fn applied(text: &str) -> Policy {
        let mut policy = Policy::default();
        apply(text, &mut policy).unwrap();
        policy
    }

    fn refused(text: &str) -> Refusal {
        let mut policy = Policy::default();
        let refusal = apply(text, &mut policy).unwrap_err();
        assert_eq!(policy, Policy::default(), "half of it was applied: {text}");
        refusal
    }

    #[test]
    fn headers_are_edited() {
        let edits = applied(
            "more_set_headers \"X-Frame-Options: DENY\" 'X-Robots: none';\nmore_clear_headers Server X-Powered-By;\n\
             proxy_set_header X-Client $remote_addr:$http_x_port; proxy_set_header Cookie \"\"; add_header X-A b always;",
        )
        .headers
        .edits;
        let set: Vec<_> = edits.response.set.iter().map(|(name, _)| &**name).collect();
        assert_eq!(set, ["X-Frame-Options", "X-Robots"]);
        let texts = |names: &[Arc<str>]| names.join(" ");
        assert_eq!(texts(&edits.response.remove), "Server X-Powered-By");
        assert_eq!(texts(&edits.request.remove), "Cookie");
        assert_eq!(edits.request.set[0].1, HeaderTemplate::parse("${client-ip}:${header:x-port}").unwrap());
        assert_eq!(edits.response.add.len(), 1);
    }

    #[test]
    fn answers_limits_and_access_are_what_they_mean() {
        let policy =
            applied("proxy_read_timeout 5m; client_max_body_size 8m; deny 10.1.0.0/16; allow 10.0.0.0/8; deny all;");
        assert_eq!(policy.timeouts.read, Some(std::time::Duration::from_secs(300)));
        assert_eq!(policy.bodies.max_size, Some(ByteSize::mib(8)));
        assert_eq!((policy.access.deny.len(), policy.access.allow.len()), (1, 1));
        assert_eq!(applied("return 410 \"gone\";").respond, Some((410, "gone".into())));
        assert_eq!(applied("return 308 https://b.test$request_uri;").redirect.permanent_code, Some(308));
        assert!(applied("deny all;").closed.is_some());
    }

    #[test]
    fn what_is_not_understood_is_named_and_nothing_is_applied() {
        let told = |text: &str| {
            let Refusal { message, about_access } = refused(text);
            (message, about_access)
        };
        assert_eq!(
            told("add_header A b;\nproxy_pass http://x;"),
            ("line 2: \"proxy_pass\": it is not understood".into(), false)
        );
        assert_eq!(
            told("if ($http_x) {\n deny all;\n}"),
            ("line 1: \"if\": a return alone is understood in its block".into(), true)
        );
        assert_eq!(
            told("location /x { deny all; }"),
            ("line 1: \"location\" and its block are not understood".into(), true)
        );
        assert_eq!(told("add_header A $geo;").0, "line 1: \"add_header\": there is no variable $geo here");
        assert!(told("add_header A \"b\\r\\nSet-Cookie: c\";").0.contains("cannot stand in a header field"));
        assert!(told("allow 10.0.0.0/8; deny 10.1.0.0/16; deny all;").1);
        assert!(told("allow 10.0.0.0/8;").0.contains("in this order"));
        assert!(told("more_clear_headers X-*;").0.contains("not understood here"));
    }

    #[test]
    fn directives_about_access_are_told_wherever_they_stand() {
        for text in
            ["deny all;", "add_header a b;\n  deny  all;", "if ($x) { return   403; }", "location /a { auth_basic x; }"]
        {
            assert!(is_about_access(text), "{text}");
        }
        for text in ["add_header X-Deny deny;", "return 301 /a;", "proxy_set_header A allow;", ""] {
            assert!(!is_about_access(text), "{text}");
        }
    }
}
