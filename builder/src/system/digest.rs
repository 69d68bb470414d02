//! SHA-256 of bytes and of files, in lower-case hex.

use crate::system::given;
use crate::system::interrupt;
use crate::system::text::hex;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Of a file.
pub(crate) fn sha256_file(file: &Path) -> Result<String> {
    sha256_shown(file, |_| {}).with_context(|| format!("cannot read {}", file.display()))
}

/// Of a file, with how much of it is done, from 0 to 1. The error does not name the file.
pub(crate) fn sha256_shown(file: &Path, mut progress: impl FnMut(f64)) -> Result<String> {
    let mut opened = given::open(file)?;
    let length = opened.metadata()?.len().max(1);
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        interrupt::check()?;
        let count = opened.read(&mut chunk)?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&chunk[..count]);
        done += count as u64;
        progress(done as f64 / length as f64);
    }
}
