//! Files: written with their mode, moved into place when they are whole, removed.

use crate::system::interrupt;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes a new file with this mode, whatever the umask is. With 0600 it is never readable by
/// others, not even for a moment.
pub(crate) fn write_new(file: &Path, content: &[u8], mode: u32) -> Result<()> {
    write_for_a_move(file, content, mode)?;
    File::open(file)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("cannot write {} to disk", file.display()))
}

/// As [`write_new`], for a file that [`move_into_place`] brings to disk. What is zero in whole
/// blocks is a hole in it, and takes no space there.
pub(crate) fn write_for_a_move(file: &Path, content: &[u8], mode: u32) -> Result<()> {
    /// That of most file systems.
    const BLOCK: usize = 4096;
    let write = || -> std::io::Result<()> {
        let out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o700)
            .open(file)?;
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        for (index, block) in content.chunks(BLOCK).enumerate() {
            if *block != [0; BLOCK][..block.len()] {
                out.write_all_at(block, (index * BLOCK) as u64)?;
            }
        }
        out.set_len(content.len() as u64)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// Makes a folder, and those above it, that only this user may look into. One that is there keeps
/// its mode: somebody chose it.
pub(crate) fn private_folder(folder: &Path) -> Result<()> {
    make(folder, 0o700)
}

/// As [`private_folder`], for one that everybody may look into.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    make(folder, 0o777)
}

fn make(folder: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.or_else(|error| {
        let mut there = folder.ancestors();
        let there = there.find(|path| path.symlink_metadata().is_ok());
        match there.filter(|path| !path.is_dir()) {
            Some(file) => bail!(
                "cannot make the folder {}: {} is there and is no folder; move it out of the way, or \
                 choose another folder",
                folder.display(),
                file.display()
            ),
            None => Err(error).with_context(|| format!("cannot make {}", folder.display())),
        }
    })
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

/// Moves finished files into place: all are flushed to disk first, then all are renamed, then
/// their folders are flushed. Only the renames can be seen by others.
pub(crate) fn move_into_place(files: &[(PathBuf, PathBuf)]) -> Result<()> {
    if let Some((_, folder)) = files.iter().find(|(_, to)| to.is_dir()) {
        bail!(
            "{} is a folder, and a file is to have its name; move it out of the way",
            folder.display()
        );
    }
    sync(&files.iter().map(|(from, _)| from.as_path()).collect())?;
    for (from, to) in files {
        rename(from, to)
            .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    }
    sync(&files.iter().map(|(_, to)| parent(to)).collect())
}

/// Renames a file, also to a folder that is a link to another file system, or one mounted there: it is
/// copied beside its place then, so that nobody sees half of it.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == ErrorKind::CrossesDevices => {}
        done => return done,
    }
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".new");
    let near = parent(to).join(name);
    let copy = || -> std::io::Result<()> {
        let mut source = File::open(from)?;
        let mode = source.metadata()?.permissions();
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode.mode() & 0o700)
            .open(&near)?;
        out.set_permissions(mode)?;
        std::io::copy(&mut source, &mut out)?;
        out.sync_all()?;
        fs::rename(&near, to)?;
        fs::remove_file(from)
    };
    // One that a power cut has left.
    let _ = fs::remove_file(&near);
    copy().inspect_err(|_| {
        let _ = fs::remove_file(&near);
    })
}

/// Brings files or folders to disk. From so many on their file systems are flushed as a whole, once
/// each: that waits for what other programs have written there too, and still not as long as for
/// every one of thousands.
fn sync(all: &BTreeSet<&Path>) -> Result<()> {
    const MANY: usize = 64;
    let mut flushed = BTreeSet::new();
    for path in all {
        let mut sync = || -> std::io::Result<()> {
            let file = File::open(path)?;
            if all.len() < MANY {
                return file.sync_all();
            }
            if flushed.insert(file.metadata()?.dev()) {
                rustix::fs::syncfs(&file)?;
            }
            Ok(())
        };
        sync().with_context(|| format!("cannot write {} to disk", path.display()))?;
    }
    Ok(())
}

