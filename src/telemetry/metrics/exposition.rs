//! Metric families, put together for one scrape.
//!
//! ```text
//! name, help, samples ──► prometheus::proto ──TextEncoder──► text/plain; version=0.0.4
//! ```

use prometheus::TextEncoder;
use prometheus::proto;

use super::cells::{BOUNDS, Histogram};

/// A label's name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// Families in the order they were added. A family without samples is left out.
#[derive(Default)]
pub(super) struct Exposition {
    families: Vec<proto::MetricFamily>,
}

impl Exposition {
    pub fn counter<const N: usize>(&mut self, name: &str, help: &str, samples: Vec<([Label<'_>; N], f64)>) {
        self.family(name, help, proto::MetricType::COUNTER, samples, |metric, value| {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        });
    }

    pub fn gauge<const N: usize>(&mut self, name: &str, help: &str, samples: Vec<([Label<'_>; N], f64)>) {
        self.family(name, help, proto::MetricType::GAUGE, samples, |metric, value| {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        });
    }

    pub fn histogram<const N: usize>(&mut self, name: &str, help: &str, samples: Vec<([Label<'_>; N], &Histogram)>) {
        self.family(name, help, proto::MetricType::HISTOGRAM, samples, |metric, histogram| {
            metric.set_histogram(histogram_of(histogram));
        });
    }

    fn family<const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: proto::MetricType,
        samples: Vec<([Label<'_>; N], V)>,
        fill: impl Fn(&mut proto::Metric, V),
    ) {
        if samples.is_empty() {
            return;
        }
        let metrics = samples.into_iter().map(|(labels, value)| {
            // An empty label is the same as none.
            let labels = labels.iter().filter(|(_, value)| !value.is_empty());
            let mut metric = proto::Metric::from_label(labels.map(label_pair).collect());
            fill(&mut metric, value);
            metric
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        family.set_metric(metrics.collect());
        self.families.push(family);
    }

    pub fn encode(&self) -> String {
        // It fails on a family without a name or without samples, and `family` adds none such.
        TextEncoder::new().encode_to_string(&self.families).unwrap_or_default()
    }
}

fn label_pair(&(name, value): &Label<'_>) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.into());
    pair.set_value(value.into());
    pair
}

fn histogram_of(histogram: &Histogram) -> proto::Histogram {
    let mut cumulative = 0;
    let mut counts = histogram.buckets();
    let bounded = BOUNDS.iter().zip(counts.by_ref()).map(|(bound, count)| {
        cumulative += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut out = proto::Histogram::default();
    out.set_bucket(bounded.collect());
    // The total comes from the same reading as the buckets, so that the last bucket never exceeds it.
    out.set_sample_count(cumulative + counts.sum::<u64>());
    out.set_sample_sum(histogram.seconds());
    out
}
