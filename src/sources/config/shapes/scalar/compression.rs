//! Levels of compression.

use super::quantity::whole;
use super::scalar;

scalar! {
    /// From 1, the fastest, to 9, the smallest, or `off`.
    GzipLevel(Option<u8>), "a level from 1 to 9, or off", gzip_level,
    { "anyOf": [{ "const": "off" }, { "type": "integer", "minimum": 1, "maximum": 9 }] }
}

scalar! {
    /// From 0, the fastest, to 11, the smallest, or `off`.
    BrotliLevel(Option<u8>), "a level from 0 to 11, or off", brotli_level,
    { "anyOf": [{ "const": "off" }, { "type": "integer", "minimum": 0, "maximum": 11 }] }
}

scalar! {
    /// From 1, the fastest, to 19, the smallest, or `off`.
    ZstdLevel(Option<u8>), "a level from 1 to 19, or off", zstd_level,
    { "anyOf": [{ "const": "off" }, { "type": "integer", "minimum": 1, "maximum": 19 }] }
}

fn gzip_level(text: &str) -> Result<Option<u8>, String> {
    level(text, 1, 9)
}

fn brotli_level(text: &str) -> Result<Option<u8>, String> {
    level(text, 0, 11)
}

fn zstd_level(text: &str) -> Result<Option<u8>, String> {
    level(text, 1, 19)
}

fn level(text: &str, from: u8, to: u8) -> Result<Option<u8>, String> {
    if text == "off" {
        return Ok(None);
    }
    let level = whole(text).filter(|level| (from..=to).contains(level));
    level.map(Some).ok_or_else(|| format!("\"{text}\" is not a level; write a number from {from} to {to}, or off"))
}
