//! What a power cut leaves of a file that was being written: its temporary name, which the next write
//! of the same file replaces, and nobody where there is none.

use super::{Root, remove_if_there};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Below these is all that firstboot writes, but for `/run`, which no cut outlasts, and pmxcfs, which
/// is all members' own.
const WRITTEN: [&str; 3] = ["/etc", "/root/.ssh", "/var/lib/firstboot"];

/// The name that a file has until it is whole, beside the one that it is to have.
pub(super) fn temporary(target: &Path, name: &str) -> PathBuf {
    target.with_file_name(format!(".{name}.firstboot"))
}

fn is_temporary(name: &str) -> bool {
    let inside = name
        .strip_prefix('.')
        .and_then(|n| n.strip_suffix(".firstboot"));
    inside.is_some_and(|name| !name.is_empty())
}

impl Root {
    /// Removes what writes that were cut have left. At that moment nothing else of firstboot may run.
    pub fn remove_unfinished(&self) -> Result<()> {
        for top in WRITTEN {
            let folder = self.resolve(top, false)?;
            let Ok(data) = fs::symlink_metadata(&folder) else {
                continue;
            };
            if data.is_dir() {
                sweep(&folder, data.dev()).with_context(|| format!("cannot look through {top}"))?;
            }
        }
        Ok(())
    }
}

/// Looks into each folder of this file system; pmxcfs's is another one.
fn sweep(folder: &Path, device: u64) -> std::io::Result<()> {
    let mut removed = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if entry.metadata()?.dev() == device {
                sweep(&path, device)?;
            }
        } else if entry.file_name().to_str().is_some_and(is_temporary) {
            remove_if_there(&path)?;
            removed = true;
        }
    }
    match removed {
        true => fs::File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}
