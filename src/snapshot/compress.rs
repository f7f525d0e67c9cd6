//! `compress`, ready to be asked.

use std::sync::Arc;

use http::HeaderValue;

use crate::model::{self, Coding};
use crate::telemetry::metrics::CompressionMetrics;

#[derive(Debug)]
pub struct Compress {
    definition: model::Compress,
    /// Events are read one by one: only who names the very type has them compressed.
    takes_event_streams: bool,
    pub metrics: Arc<CompressionMetrics>,
}

const EVENT_STREAM: &str = "text/event-stream";

impl Compress {
    pub fn new(definition: model::Compress, metrics: Arc<CompressionMetrics>) -> Self {
        let takes_event_streams = definition.types.iter().any(|range| range.to_string() == EVENT_STREAM);
        Self { definition, takes_event_streams, metrics }
    }

    pub fn definition(&self) -> &model::Compress {
        &self.definition
    }

    /// What is on, in our order.
    pub fn codings(&self) -> impl Iterator<Item = Coding> {
        Coding::BY_PREFERENCE.into_iter().filter(|coding| self.definition.level(*coding).is_some())
    }

    /// Whether an answer is of a type and a size that is worth it. None: its length is not known.
    pub fn suits(&self, content_type: Option<&HeaderValue>, length: Option<u64>) -> bool {
        let Some(content_type) = content_type.and_then(|value| value.to_str().ok()) else { return false };
        length.is_none_or(|length| length >= self.definition.min_size.0.max(1))
            && self.definition.types.iter().any(|range| range.contains(content_type))
            && (self.takes_event_streams || !is_event_stream(content_type))
            && !is_grpc(content_type)
    }
}

fn is_event_stream(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(EVENT_STREAM)
}

/// Compresses its messages itself, and its clients read no other coding.
fn is_grpc(content_type: &str) -> bool {
    content_type.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

const GRPC: &str = "application/grpc";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ByteSize, MediaRange};

    fn compress(types: &[&str]) -> Compress {
        let types = types.iter().map(|text| MediaRange::parse(text).unwrap()).collect();
        let definition = model::Compress { gzip: Some(5), brotli: None, zstd: Some(3), types, min_size: ByteSize(100) };
        Compress::new(definition, Arc::default())
    }

    #[test]
    fn a_type_and_a_size_decide_and_an_unknown_length_is_large_enough() {
        let compress = compress(&["text/*"]);
        let suits =
            |content_type: &'static str, length| compress.suits(Some(&HeaderValue::from_static(content_type)), length);
        assert!(suits("text/html; charset=utf-8", Some(100)) && suits("Text/Plain", None));
        assert!(!suits("text/html", Some(99)) && !suits("image/png", None) && !compress.suits(None, None));
        assert_eq!(compress.codings().collect::<Vec<_>>(), [Coding::Zstd, Coding::Gzip]);
    }

    #[test]
    fn event_streams_are_left_alone_unless_they_are_named() {
        let stream = HeaderValue::from_static("Text/Event-Stream; charset=utf-8");
        assert!(!compress(&["text/*"]).suits(Some(&stream), None));
        assert!(compress(&["text/*", "text/event-stream"]).suits(Some(&stream), None));
    }
}
