//! The digests of a file, whole and by piece, in one reading of it.

use crate::system::given;
use crate::system::interrupt;
use crate::system::text::hex;
use anyhow::{Context, Result};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// The smallest length of a piece in bytes.
const SMALLEST: u64 = 1 << 20;
/// More pieces than this make metalink and torrent larger than they are worth.
const MOST: u64 = 2048;

/// A file's digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Length of each piece but the last, in bytes: a power of two.
    pub length: u64,
    /// SHA-256 of each piece, lower-case hex.
    pub sha256_of_each: Vec<String>,
    /// SHA-1 of each piece, 20 bytes each: BitTorrent knows nothing else.
    pub sha1_of_each: Vec<u8>,
}

impl Pieces {
    /// Reads a file; `progress` hears how much of it is done, from 0 to 1.
    pub(crate) fn of(file: &Path, progress: impl FnMut(f64)) -> Result<Self> {
        let read = || -> Result<Self> {
            let opened = given::open(file)?;
            let bytes = opened.metadata()?.len();
            Self::read(opened, bytes, length(bytes), progress)
        };
        read().with_context(|| format!("cannot read {}", file.display()))
    }

    fn read(
        mut from: impl Read,
        expected: u64,
        length: u64,
        mut progress: impl FnMut(f64),
    ) -> Result<Self> {
        let mut whole = Sha256::new();
        let (mut bytes, mut sha256_of_each, mut sha1_of_each) = (0, Vec::new(), Vec::new());
        let mut piece = Vec::new();
        loop {
            interrupt::check()?;
            piece.clear();
            from.by_ref().take(length).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            whole.update(&piece);
            sha256_of_each.push(hex(&Sha256::digest(&piece)));
            sha1_of_each.extend(Sha1::digest(&piece));
            bytes += piece.len() as u64;
            progress(bytes as f64 / expected.max(1) as f64);
        }
        Ok(Pieces {
            bytes,
            sha256: hex(&whole.finalize()),
            length,
            sha256_of_each,
            sha1_of_each,
        })
    }
}

/// The length of the pieces of a file of so many bytes.
fn length(bytes: u64) -> u64 {
    let mut length = SMALLEST;
    while bytes.div_ceil(length) > MOST {
        length *= 2;
    }
    length
}

#[cfg(test)]
pub(super) mod tests {
    //! `example` serves the tests of metalink and torrent too.

    use super::*;

    /// `hello world` in pieces of four bytes.
    pub(in crate::publish) fn example() -> Pieces {
        Pieces::read(&b"hello world"[..], 11, 4, |_| {}).unwrap()
    }

    /// Compared with sha256sum and sha1sum.
    #[test]
    fn a_file_and_its_pieces() {
        let pieces = example();
        assert_eq!((pieces.bytes, pieces.length), (11, 4));
        assert_eq!(
            pieces.sha256,
            "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
        );
        assert_eq!(
            pieces.sha256_of_each,
            [
                "0ebdc3317b75839f643387d783535adc360ca01f33c75f7c1e7373adcd675c0b",
                "8af8e662a3b251ef02d2ed85745535086af77aa1ac63a4f5f800f501c8e5d093",
                "85c76dcae2299d2235c793fe3425bd88376f5c4721cfddc1c9a9c452c20c5d33",
            ]
        );
        assert_eq!(
            hex(&pieces.sha1_of_each),
            "a5cec7af5f7aab769cf0d4aa440e01c7bfc371b2\
             1085cd1a2f46b0902dac61890f31072561978deb\
             c466b3a33e6f6dc170438d34fcddf7860d3658fb"
        );
        let empty = Pieces::read(&b""[..], 0, 4, |_| {}).unwrap();
        assert_eq!((empty.bytes, empty.sha256_of_each.len()), (0, 0));
    }

    #[test]
    fn a_large_file_has_larger_pieces() {
        const MIB: u64 = 1 << 20;
        assert_eq!(length(0), MIB);
        assert_eq!(length(2048 * MIB), MIB);
        assert_eq!(length(2048 * MIB + 1), 2 * MIB);
        assert_eq!(length(20 << 30), 16 * MIB);
    }
}
