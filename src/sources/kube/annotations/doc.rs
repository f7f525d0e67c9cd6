//! The reference page, `k8s/annotations.md`.

use std::fmt::Write as _;

use super::registry::GROUPS;
use super::{Annotation, DEFAULT_PREFIX, Kind, Otherwise, Support};

/// In Markdown; the same text for the same registry.
pub fn reference() -> String {
    let mut page = format!(
        "# Annotations\n\n\
         What `weir ingress` makes of the annotations under `{DEFAULT_PREFIX}/` (the flag `--annotations-prefix` changes that). This page is \
         made from the registry in `src/sources/kube/annotations`; after a change there: `UPDATE_REFERENCE=1 cargo test --lib annotations_page`.\n\n\
         Whatever is unknown, unreadable or refused is a Warning Event on the Ingress. **Closes**: where such an annotation cannot be \
         honoured, the Ingress's routes answer 503, since it protects them. Tiers are of importance, 1 first.\n",
    );
    for (group, entries) in GROUPS {
        let _ = write!(
            page,
            "\n## {group}\n\n| Annotation | Value | Tier | Here | Closes | What it does |\n|---|---|---|---|---|---|\n"
        );
        for entry in *entries {
            let _ = writeln!(page, "{}", row(entry));
        }
    }
    page + OWN
}

/// What ingress-nginx has nothing of. No prefix of a flag stands before it.
const OWN: &str = "\n## Weir's own\n\n| Annotation | Value | What it does |\n|---|---|---|\n\
                   | `acme.weir/issuer` | name of an issuer | The certificates of `spec.tls` are issued by Weir, from the issuer of \
                   this name (`--acme-issuer`), into the Secrets that are named there: see README.md, \"Certificates by Weir itself\" |\n";

fn row(entry: &Annotation) -> String {
    let keys: Vec<_> = [entry.key].iter().chain(entry.aliases).map(|key| format!("`{key}`")).collect();
    let closes = match entry.otherwise {
        Otherwise::Close => "yes",
        Otherwise::LeaveOut => "",
    };
    let doc = entry.doc.replace('|', "\\|");
    let mut first = doc.chars();
    let doc: String = first.next().into_iter().flat_map(char::to_uppercase).chain(first).collect();
    format!(
        "| {} | {} | {} | {} | {closes} | {doc} |",
        keys.join(", "),
        kind(entry.kind),
        entry.tier,
        support(entry.support())
    )
}

fn support(support: Support) -> &'static str {
    match support {
        Support::Honoured => "honoured",
        Support::WithoutEffect => "no effect",
        Support::Refused => "refused",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "true, false",
        Kind::Switch => "on, off",
        Kind::Number => "number",
        Kind::Seconds => "seconds",
        Kind::Size => "size",
        Kind::Text => "text",
        Kind::Url => "URL",
        Kind::Words => "words",
        Kind::Networks => "networks",
        Kind::FieldNames => "header names",
        Kind::Codes => "statuses",
        Kind::Object => "name of an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotations_page_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/annotations.md");
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, reference()).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == reference(),
            "k8s/annotations.md is not what the registry says: UPDATE_REFERENCE=1 cargo test --lib annotations_page"
        );
    }
}
