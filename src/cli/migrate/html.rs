//! Verdicts as a page of its own, to be passed around: no script, nothing fetched.

use std::fmt::Write as _;

use crate::sources::kube::migration::{Assessment, Item, Verdict};

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>From ingress-nginx to Weir</title>\n<style>\n\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }\n\
table { border-collapse: collapse; width: 100%; margin: .5em 0 2em } th, td { text-align: left; padding: .3em .6em; border-bottom: 1px solid #ddd; vertical-align: top }\n\
.identical { color: #1a6b2d } .differs { color: #8a5a00 } .refused { color: #b00020; font-weight: 600 }\n\
</style></head><body>\n<h1>From ingress-nginx to Weir</h1>\n";

pub fn report(assessment: &Assessment) -> String {
    let mut out = HEAD.to_owned();
    out.push_str("<table><tr><th>Verdict</th><th>Ingresses</th><th>Annotations</th><th>Options</th></tr>\n");
    for verdict in Verdict::ALL {
        let totals = assessment.totals.get(verdict.as_str()).copied().unwrap_or_default();
        let (ingresses, annotations, options) = (totals.ingresses, totals.annotations, totals.options);
        let cell = cell(verdict);
        let _ = writeln!(out, "<tr>{cell}<td>{ingresses}</td><td>{annotations}</td><td>{options}</td></tr>");
    }
    out.push_str("</table>\n");
    for ingress in &assessment.ingresses {
        let (name, hosts) = (escaped(&ingress.ingress), escaped(&ingress.hosts.join(", ")));
        let class = ingress.verdict.as_str();
        let _ = writeln!(out, "<h2>{name} <small class=\"{class}\">{class}</small></h2>\n<p>{hosts}</p>");
        table(&mut out, ingress.annotations.iter().chain(&ingress.findings));
    }
    if !assessment.options.is_empty() {
        out.push_str("<h2>Global options</h2>\n");
        table(&mut out, assessment.options.iter());
    }
    if !assessment.services.is_empty() {
        out.push_str("<h2>TCP and UDP services</h2>\n");
        table(&mut out, assessment.services.iter());
    }
    if !assessment.others.is_empty() {
        let _ = writeln!(out, "<p>Of other classes, not looked at: {}</p>", escaped(&assessment.others.join(", ")));
    }
    out.push_str("</body></html>\n");
    out
}

fn table<'a>(out: &mut String, items: impl Iterator<Item = &'a Item>) {
    out.push_str("<table><tr><th>Name</th><th>Verdict</th><th>What to know</th></tr>\n");
    for item in items {
        let (name, detail) = (escaped(&item.name), escaped(item.detail.as_deref().unwrap_or_default()));
        let _ = writeln!(out, "<tr><td>{name}</td>{}<td>{detail}</td></tr>", cell(item.verdict));
    }
    out.push_str("</table>\n");
}

fn cell(verdict: Verdict) -> String {
    format!("<td class=\"{0}\">{0}</td>", verdict.as_str())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
