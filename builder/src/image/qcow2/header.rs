//! The header of a qcow2 image (qcow2 specification, "Header"): judged here, before any library sees it.

use crate::system::program;
use anyhow::{Result, bail};
use std::path::Path;

/// Bytes of a header of version 3, without what stands behind it.
const LENGTH: usize = 104;
/// QEMU's limits, in bytes (qcow2.h).
const MAX_L1: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE: u64 = 8 << 20;
const MAX_BACKING_NAME: u64 = 1023;

/// What is read of an image's header.
#[derive(Debug)]
pub(super) struct Header {
    pub cluster_bits: u32,
    /// Virtual size in bytes.
    pub size: u64,
    /// The active L1 table's place in the file.
    l1_offset: u64,
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
        let mut known = [0; LENGTH];
        let length = LENGTH.min(first.len());
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
        let header = Header {
            cluster_bits: u32_at(20),
            size: u64_at(24),
            l1_offset: u64_at(40),
            refcounts: u64_at(48),
            // A header of version 2 ends before this field.
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
        // Each entry of the L1 table stands for a table of a cluster's size, with 8 bytes per cluster.
        let reach = u128::from(l1 / 8) * u128::from(cluster / 8) * u128::from(cluster);
        if header.size == 0 || header.size % 512 != 0 || u128::from(header.size) > reach {
            return damaged("names a disk that its tables cannot hold");
        }
        if header.refcount_order > 6 {
            return damaged("names a size of reference counts that no image has");
        }
        if u32_at(32) != 0 {
            bail!("{shown} is encrypted, and is not read here");
        }
        if version == 3 {
            let length = u64::from(u32_at(100));
            if length < LENGTH as u64 || length % 8 != 0 || length > cluster {
                return damaged("has a length that no header has");
            }
            features(path, u64_at(72))?;
        }
        let backing = backing(path, first, u64_at(8), u64::from(u32_at(16)), cluster)?;
        Ok(Header { backing, ..header })
    }

    /// A header for qcow2-rs that has what is read here, and nothing of the file's own beside it. The
    /// size is that of whole clusters: of a backing file that ends inside of one, it reads the wrong
    /// part. The refcounts, which no reader needs, are those of a single cluster. A backing file is
    /// there or not; its name is not told.
    pub(super) fn for_the_reader(&self) -> Vec<u8> {
        // Behind the header's 104 bytes: no compression type, the end of the extensions, a name.
        let name_at = LENGTH as u64 + 16;
        let (at, length) = match self.backing {
            Some(_) => (name_at, 1u32),
            None => (0, 0),
        };
        let size = self.size.next_multiple_of(1 << self.cluster_bits);
        let l1 = size.div_ceil(1 << (2 * self.cluster_bits - 3));
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

/// The incompatible features: whoever does not know one must not read the image.
fn features(path: &Path, features: u64) -> Result<()> {
    let (shown, quoted) = (path.display(), program::quote(&path.to_string_lossy()));
    let converted = format!("a copy can be read: qemu-img convert -O qcow2 {quoted} NEW.qcow2");
    // The first that is set, by what helps.
    let what = match features {
        0 => return Ok(()),
        f if f & 2 != 0 => bail!(
            "{shown} is marked as corrupt; `qemu-img check -r all {quoted}` repairs what can be repaired"
        ),
        f if f & 1 != 0 => bail!(
            "{shown} was not closed, because its machine runs or was killed; shut the machine down, or \
             repair the image: qemu-img check -r all {quoted}"
        ),
        f if f & 4 != 0 => "keeps its data in another file",
        f if f & 8 != 0 => "is not compressed with deflate",
        f if f & 16 != 0 => "has extended L2 entries",
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
