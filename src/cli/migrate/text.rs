//! Verdicts for a terminal.

use std::fmt::Write as _;

use crate::sources::kube::migration::{Assessment, IngressVerdict, Item, Verdict};

pub fn report(assessment: &Assessment) -> String {
    let mut out = String::new();
    for ingress in &assessment.ingresses {
        self::ingress(&mut out, ingress);
    }
    if !assessment.options.is_empty() {
        let _ = writeln!(out, "global options");
        items(&mut out, &assessment.options);
    }
    if !assessment.services.is_empty() {
        let _ = writeln!(out, "TCP and UDP services");
        items(&mut out, &assessment.services);
    }
    if !assessment.others.is_empty() {
        let _ = writeln!(out, "of other classes, not looked at: {}", assessment.others.join(", "));
    }
    out.push_str(&summary(assessment));
    out
}

fn ingress(out: &mut String, ingress: &IngressVerdict) {
    let hosts = if ingress.hosts.is_empty() { "no host".into() } else { ingress.hosts.join(", ") };
    let _ = writeln!(out, "{} ({hosts}): {}", ingress.ingress, ingress.verdict.as_str());
    items(out, &ingress.annotations);
    items(out, &ingress.findings);
}

/// Those of which nothing need be said share a line.
fn items(out: &mut String, items: &[Item]) {
    let plain: Vec<_> = items.iter().filter(|item| item.detail.is_none()).map(|item| item.name.as_str()).collect();
    if !plain.is_empty() {
        let _ = writeln!(out, "  {:9}  {}", Verdict::Identical.as_str(), plain.join(", "));
    }
    for item in items {
        if let Some(detail) = &item.detail {
            let _ = writeln!(out, "  {:9}  {}: {detail}", item.verdict.as_str(), item.name);
        }
    }
}

pub fn summary(assessment: &Assessment) -> String {
    let line = |verdict: Verdict| {
        let totals = assessment.totals.get(verdict.as_str()).copied().unwrap_or_default();
        let (ingresses, annotations, options) = (totals.ingresses, totals.annotations, totals.options);
        format!("{:9}  {ingresses} Ingresses, {annotations} annotations, {options} options\n", verdict.as_str())
    };
    format!("\nin all\n{}", Verdict::ALL.map(|verdict| format!("  {}", line(verdict))).concat())
}
