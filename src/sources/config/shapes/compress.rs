//! `compress`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, scalar};
use crate::defaults;

/// Makes answers smaller on the way to clients that can read them so (`Accept-Encoding`, with its weights; of codings that a client
/// likes alike zstd, then brotli, then gzip). What comes compressed, ranges and `Cache-Control: no-transform` stay as they are; what
/// is streamed goes on piece by piece.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with gzip, brotli, zstd, types and min-size")]
pub struct Compress {
    #[schemars(extend("default" = defaults::GZIP_LEVEL))]
    pub gzip: Field<scalar::GzipLevel>,
    #[schemars(extend("default" = defaults::BROTLI_LEVEL))]
    pub brotli: Field<scalar::BrotliLevel>,
    #[schemars(extend("default" = defaults::ZSTD_LEVEL))]
    pub zstd: Field<scalar::ZstdLevel>,
    /// Content types, as `text/*` and `application/json`. `text/*` leaves out `text/event-stream`, which has to be named.
    #[schemars(extend("default" = defaults::COMPRESSED_TYPES))]
    pub types: Field<List<scalar::MediaRange>>,
    /// Answers that are smaller stay as they are. One whose length nobody knows is large enough.
    #[schemars(extend("default" = defaults::COMPRESS_MIN_SIZE.to_string()))]
    pub min_size: Field<scalar::Size>,
}
