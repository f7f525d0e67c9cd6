//! Snippets: text for an nginx that is not there. They are left out, and what they would have protected is closed.

use std::sync::Arc;

use super::context::Context;
use super::report::Reason;
use crate::sources::kube::annotations::Policy;
use crate::sources::kube::state::Ingress;

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

pub fn refuse(cx: &mut Context<'_>, ingress: &Arc<Ingress>, policy: &mut Policy) {
    for (key, text) in std::mem::take(&mut policy.snippets) {
        // Where they are not allowed ingress-nginx leaves them out, too: nothing was protected by them.
        let protects = cx.options.allow_snippets && is_about_access(&text);
        let (reason, message) = match protects {
            true => (Reason::RouteClosed, "a snippet about access cannot be honoured; write it as annotations"),
            false => (Reason::UnsupportedAnnotation, "there is no nginx that could read it; write it as annotations"),
        };
        let path = cx.annotation(key);
        cx.warn(ingress, reason, path, message);
        if protects {
            policy.close(message);
        }
    }
}

fn is_about_access(text: &str) -> bool {
    let words =
        text.split([';', '{', '}', '\n']).map(|directive| directive.split_whitespace().collect::<Vec<_>>().join(" "));
    words.into_iter().any(|directive| ABOUT_ACCESS.iter().any(|start| directive.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
