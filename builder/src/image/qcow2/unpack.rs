//! One compressed cluster, unpacked.

use super::header::Compression;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// No cluster is larger than 2^21 bytes, and none needs a larger window; a frame that names one would
/// have memory for it.
const MAX_WINDOW_LOG: u32 = 21;

/// What `packed` holds, which ends with the cluster or behind it: its length is known in sectors. An
/// error says in words why that is not a cluster of this length.
pub(super) fn unpack(
    compression: Compression,
    packed: &[u8],
    length: usize,
) -> Result<Vec<u8>, String> {
    let mut plain = vec![0; length];
    match compression {
        Compression::Deflate => inflate(packed, &mut plain)?,
        Compression::Zstd => decompress_frames(packed, &mut plain)?,
    }
    Ok(plain)
}

fn inflate(packed: &[u8], plain: &mut [u8]) -> Result<(), String> {
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, _, written) = decompress(&mut DecompressorOxide::new(), packed, plain, 0, flags);
    match status {
        TINFLStatus::Done | TINFLStatus::HasMoreOutput if written == plain.len() => Ok(()),
        status => Err(format!(
            "deflate ends with {status:?} after {written} bytes"
        )),
    }
}

/// As QEMU (block/qcow2-threads.c): the last frame ends where the cluster does.
fn decompress_frames(packed: &[u8], plain: &mut [u8]) -> Result<(), String> {
    let words = |code| format!("zstd says: {}", get_error_name(code));
    let mut context = DCtx::create();
    context
        .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
        .map_err(words)?;
    let length = plain.len();
    let mut input = InBuffer::around(packed);
    let mut output = OutBuffer::around(plain);
    loop {
        let before = (input.pos(), output.pos());
        let wanted = context
            .decompress_stream(&mut output, &mut input)
            .map_err(words)?;
        match output.pos() == length {
            true if wanted == 0 => return Ok(()),
            true => return Err("zstd has more than a cluster".to_owned()),
            false if before == (input.pos(), output.pos()) => {
                return Err(format!("zstd ends after {} bytes", output.pos()));
            }
            false => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec;

    fn sample() -> Vec<u8> {
        (0..20_000u32).map(|n| ((n * n) >> 7) as u8).collect()
    }

    #[test]
    fn a_cluster_is_whole_or_refused() {
        let plain = sample();
        for (compression, packed) in [
            (Compression::Deflate, compress_to_vec(&plain, 6)),
            (Compression::Zstd, zstd::bulk::compress(&plain, 3).unwrap()),
        ] {
            let of = |packed: &[u8], length| unpack(compression, packed, length);
            let longer = [&packed[..], &[7; 511]].concat();
            assert_eq!(of(&longer, plain.len()).unwrap(), plain);
            assert!(of(&packed[..packed.len() / 2], plain.len()).is_err());
            assert!(of(&packed, plain.len() + 1).is_err());
            assert!(of(&[0; 512], plain.len()).is_err());
            assert!(of(&[], plain.len()).is_err());
        }
        // zstd tells of more where deflate is cut, as in QEMU.
        let packed = zstd::bulk::compress(&plain, 3).unwrap();
        assert_eq!(
            unpack(Compression::Zstd, &packed, plain.len() - 1).unwrap_err(),
            "zstd has more than a cluster"
        );
    }

    #[test]
    fn a_frame_that_wants_much_memory_is_refused() {
        // Magic number, no single segment, a window of 2^(10 + 20) bytes (RFC 8878).
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0];
        assert_eq!(
            unpack(Compression::Zstd, &frame, 65536).unwrap_err(),
            "zstd says: Frame requires too much memory for decoding"
        );
    }
}
