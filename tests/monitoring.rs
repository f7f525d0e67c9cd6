//! Alerts, the dashboard and the runbooks go together, and speak of metrics that there are.
//!
//! ```text
//! config/prometheus/alerts.yaml ──► k8s/monitoring/prometheusrule.yaml
//!        │            └─ each has a runbook in k8s/README.md
//!        └───────────── each metric stands in src/telemetry/metrics/ ◄── k8s/monitoring/dashboard.json
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn in_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const RULE_OBJECT: &str = "\
# Of config/prometheus/alerts.yaml, which is tested: `UPDATE_MANIFESTS=1 cargo test --test monitoring` writes this file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: weir
spec:
";

#[test]
fn the_rules_of_the_cluster_are_the_alerts_of_everywhere() {
    let alerts = read("config/prometheus/alerts.yaml");
    let groups = &alerts[alerts.find("groups:\n").expect("groups")..];
    let indented = groups.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("  {line}\n") });
    let made: String = std::iter::once(RULE_OBJECT.to_owned()).chain(indented).collect();
    let path = in_root("k8s/monitoring/prometheusrule.yaml");
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
    }
    assert_eq!(read("k8s/monitoring/prometheusrule.yaml"), made, "run it with UPDATE_MANIFESTS=1");
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let alerts = read("config/prometheus/alerts.yaml");
    let alerts: BTreeSet<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 6, "{alerts:?}");
    let guide = read("k8s/README.md");
    let (_, runbooks) = guide.split_once("\n## Runbooks\n").expect("the guide has runbooks");
    let runbooks: BTreeSet<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(runbooks, alerts);
}

#[test]
fn alerts_dashboard_and_runbooks_speak_of_metrics_that_there_are() {
    let exposed = exposed();
    assert!(exposed.len() > 50, "{exposed:?}");
    for path in ["config/prometheus/alerts.yaml", "k8s/README.md", "k8s/monitoring/dashboard.json"] {
        let named = metrics_in(&read(path));
        assert!(named.len() >= 5, "{path}: {named:?}");
        let unknown: Vec<&String> = named.difference(&exposed).collect();
        assert!(unknown.is_empty(), "{path} speaks of {unknown:?}");
    }
}

/// As the sources spell them.
fn exposed() -> BTreeSet<String> {
    let folder = std::fs::read_dir(in_root("src/telemetry/metrics")).expect("the sources of the metrics");
    let texts = folder.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a source"));
    texts.flat_map(|text| metrics_in(&text)).collect()
}

/// Names of Weir's metrics and of its process, without what Prometheus adds to those of a histogram.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("weir_") || word.starts_with("process_"));
    ours.map(|word| ["_bucket", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned())
        .collect()
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(&read("k8s/monitoring/dashboard.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has its own id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().expect("targets");
        let asks =
            |target: &Value| target["expr"].as_str().is_some_and(|expression| expression.contains("job=~\"$job\""));
        assert!(!targets.is_empty() && targets.iter().all(asks), "{}", panel["title"]);
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
}

#[test]
fn prometheus_understands_what_the_dashboard_asks() {
    let dashboard = read("k8s/monitoring/dashboard.json");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions = targets.map(|target| target["expr"].as_str().expect("an expression"));
    let rule = |(at, expression): (usize, &str)| {
        let expression = expression.replace("$__rate_interval", "5m").replace("$job", ".*");
        json!({ "record": format!("asked:{at}"), "expr": expression })
    };
    let rules: Vec<Value> = expressions.enumerate().map(rule).collect();
    assert!(rules.len() > 25, "{}", rules.len());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.json");
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).expect("it can be written");
    let output = Command::new("promtool").args(["check", "rules"]).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("promtool cannot be started ({error}): install prometheus"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}
