//! Content codings, undone.

use std::io::Read;

/// The body of a whole answer: every byte belongs to one stream that ends.
#[track_caller]
pub fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => {
            let mut decoder = flate2::bufread::GzDecoder::new(body);
            decoder.read_to_end(&mut out).expect("a whole gzip stream");
            assert!(decoder.into_inner().is_empty(), "something follows the stream");
        }
        "br" => drop(brotli::Decompressor::new(body, 4096).read_to_end(&mut out).expect("a whole brotli stream")),
        "zstd" => {
            let end = zstd_safe::find_frame_compressed_size(body).expect("a whole zstd frame");
            assert_eq!(end, body.len(), "something follows the frame");
            out = decoded_so_far("zstd", body);
        }
        other => panic!("what is {other}?"),
    }
    out
}

/// What can be read of a stream that goes on.
pub fn decoded_so_far(coding: &str, stream: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 16 << 20];
    let mut length = 0;
    let mut read_from = |mut reader: Box<dyn Read + '_>, out: &mut [u8]| {
        while let Ok(n) = reader.read(&mut out[length..])
            && n > 0
        {
            length += n;
        }
        length
    };
    let length = match coding {
        "gzip" => read_from(Box::new(flate2::bufread::GzDecoder::new(stream)), &mut out),
        "br" => read_from(Box::new(brotli::Decompressor::new(stream, 4096)), &mut out),
        "zstd" => {
            let mut context = zstd_safe::DCtx::create();
            let mut input = zstd_safe::InBuffer::around(stream);
            let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
            while input.pos() < stream.len() && context.decompress_stream(&mut output, &mut input).is_ok() {}
            output.pos()
        }
        other => panic!("what is {other}?"),
    };
    out.truncate(length);
    out
}
