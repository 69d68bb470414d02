//! Files: written with their mode, moved into place when they are whole, removed.

use anyhow::{Context, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes a new file with this mode, whatever the umask is. With 0600 it is never readable by
/// others, not even for a moment.
pub(crate) fn write_new(file: &Path, content: &[u8], mode: u32) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o700)
            .open(file)?;
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        out.write_all(content)?;
        out.sync_all()
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// Makes a folder, and those above it, that only this user may look into. One that is there keeps
/// its mode: somebody chose it.
pub(crate) fn private_folder(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))
}

/// Removes a file, where there is one.
pub(crate) fn remove_if_there(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Moves finished files into place: each is flushed to disk first, then all are renamed,
/// then the folder is flushed. Only the renames can be seen by others.
pub(crate) fn move_into_place(files: &[(PathBuf, PathBuf)]) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_overwrites_and_sets_the_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seed.img");
        write_new(&file, b"one", 0o600).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let error = write_new(&file, b"two", 0o600).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            format!("cannot write {}: File exists (os error 17)", file.display())
        );
        assert_eq!(fs::read(&file).unwrap(), b"one");
    }
}
