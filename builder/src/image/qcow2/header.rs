//! The header of a qcow2 image (qcow2 specification, "Header"): judged here, before any library sees it.

use crate::system::program;
use anyhow::{Result, bail};
use std::path::Path;

/// Bytes of a header of version 3, without what was added to it later.
const LENGTH: usize = 104;
/// The same with what is known of that: how clusters are compressed.
const LONGER: usize = 112;
/// Incompatible features: whoever does not know one must not read the image.
const COMPRESSION: u64 = 8;
const EXTENDED: u64 = 16;
/// Bits of the smallest cluster that can have extended L2 entries.
const MIN_EXTENDED_BITS: u32 = 14;
/// Of a cluster's descriptor in an L2 entry: the cluster is compressed.
pub(super) const COMPRESSED: u64 = 1 << 62;
/// QEMU's limits, in bytes (qcow2.h).
const MAX_L1: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE: u64 = 8 << 20;
const MAX_BACKING_NAME: u64 = 1023;

/// How the compressed clusters of an image are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Deflate,
    Zstd,
}

/// What is read of an image's header.
#[derive(Debug)]
pub(super) struct Header {
    pub cluster_bits: u32,
    /// Virtual size in bytes.
    pub size: u64,
    pub compression: Compression,
    /// Whether L2 entries have 16 bytes, and tell of subclusters.
    pub extended: bool,
    /// The active L1 table's place in the file.
    pub l1_offset: u64,
    /// The refcount table's place in the file.
    refcounts: u64,
    refcount_order: u32,
    /// The backing file's name, as it is written.
    pub backing: Option<String>,
}

