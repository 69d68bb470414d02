//! The file below an image, read only.
//!
//! qcow2-rs's own synchronous backend prints to standard error on a read past the file's end, which the
//! last compressed cluster of an image always causes, and panics when a file cannot be opened.

use qcow2_rs::error::Qcow2Result;
use qcow2_rs::ops::Qcow2IoOps;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// For qcow2-rs: a read past the end gives zeros.
#[derive(Debug)]
pub(super) struct ReadOnlyFile {
    pub(super) file: Arc<File>,
    /// What is read at the file's beginning, in the place of its own header.
    pub(super) header: Vec<u8>,
}

/// Reads until the buffer is full or the file ends; returns how many bytes there were.
pub(super) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
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
