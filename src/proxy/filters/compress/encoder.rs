//! One body through gzip, brotli or zstd, in bounded memory.
//!
//! ```text
//! piece ──► Encoder ──flush──► bytes that can be read at once      (a stream: gzip ¼ MiB, zstd 1 MiB, brotli 2 MiB)
//! ```
//!
//! That is measured at the default levels; brotli's tables grow with its own, to 27 MiB at 9.

use std::cell::RefCell;
use std::io::Write;

use brotli::enc::BrotliEncoderParams;
use flate2::{Compress as Deflate, Compression as Level, FlushCompress, Status};
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, zstd_sys::ZSTD_EndDirective};

use super::EncodingFailed;
use super::pool::{Pool, Pooled, Reusable};
use crate::model::Coding;
use crate::proxy::filters::Place;

/// 256 KiB, for brotli and zstd: pages find nearly all that repeats within it, and their own windows of 4 and 2 MiB would cost that
/// much for each answer under way.
const WINDOW_BITS: u32 = 18;

pub enum Encoder {
    Gzip(Pooled<Gzip>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Pooled<CCtx<'static>>),
}

pub struct Gzip {
    level: u8,
    deflate: Deflate,
}

thread_local! {
    static GZIP: RefCell<Vec<Gzip>> = const { RefCell::new(Vec::new()) };
    static ZSTD: RefCell<Vec<CCtx<'static>>> = const { RefCell::new(Vec::new()) };
}

impl Reusable for Gzip {
    fn pool() -> &'static Pool<Self> {
        &GZIP
    }
}

impl Reusable for CCtx<'static> {
    fn pool() -> &'static Pool<Self> {
        &ZSTD
    }
}

impl Encoder {
    pub fn new(coding: Coding, level: u8, length: Option<u64>) -> Self {
        match coding {
            Coding::Gzip => Encoder::Gzip(gzip(level)),
            Coding::Brotli => Encoder::Brotli(Box::new(brotli(level, length))),
            Coding::Zstd => Encoder::Zstd(zstd(level, length)),
        }
    }

    pub fn push(&mut self, piece: &[u8], place: Place) -> Result<Vec<u8>, EncodingFailed> {
        let out = Vec::with_capacity(piece.len() / 3 + 128);
        match self {
            Encoder::Gzip(gzip) => push_gzip(&mut gzip.deflate, piece, place, out),
            Encoder::Brotli(writer) => push_brotli(writer, piece, place, out),
            Encoder::Zstd(context) => push_zstd(context, piece, place, out),
        }
    }
}

fn gzip(level: u8) -> Pooled<Gzip> {
    let new = || Gzip { level, deflate: Deflate::new_gzip(Level::new(level.into()), 15) };
    let mut gzip = Pooled::take(|known: &Gzip| known.level == level, new);
    gzip.deflate.reset();
    gzip
}

fn push_gzip(deflate: &mut Deflate, piece: &[u8], place: Place, mut out: Vec<u8>) -> Result<Vec<u8>, EncodingFailed> {
    let flush = match place {
        Place::Within => FlushCompress::Sync,
        Place::End => FlushCompress::Finish,
    };
    let mut rest = piece;
    loop {
        let before = deflate.total_in();
        let status = deflate.compress_vec(rest, &mut out, flush).map_err(failed)?;
        rest = &rest[(deflate.total_in() - before) as usize..];
        // Space that is left over means that nothing waits for more of it (zlib.h, `deflate`).
        let is_done = match place {
            Place::Within => rest.is_empty() && out.len() < out.capacity(),
            Place::End => status == Status::StreamEnd,
        };
        if is_done {
            return Ok(out);
        }
        out.reserve(out.capacity().max(1024));
    }
}

fn brotli(level: u8, length: Option<u64>) -> brotli::CompressorWriter<Vec<u8>> {
    let params = BrotliEncoderParams {
        quality: level.into(),
        // With less than 17 from level 5 on it takes tables that cost 6 ms to lay out, whatever the body is.
        lgwin: window_bits(length).max(17) as i32,
        size_hint: length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0),
        ..BrotliEncoderParams::default()
    };
    brotli::CompressorWriter::with_params(Vec::new(), 4096, &params)
}

/// Not more than the body has; zstd's least is 10.
fn window_bits(length: Option<u64>) -> u32 {
    length.map_or(WINDOW_BITS, |length| length.max(1).next_power_of_two().ilog2().clamp(10, WINDOW_BITS))
}

fn push_brotli(
    writer: &mut brotli::CompressorWriter<Vec<u8>>,
    piece: &[u8],
    place: Place,
    out: Vec<u8>,
) -> Result<Vec<u8>, EncodingFailed> {
    *writer.get_mut() = out;
    writer.write_all(piece).map_err(failed)?;
    match place {
        Place::Within => {
            writer.flush().map_err(failed)?;
            Ok(std::mem::take(writer.get_mut()))
        }
        // Only `into_inner` ends the stream. What takes its place does nothing more.
        Place::End => Ok(std::mem::replace(writer, brotli(0, Some(0))).into_inner()),
    }
}

