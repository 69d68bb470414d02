//! Following a file that another program writes.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Reads what was appended to a file since the last time; a file that is not there yet is empty.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
}

impl Tail {
    /// The file need not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Tail { path, file: None }
    }

    /// What is new; empty when nothing is.
    pub fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut read = || -> std::io::Result<()> {
            if self.file.is_none() {
                self.file = match File::open(&self.path) {
                    Ok(file) => Some(file),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                    Err(e) => return Err(e),
                };
            }
            if let Some(file) = &mut self.file {
                file.read_to_end(&mut bytes)?;
            }
            Ok(())
        };
        read().with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(bytes)
    }
}