/// Gives a file a second name, or copies it where that cannot be: onto another file system, or
/// because it is another user's. A copy can be read by everybody, and is on disk when this
/// returns; `progress` hears how much of it is done, from 0 to 1.
pub(crate) fn link_or_copy(from: &Path, to: &Path, progress: impl FnMut(f64)) -> Result<()> {
    // A link to a symbolic link would be one, and lead elsewhere from there.
    let real = fs::canonicalize(from);
    if real.is_ok_and(|real| fs::hard_link(real, to).is_ok()) {
        return Ok(());
    }
    copy(from, to, progress)
}

/// Copies a file, as [`link_or_copy`] does where it has to.
pub(crate) fn copy(from: &Path, to: &Path, mut progress: impl FnMut(f64)) -> Result<()> {
    /// A terminal shows nothing finer, and Ctrl-C waits no longer.
    const AT_ONCE: u64 = 16 << 20;
    let mut copy = || -> Result<()> {
        let source = File::open(from)?;
        let length = source.metadata()?.len().max(1);
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(to)?;
        let mut done = 0;
        loop {
            interrupt::check()?;
            // From file to file the kernel copies, on some file systems without writing anything.
            match std::io::copy(&mut (&source).take(AT_ONCE), &mut out)? {
                0 => break,
                count => done += count,
            }
            progress(done as f64 / length as f64);
        }
        Ok(out.sync_all()?)
    };
    copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_files_are_moved_with_their_content_and_holes() {
        for count in [3, 100] {
            let folder = tempfile::tempdir().unwrap();
            let mut content = vec![0; 1 << 20];
            (content[5000], content[(1 << 20) - 1]) = (7, 9);
            let moves: Vec<(PathBuf, PathBuf)> = (0..count)
                .map(|n| {
                    let place = folder.path().join(format!("vm{n}"));
                    fs::create_dir(&place).unwrap();
                    (folder.path().join(n.to_string()), place.join("seed.img"))
                })
                .collect();
            for (from, _) in &moves {
                write_for_a_move(from, &content, 0o600).unwrap();
                assert!(fs::metadata(from).unwrap().blocks() * 512 < 1 << 18);
            }
            move_into_place(&moves).unwrap();
            for (from, to) in &moves {
                assert!(!from.exists() && fs::read(to).unwrap() == content);
            }
        }
    }

    /// /dev/shm is a file system of its own on every Linux that runs these tests.
    #[test]
    fn a_file_is_moved_to_another_file_system_as_a_whole() {
        let here = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let there = tempfile::tempdir_in("/dev/shm").unwrap();
        let (from, to) = (here.path().join("a"), there.path().join("seed.img"));
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        assert_ne!(device(here.path()), device(there.path()));
        write_new(&from, b"secret", 0o600).unwrap();
        fs::write(there.path().join(".seed.img.new"), "half").unwrap();
        move_into_place(&[(from.clone(), to.clone())]).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"secret");
        assert_eq!(
            fs::metadata(&to).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 1);
        assert!(!from.exists());
    }

    #[test]
    fn what_is_in_the_way_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let (file, from) = (folder.path().join("file"), folder.path().join("from"));
        fs::write(&file, "").unwrap();
        fs::write(&from, "").unwrap();
        for wanted in [file.clone(), file.join("sub/sub")] {
            let text = private_folder(&wanted).unwrap_err().to_string();
            let words = format!(
                "cannot make the folder {}: {} is there and is no folder; move it out of the way, or \
                 choose another folder",
                wanted.display(),
                file.display()
            );
            assert_eq!(text, words);
        }
        let text = move_into_place(&[(from, folder.path().into())]).unwrap_err();
        let words = format!(
            "{} is a folder, and a file is to have its name; move it out of the way",
            folder.path().display()
        );
        assert_eq!(text.to_string(), words);
    }

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
