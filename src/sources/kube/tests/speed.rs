//! How long a translation takes, of a cluster as large as the largest.

use std::time::Instant;

use super::cluster::{of_objects, settings, simple};
use crate::sources::kube::translate::translate;

/// `cargo test --release --lib kube::tests::speed -- --nocapture` tells the time that counts.
#[test]
fn ten_thousand_ingresses_are_translated_at_once() {
    let state = of_objects((0..10_000).flat_map(simple));
    let settings = settings();
    let started = Instant::now();
    let translation = translate(&state, &settings);
    println!("10,000 Ingresses in {:?}", started.elapsed());
    assert_eq!((translation.model.hosts.len(), translation.model.upstreams.len()), (10_001, 10_000));
    assert_eq!(translation.events, []);
}
