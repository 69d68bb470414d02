//! The file below an image, for qcow2-rs: read-only, and a read past its end gives zeros.
//!
//! qcow2-rs's own synchronous backend prints to standard error on such a read, which the
//! last compressed cluster of an image always causes, and panics when a file cannot be opened.

use anyhow::{Context, Result, bail};
use qcow2_rs::error::Qcow2Result;
use qcow2_rs::ops::Qcow2IoOps;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

#[derive(Debug)]
pub(super) struct ReadOnlyFile(File);

impl ReadOnlyFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        File::open(path)
            .map(ReadOnlyFile)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    /// Checks the header's numbers (qcow2 specification, "Header") against the file, so that
    /// a damaged one is refused before its tables are followed.
    pub(super) fn check_header(&self, path: &Path) -> Result<()> {
        let mut header = [0u8; 104];
        let length = read_full(&self.0, &mut header, 0)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let u32_at = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        if length < 8 || &header[..4] != b"QFI\xfb" {
            bail!("{} is no qcow2 image", path.display());
        }
        let version = u32_at(4);
        if !(2..=3).contains(&version) {
            bail!(
                "{} is qcow2 of version {version}; 2 and 3 are known",
                path.display()
            );
        }
        let file_size = self
            .0
            .metadata()
            .with_context(|| format!("cannot read {}", path.display()))?
            .len();
        let cluster_bits = u32_at(20);
        let (l1_entries, l1_offset, refcounts) = (u64::from(u32_at(36)), u64_at(40), u64_at(48));
        let inside = |offset: u64, bytes: u64| {
            offset
                .checked_add(bytes)
                .is_some_and(|end| offset > 0 && end <= file_size)
        };
        if !(9..=21).contains(&cluster_bits)
            || u64_at(24) == 0
            || !inside(l1_offset, l1_entries * 8)
            || !inside(refcounts, 8)
        {
            bail!(
                "{} is a damaged qcow2 image: its header points outside of the file",
                path.display()
            );
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends; returns how many bytes there were.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl Qcow2IoOps for ReadOnlyFile {
    async fn read_to(&self, offset: u64, buf: &mut [u8]) -> Qcow2Result<usize> {
        let done = read_full(&self.0, buf, offset)?;
        buf[done..].fill(0);
        Ok(buf.len())
    }

    async fn write_from(&self, _offset: u64, _buf: &[u8]) -> Qcow2Result<()> {
        Err("the image is opened read-only".into())
    }

    async fn fallocate(&self, _offset: u64, _len: usize, _flags: u32) -> Qcow2Result<()> {
        Err("the image is opened read-only".into())
    }

    async fn fsync(&self, _offset: u64, _len: usize, _flags: u32) -> Qcow2Result<()> {
        Ok(())
    }
}
