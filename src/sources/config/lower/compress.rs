//! `compress`.

use super::Lowering;
use crate::defaults;
use crate::model::{Coding, Compress, MediaRange};
use crate::sources::config::decode::{Field, List, Scalar};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

pub fn compress(cx: &Lowering, at: NodeId, shape: shapes::Compress) -> Compress {
    let is_wrong = shape.gzip.is_wrong() || shape.brotli.is_wrong() || shape.zstd.is_wrong();
    let compress = Compress {
        gzip: level(cx, shape.gzip, defaults::GZIP_LEVEL, None),
        brotli: level(cx, shape.brotli, defaults::BROTLI_LEVEL, Some(defaults::BROTLI_LEVEL_FOR_FILES)),
        zstd: level(cx, shape.zstd, defaults::ZSTD_LEVEL, Some(defaults::ZSTD_LEVEL_FOR_FILES)),
        types: types(cx, shape.types),
        min_size: shape.min_size.scalar_or(defaults::COMPRESS_MIN_SIZE),
    };
    let is_off = Coding::BY_PREFERENCE.iter().all(|coding| compress.level(*coding).is_none());
    if is_off && !is_wrong {
        cx.error_with(at.value(), "\"compress\" with every coding off does nothing", "leave one on, or take it out");
    }
    compress
}

/// From `too_slow` on a level is meant for what is compressed once.
fn level<S: Scalar<Value = Option<u8>>>(
    cx: &Lowering,
    written: Field<S>,
    default: u8,
    too_slow: Option<u8>,
) -> Option<u8> {
    let place = written.given().map(|(at, level)| (at, level.into_value()));
    let Some((at, level)) = place else { return Some(default) };
    if let (Some(level), Some(too_slow)) = (level, too_slow)
        && level >= too_slow
    {
        let message = format!("level {level} takes many times as long as level {default}, for each answer anew");
        cx.warning(
            at.value(),
            message,
            format!("write {default}, or compress files once and serve them with \"precompressed\""),
        );
    }
    level
}

fn types(cx: &Lowering, written: Field<List<scalar::MediaRange>>) -> Vec<MediaRange> {
    let Some((at, list)) = written.given() else {
        return defaults::COMPRESSED_TYPES.iter().filter_map(|text| MediaRange::parse(text).ok()).collect();
    };
    if list.is_empty() {
        cx.error_with(at.value(), "an empty list fits no answer", "write types, as text/*, or take the key out");
    }
    list.into_iter().filter_map(Field::scalar).collect()
}