impl Header {
    /// Reads the header from the file's beginning: its first cluster, or as much as there is of the
    /// largest one. Fails where anything in it cannot be, or cannot be read here.
    pub(super) fn read(path: &Path, first: &[u8], file_size: u64) -> Result<Self> {
        let shown = path.display();
        if first.len() < 8 || &first[..4] != b"QFI\xfb" {
            bail!("{shown} is no qcow2 image");
        }
        let mut known = [0; LONGER];
        let length = LONGER.min(first.len());
        known[..length].copy_from_slice(&first[..length]);
        let u32_at = |at: usize| {
            let bytes = known[at..at + 4].iter();
            bytes.fold(0u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        let version = u32_at(4);
        if !(2..=3).contains(&version) {
            bail!("{shown} is qcow2 of version {version}; 2 and 3 are known");
        }
        // A header of version 2 ends before these.
        let (features, length) = match version {
            2 => (0, 0),
            _ => (u64_at(72), u64::from(u32_at(100))),
        };
        let header = Header {
            cluster_bits: u32_at(20),
            compression: match features & COMPRESSION {
                0 => Compression::Deflate,
                _ => Compression::Zstd,
            },
            extended: features & EXTENDED != 0,
            size: u64_at(24),
            l1_offset: u64_at(40),
            refcounts: u64_at(48),
            refcount_order: if version == 2 { 4 } else { u32_at(96) },
            backing: None,
        };
        let damaged = |what: &str| -> Result<Header> {
            bail!("{shown} is a damaged qcow2 image: its header {what}")
        };
        if !(9..=21).contains(&header.cluster_bits) {
            return damaged("names a size of clusters that no image has");
        }
        let cluster = 1u64 << header.cluster_bits;
        // The last cluster of a file may be cut where its content ends.
        let end = file_size.next_multiple_of(cluster);
        let inside = |offset: u64, bytes: u64| {
            let ends = offset.checked_add(bytes);
            offset > 0 && offset % cluster == 0 && ends.is_some_and(|at| at <= end)
        };
        let l1 = u64::from(u32_at(36)) * 8;
        let refcounts = u64::from(u32_at(56)) * cluster;
        if !inside(header.l1_offset, l1) || !inside(header.refcounts, refcounts) {
            return damaged("points outside of the file");
        }
        if l1 > MAX_L1 || refcounts > MAX_REFCOUNT_TABLE || refcounts == 0 {
            return damaged("names a table that is larger than any, or empty");
        }
        let too_large = header.l1_needed() > l1 / 8;
        if header.size == 0 || header.size % 512 != 0 || too_large {
            return damaged("names a disk that its tables cannot hold");
        }
        if header.refcount_order > 6 {
            return damaged("names a size of reference counts that no image has");
        }
        if u32_at(32) != 0 {
            bail!("{shown} is encrypted, and is not read here");
        }
        if version == 3 {
            if length < LENGTH as u64 || length % 8 != 0 || length > cluster {
                return damaged("has a length that no header has");
            }
            refuse(path, features, None)?;
        }
        if header.extended && header.cluster_bits < MIN_EXTENDED_BITS {
            return damaged("names a size of clusters that no image with extended L2 entries has");
        }
        // Deflate is 0, and written by a feature that is not set.
        let told = if length < LONGER as u64 {
            0
        } else {
            known[LENGTH]
        };
        match (header.compression, told) {
            (Compression::Deflate, 0) | (Compression::Zstd, 1) => {}
            (Compression::Zstd, 2..) => refuse(path, 0, Some(told))?,
            _ => return damaged("does not say how the image is compressed"),
        }
        let backing = backing(path, first, u64_at(8), u64::from(u32_at(16)), cluster)?;
        Ok(Header { backing, ..header })
    }

    /// How many entries of the L1 table the disk needs. Each stands for a table of a cluster's size.
    pub(super) fn l1_needed(&self) -> u64 {
        let entries = self.cluster_bits - if self.extended { 4 } else { 3 };
        self.size.div_ceil(1 << (self.cluster_bits + entries))
    }

    /// A header for qcow2-rs that has what is read here, and nothing of the file's own beside it. The
    /// size is that of whole clusters, because it is asked for whole ones. The refcounts, which no reader needs, are those of a single cluster. A backing file is
    /// there or not; its name is not told, and neither is a compression that qcow2-rs does not know: it is
    /// not asked for such clusters.
    pub(super) fn for_the_reader(&self) -> Vec<u8> {
        // Behind the header's 104 bytes: no compression type, the end of the extensions, a name.
        let name_at = LENGTH as u64 + 16;
        let (at, length) = match self.backing {
            Some(_) => (name_at, 1u32),
            None => (0, 0),
        };
        let size = self.size.next_multiple_of(1 << self.cluster_bits);
        let l1 = self.l1_needed();
        let mut out = Vec::new();
        out.extend_from_slice(b"QFI\xfb\0\0\0\x03");
        out.extend_from_slice(&at.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.cluster_bits.to_be_bytes());
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&0u32.to_be_bytes());
        // At most as many as the file's own header names, which are fewer than 2^22.
        out.extend_from_slice(&(l1 as u32).to_be_bytes());
        out.extend_from_slice(&self.l1_offset.to_be_bytes());
        out.extend_from_slice(&self.refcounts.to_be_bytes());
        out.extend_from_slice(&1u32.to_be_bytes());
        out.extend_from_slice(&[0; 4 + 8 + 8 + 8 + 8]);
        out.extend_from_slice(&self.refcount_order.to_be_bytes());
        out.extend_from_slice(&(LENGTH as u32 + 8).to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.push(b'x');
        out
    }
}

/// Fails for an incompatible feature, or a type of compression, that is not read here.
fn refuse(path: &Path, features: u64, compression: Option<u8>) -> Result<()> {
    let (shown, quoted) = (path.display(), program::quote(&path.to_string_lossy()));
    let converted = format!("a copy can be read: qemu-img convert -O qcow2 {quoted} NEW.qcow2");
    // The first that is set, by what helps.
    let what = match features & !(COMPRESSION | EXTENDED) {
        0 => match compression {
            None => return Ok(()),
            Some(kind) => &format!("is compressed in a way that is not known (type {kind})"),
        },
        f if f & 2 != 0 => bail!(
            "{shown} is marked as corrupt; `qemu-img check -r all {quoted}` repairs what can be repaired"
        ),
        f if f & 1 != 0 => bail!(
            "{shown} was not closed, because its machine runs or was killed; shut the machine down, or \
             repair the image: qemu-img check -r all {quoted}"
        ),
        f if f & 4 != 0 => "keeps its data in another file",
        _ => "has a feature that is not known",
    };
    bail!("{shown} {what}, and is not read here; {converted}")
}

/// The backing file's name in the first cluster.
fn backing(
    path: &Path,
    first: &[u8],
    at: u64,
    length: u64,
    cluster: u64,
) -> Result<Option<String>> {
    if at == 0 {
        return Ok(None);
    }
    let shown = path.display();
    let end = at.checked_add(length).filter(|end| *end <= cluster);
    let bytes = end.and_then(|end| first.get(at as usize..end as usize));
    let name = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let whole = (1..=MAX_BACKING_NAME).contains(&length);
    let Some(name) = name.filter(|name| whole && !name.contains(char::is_control)) else {
        bail!("{shown} is a damaged qcow2 image: the name of its backing file is none");
    };
    // As QEMU tells a protocol, such as nbd: or json:, from a path (block.c).
    let before = name.split(['/', ':']).next().unwrap_or_default();
    match name[before.len()..].starts_with(':') {
        false => Ok(Some(name.to_owned())),
        true => bail!("{shown} is backed by `{name}`, which is no file, and is not read here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As qemu-img writes it for 32 MiB in clusters of 64 KiB.
    fn sound() -> Vec<u8> {
        let header = Header {
            cluster_bits: 16,
            compression: Compression::Deflate,
            extended: false,
            size: 32 << 20,
            l1_offset: 3 << 16,
            refcounts: 1 << 16,
            refcount_order: 4,
            backing: Some(String::new()),
        };
        let mut bytes = header.for_the_reader();
        bytes.resize(1 << 16, 0);
        bytes
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let file_size = (3 << 16) + 8;
        let read = |bytes: &[u8]| Header::read(Path::new("x"), bytes, file_size);
        let whole = read(&sound()).unwrap();
        assert_eq!(
            (whole.size, whole.backing.as_deref()),
            (32 << 20, Some("x"))
        );
        let cases: [(usize, &[u8], &str); 18] = [
            (0, b"QFI\xfc", "x is no qcow2 image"),
            (7, &[4], "x is qcow2 of version 4; 2 and 3 are known"),
            (
                23,
                &[8],
                "its header names a size of clusters that no image has",
            ),
            (
                20,
                &[255; 4],
                "its header names a size of clusters that no image has",
            ),
            (
                24,
                &[0, 0, 1],
                "its header names a disk that its tables cannot hold",
            ),
            (
                31,
                &[1],
                "its header names a disk that its tables cannot hold",
            ),
            (35, &[1], "x is encrypted, and is not read here"),
            (36, &[255; 4], "its header points outside of the file"),
            (40, &[255; 8], "its header points outside of the file"),
            (46, &[1], "its header points outside of the file"),
            (48, &[255; 8], "its header points outside of the file"),
            (56, &[255; 4], "its header points outside of the file"),
            (
                59,
                &[0],
                "its header names a table that is larger than any, or empty",
            ),
            (
                79,
                &[2],
                "x is marked as corrupt; `qemu-img check -r all x` repairs",
            ),
            (
                79,
                &[4],
                "x keeps its data in another file, and is not read here; a copy can be read",
            ),
            (
                99,
                &[7],
                "its header names a size of reference counts that no image has",
            ),
            (103, &[9], "its header has a length that no header has"),
            (16, &[255; 4], "the name of its backing file is none"),
        ];
        for (at, bytes, wanted) in cases {
            let mut bad = sound();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            let text = read(&bad).unwrap_err().to_string();
            assert!(text.contains(wanted), "{at}: {text}");
        }
        // A bit of a feature, what is told of the compression, and what is said of both.
        let longer = |features: u8, told: u8, bits: u8| {
            let mut bytes = sound();
            (bytes[79], bytes[103], bytes[104]) = (features, 112, told);
            bytes[23] = bits;
            bytes
        };
        for (features, told, bits, wanted) in [
            (
                0,
                1,
                16,
                "its header does not say how the image is compressed",
            ),
            (
                8,
                0,
                16,
                "its header does not say how the image is compressed",
            ),
            (
                8,
                2,
                16,
                "x is compressed in a way that is not known (type 2)",
            ),
            (255, 1, 16, "is marked as corrupt"),
            (128, 0, 16, "x has a feature that is not known"),
        ] {
            let text = read(&longer(features, told, bits)).unwrap_err().to_string();
            assert!(text.contains(wanted), "{features} {told}: {text}");
        }
        let both = read(&longer(8 | 16, 1, 16)).unwrap();
        assert_eq!((both.compression, both.extended), (Compression::Zstd, true));
        // One that is too short to say it.
        let mut short = longer(8, 1, 16);
        short[103] = 104;
        assert!(read(&short).is_err());
        // Entries of twice the size reach half as far, and none are in small clusters.
        let mut large = longer(16, 0, 16);
        large[24..32].copy_from_slice(&(1u64 << 29).to_be_bytes());
        large[39] = 1;
        let text = read(&large).unwrap_err().to_string();
        assert!(
            text.contains("names a disk that its tables cannot hold"),
            "{text}"
        );
        large[79] = 0;
        assert_eq!(read(&large).unwrap().l1_needed(), 1);
        let mut small = longer(16, 0, 13);
        small[24..32].copy_from_slice(&(1u64 << 20).to_be_bytes());
        let text = read(&small).unwrap_err().to_string();
        assert!(
            text.contains("no image with extended L2 entries has"),
            "{text}"
        );
        for name in ["nbd://h/x", "json:{}"] {
            let mut bad = sound();
            bad[19] = name.len() as u8;
            bad[120..120 + name.len()].copy_from_slice(name.as_bytes());
            assert_eq!(
                read(&bad).unwrap_err().to_string(),
                format!("x is backed by `{name}`, which is no file, and is not read here")
            );
        }
    }
}
