//! Any bytes as `weir.yaml`: a model or errors, never both, never neither; and what there is can be reported and compiled.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use libfuzzer_sys::fuzz_target;
use weir::compile::{self, Surroundings};
use weir::sources::config::{self, Understood, report};
use weir::telemetry::metrics::Metrics;

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::new(SystemTime::UNIX_EPOCH));

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let loaded = config::parse(text, "weir.yaml", Path::new("/nowhere"));
    assert_eq!(loaded.model.is_none(), loaded.diagnostics.has_errors(), "a model, or errors");
    // To YAML the end of the text ends a line: the one after it is where something may be missing.
    let lines: Vec<&str> = loaded.source.lines().chain([""]).collect();
    for finding in loaded.diagnostics.iter() {
        let (line, column) = (finding.origin.line as usize, finding.origin.column as usize);
        let text = line.checked_sub(1).and_then(|index| lines.get(index));
        // Behind the end of a line may be where something is missing.
        let inside = text.is_some_and(|text| (1..=text.chars().count() + 1).contains(&column));
        assert!(inside, "{line}:{column} is not in the file: {finding}");
        assert!(!finding.message.is_empty(), "a finding says what is wrong");
    }
    report::text(&loaded.diagnostics, &loaded.source);
    report::json(&loaded.diagnostics);
    let whole = !loaded.diagnostics.has_errors();
    if let Some(Understood { model, hosts, .. }) = loaded.understood {
        compile::lint(&model, hosts, &|_| true);
        if whole {
            let upstream_tls = BTreeMap::new();
            let client_roots = BTreeMap::new();
            let users = BTreeMap::new();
            let surroundings = Surroundings {
                previous: None,
                upstream_tls: &upstream_tls,
                client_roots: &client_roots,
                users: &users,
                metrics: &METRICS,
                now: Instant::now(),
            };
            METRICS.retain(&model);
            // Upstreams that name TLS files cannot be built without them; that is an error like others.
            let _ = compile::compile(Arc::new(model), &surroundings);
        }
    }
});