fn zstd(level: u8, length: Option<u64>) -> Pooled<CCtx<'static>> {
    let mut context = Pooled::take(|_| true, CCtx::create);
    // Each fails only for what is out of bounds, which levels are checked for; the stream is right without them, too.
    let _ = context.reset(ResetDirective::SessionAndParameters);
    let _ = context.set_parameter(CParameter::CompressionLevel(level.into()));
    let window = window_bits(length);
    let _ = context.set_parameter(CParameter::WindowLog(window));
    if level > LAST_WITH_SMALL_TABLES {
        // Its own are for windows of its own: 10 MiB, and 30 ms to lay them out, for pages that get no smaller by them.
        let _ = context.set_parameter(CParameter::HashLog(window.min(TABLE_BITS)));
        let _ = context.set_parameter(CParameter::ChainLog(window.min(TABLE_BITS)));
    }
    let _ = context.set_pledged_src_size(length);
    context
}

const LAST_WITH_SMALL_TABLES: u8 = 4;

/// Of entries of four bytes.
const TABLE_BITS: u32 = 17;

fn push_zstd(
    context: &mut CCtx<'static>,
    piece: &[u8],
    place: Place,
    mut out: Vec<u8>,
) -> Result<Vec<u8>, EncodingFailed> {
    let directive = match place {
        Place::Within => ZSTD_EndDirective::ZSTD_e_flush,
        Place::End => ZSTD_EndDirective::ZSTD_e_end,
    };
    let mut input = InBuffer::around(piece);
    loop {
        let written = out.len();
        let mut output = OutBuffer::around_pos(&mut out, written);
        let left = context
            .compress_stream2(&mut output, &mut input, directive)
            .map_err(|code| failed(zstd_safe::get_error_name(code)))?;
        if left == 0 {
            return Ok(out);
        }
        out.reserve(left.max(1024));
    }
}

fn failed(reason: impl ToString) -> EncodingFailed {
    EncodingFailed(reason.to_string().into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// As far as it can be read: the stream may not have ended.
    fn decoded(coding: Coding, stream: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 4 << 20];
        let mut read = 0;
        match coding {
            Coding::Gzip => {
                let mut inflate = flate2::Decompress::new_gzip(15);
                inflate.decompress(stream, &mut out, flate2::FlushDecompress::Sync).unwrap();
                read = inflate.total_out() as usize;
            }
            Coding::Brotli => {
                let mut reader = brotli::Decompressor::new(stream, 4096);
                while let Ok(n) = reader.read(&mut out[read..])
                    && n > 0
                {
                    read += n;
                }
            }
            Coding::Zstd => {
                let mut context = zstd_safe::DCtx::create();
                let (mut input, mut output) = (InBuffer::around(stream), OutBuffer::around(&mut out[..]));
                while input.pos() < stream.len() {
                    context.decompress_stream(&mut output, &mut input).unwrap();
                }
                read = output.pos();
            }
        }
        out.truncate(read);
        out
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|i| b"The quick brown fox "[(i * i / 7 + i) % 20]).collect()
    }

    #[test]
    fn every_piece_can_be_read_when_it_has_been_pushed() {
        for (coding, level) in [(Coding::Gzip, 1), (Coding::Gzip, 9), (Coding::Brotli, 4), (Coding::Zstd, 3)] {
            for length in [None, Some(70_011)] {
                let mut encoder = Encoder::new(coding, level, length);
                let (mut stream, mut plain) = (Vec::new(), Vec::new());
                for size in [1, 0, 10, 60_000, 10_000] {
                    let piece = text(size);
                    plain.extend_from_slice(&piece);
                    stream.extend(encoder.push(&piece, Place::Within).unwrap());
                    assert!(decoded(coding, &stream) == plain, "{coding:?} after {} bytes", plain.len());
                }
                stream.extend(encoder.push(b"", Place::End).unwrap());
                assert!(decoded(coding, &stream) == plain, "{coding:?} at the end");
                assert!(stream.len() < plain.len(), "{coding:?}: {}", stream.len());
            }
        }
    }

    #[test]
    fn what_was_broken_off_leaves_nothing_behind_for_the_next_stream() {
        for (coding, level, other) in [(Coding::Gzip, 5, 9), (Coding::Zstd, 3, 12)] {
            let fresh = |level| Encoder::new(coding, level, None).push(&text(5000), Place::End).unwrap();
            let (expected, by_the_other) = (fresh(level), fresh(other));
            let mut broken_off = Encoder::new(coding, level, Some(9000));
            broken_off.push(&text(7000), Place::Within).unwrap();
            drop(broken_off);
            assert!(fresh(level) == expected, "{coding:?}");
            assert!(fresh(other) == by_the_other, "{coding:?}");
        }
    }

    #[test]
    fn every_level_makes_a_whole_stream_of_a_large_and_of_an_empty_body() {
        let levels = (1..=9).map(|level| (Coding::Gzip, level));
        let levels = levels.chain((0..=9).map(|level| (Coding::Brotli, level)));
        for (coding, level) in levels.chain([1, 3, 12].map(|level| (Coding::Zstd, level))) {
            for plain in [text(300_000), Vec::new()] {
                for length in [None, Some(plain.len() as u64)] {
                    let stream = Encoder::new(coding, level, length).push(&plain, Place::End).unwrap();
                    assert!(decoded(coding, &stream) == plain, "{coding:?} {level}");
                    assert!(!stream.is_empty());
                }
            }
        }
    }
}
