//! The file below an image, for qcow2-rs: read-only, and a read past its end gives zeros.
//!
//! qcow2-rs's own synchronous backend prints to standard error on such a read, which the
//! last compressed cluster of an image always causes, and panics when a file cannot be opened.

use super::header::Header;
use crate::system::given;
use anyhow::{Context, Result};
use qcow2_rs::error::Qcow2Result;
use qcow2_rs::ops::Qcow2IoOps;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// More than any header and what stands behind it in its cluster.
const FIRST: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct ReadOnlyFile {
    file: File,
    /// What is read at the file's beginning, in the place of its own header.
    header: Vec<u8>,
}

impl ReadOnlyFile {
    /// Opens an image of which nothing but sound numbers is told to qcow2-rs.
    pub(super) fn open(path: &Path) -> Result<(Self, Header)> {
        let file = given::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let read = || -> std::io::Result<(Vec<u8>, u64)> {
            let mut first = vec![0; FIRST];
            let length = read_full(&file, &mut first, 0)?;
            first.truncate(length);
            Ok((first, file.metadata()?.len()))
        };
        let (first, size) = read().with_context(|| format!("cannot read {}", path.display()))?;
        let known = Header::read(path, &first, size)?;
        let header = known.for_the_reader();
        Ok((ReadOnlyFile { file, header }, known))
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
        let done = match offset {
            0 => {
                let length = self.header.len().min(buf.len());
                buf[..length].copy_from_slice(&self.header[..length]);
                length
            }
            _ => read_full(&self.file, buf, offset)?,
        };
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
