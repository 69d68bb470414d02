//! Following a file that another program writes, by bytes and by lines.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Reads what was appended to a file since the last time; a file that is not there yet is empty.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    file: Option<File>,
}

impl Tail {
    /// The file need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Tail { path, file: None }
    }

    /// What is new; empty when nothing is.
    pub(crate) fn new_bytes(&mut self) -> Result<Vec<u8>> {
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

/// Cuts what comes in parts into lines; the last one may not be whole yet.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// The lines that these bytes complete, without their ends.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.open.extend_from_slice(bytes);
        let Some(end) = self.open.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.open.split_off(end + 1);
        let whole = std::mem::replace(&mut self.open, rest);
        whole[..end]
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    }
}
