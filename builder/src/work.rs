//! Temporary folders and moving results into place.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A temporary folder that is removed with everything in it when the guard is dropped.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    keep: bool,
}

impl WorkFolder {
    /// Makes `.NAME.PID` in `parent` with mode 0700, so that results can be renamed into
    /// `parent` without leaving its file system.
    pub fn new(parent: &Path, name: &str, keep: bool) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = parent.join(format!(".{name}.{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the work folder {}", path.display()))?;
        Ok(WorkFolder { path, keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Moves finished files into place: each is flushed to disk first, then all are renamed,
/// then the folder is flushed. Only the renames can be seen by others.
pub fn move_into_place(files: &[(PathBuf, PathBuf)]) -> Result<()> {
    for (from, _) in files {
        File::open(from)
            .and_then(|f| f.sync_all())
            .with_context(|| format!("cannot write {} to disk", from.display()))?;
    }
    for (from, to) in files {
        fs::rename(from, to)
            .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    }
    for (_, to) in files {
        sync_parent(to)?;
    }
    Ok(())
}

fn sync_parent(file: &Path) -> Result<()> {
    let parent = match file.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|f| f.sync_all())
        .with_context(|| format!("cannot write the folder {} to disk", parent.display()))
}
