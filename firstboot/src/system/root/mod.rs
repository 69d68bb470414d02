//! The system under a root folder: `/` in the guest, a tree in a test.
//!
//! Every path here is absolute inside that system. Symbolic links are followed as the
//! system itself would follow them, so none leads out of the root folder.

mod program;
mod sync;
#[cfg(test)]
pub(crate) mod tests;
mod unfinished;

use anyhow::{Context, Result, bail};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How many symbolic links one path may go through, as in the kernel.
const MAX_LINKS: usize = 40;

/// A system under a root folder.
#[derive(Debug, Clone)]
pub struct Root {
    base: PathBuf,
    /// Shared by all copies: it is one system.
    others_wrote: Arc<AtomicBool>,
}

/// What a path is, symbolic links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Symlink,
    /// A device, a socket, a pipe.
    Other,
}

impl Root {
    /// The system whose `/` is `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Root {
            base: base.into(),
            others_wrote: Arc::default(),
        }
    }

    /// Whether this is the running system. Only then do steps touch the kernel or services.
    pub fn is_live(&self) -> bool {
        self.base == Path::new("/")
    }

    /// Where `path` lies in the file system of this process, for a program that is to be
    /// run on it. A final symbolic link is followed.
    pub fn path(&self, path: &str) -> Result<PathBuf> {
        self.resolve(path, true)
    }

    /// The content of a file, or `None` when there is none (a dangling link included).
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.resolve(path, true)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {path}")),
        }
    }

    /// The first `length` bytes of a file or device; fewer when it is shorter.
    pub fn read_first(&self, path: &str, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.resolve(path, true)?)
            .and_then(|file| file.take(length as u64).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {path}"))?;
        Ok(bytes)
    }

    /// As [`Root::read`], for a file that must be text.
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        self.read(path)?
            .map(|bytes| {
                String::from_utf8(bytes).with_context(|| format!("{path} is not UTF-8 text"))
            })
            .transpose()
    }

    /// What is at `path`, or `None` when nothing is.
    pub fn kind(&self, path: &str) -> Result<Option<Kind>> {
        Ok(self.status(path)?.map(|data| {
            let kind = data.file_type();
            if kind.is_symlink() {
                Kind::Symlink
            } else if kind.is_dir() {
                Kind::Folder
            } else if kind.is_file() {
                Kind::File
            } else {
                Kind::Other
            }
        }))
    }

    /// Whether something is at `path`, a dangling link included.
    pub fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.kind(path)?.is_some())
    }

    /// Permission bits, user and group of what is at `path`.
    pub fn owner_and_mode(&self, path: &str) -> Result<Option<(u32, u32, u32)>> {
        Ok(self
            .status(path)?
            .map(|data| (data.mode() & 0o7777, data.uid(), data.gid())))
    }

    /// The names in a folder, sorted; none when there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.resolve(path, true)?) {
            Ok(entries) => entries,
            Err(e) if is_missing(&e) => return Ok(Vec::new()),
            Err(e) => return Err(e).with_context(|| format!("cannot list the folder {path}")),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list the folder {path}"))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The target of a symbolic link as it is written, or `None` when `path` is no link.
    pub fn read_link(&self, path: &str) -> Result<Option<String>> {
        if self.kind(path)? != Some(Kind::Symlink) {
            return Ok(None);
        }
        let target = fs::read_link(self.resolve(path, false)?)
            .with_context(|| format!("cannot read the link {path}"))?;
        Ok(Some(target.to_string_lossy().into_owned()))
    }

    /// Writes a file whole and durably, owned by root (where this process may say so).
    /// A link at `path` is replaced, not followed.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.write_owned(path, content, mode, 0, 0)
    }

    /// As [`Root::write`], for a file that belongs to somebody else, such as `/etc/shadow`.
    pub fn write_owned(
        &self,
        path: &str,
        content: &[u8],
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<()> {
        self.replace(path, content, Some((mode, uid, gid)))
    }

    /// Writes a file whole where mode and owner are not ours to choose: pmxcfs (`/etc/pve`)
    /// refuses both.
    pub fn write_plain(&self, path: &str, content: &[u8]) -> Result<()> {
        self.replace(path, content, None)
    }

    /// Makes a file have this content and mode; returns whether anything was written. What
    /// was written is read back.
    pub fn ensure(&self, path: &str, content: &[u8], mode: u32) -> Result<bool> {
        if self.is_file_like(path, content, mode)? {
            return Ok(false);
        }
        self.write(path, content, mode)?;
        if !self.is_file_like(path, content, mode)? {
            bail!("{path} does not hold what was just written to it");
        }
        Ok(true)
    }

    fn is_file_like(&self, path: &str, content: &[u8], mode: u32) -> Result<bool> {
        Ok(self.kind(path)? == Some(Kind::File)
            && self.read(path)?.as_deref() == Some(content)
            && self
                .owner_and_mode(path)?
                .is_some_and(|(m, uid, _)| m == mode && (uid == 0 || !is_root_user())))
    }

    fn replace(&self, path: &str, content: &[u8], owner: Option<(u32, u32, u32)>) -> Result<()> {
        let (folder, name) = split(path)?;
        self.make_folders(folder)?;
        let target = self.resolve(path, false)?;
        let temporary = unfinished::temporary(&target, name);
        let written = (|| -> std::io::Result<()> {
            remove_if_there(&temporary)?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(&temporary, flags, Mode::from(0o600))?);
            file.write_all(content)?;
            if let Some((mode, uid, gid)) = owner {
                if is_root_user() {
                    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
                }
                file.set_permissions(fs::Permissions::from_mode(mode))?;
            }
            file.sync_all()?;
            fs::rename(&temporary, &target)?;
            sync_folder_of(&target)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.with_context(|| format!("cannot write {path}"))
    }

    /// Makes `path` a symbolic link to `target`; returns whether anything was done. What was
    /// there (but a folder) is replaced at once.
    pub fn symlink(&self, target: &str, path: &str) -> Result<bool> {
        if self.read_link(path)?.as_deref() == Some(target) {
            return Ok(false);
        }
        let (folder, name) = split(path)?;
        self.make_folders(folder)?;
        let link = self.resolve(path, false)?;
        let temporary = unfinished::temporary(&link, name);
        remove_if_there(&temporary)
            .and_then(|()| std::os::unix::fs::symlink(target, &temporary))
            .and_then(|()| fs::rename(&temporary, &link))
            .and_then(|()| sync_folder_of(&link))
            .with_context(|| format!("cannot make {path} a link to {target}"))?;
        Ok(true)
    }

    /// Renames a file or folder durably.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (source, target) = (self.resolve(from, false)?, self.resolve(to, false)?);
        fs::rename(&source, &target)
            .and_then(|()| sync_folder_of(&target))
            .and_then(|()| sync_folder_of(&source))
            .with_context(|| format!("cannot rename {from} to {to}"))
    }

    /// Removes a file or link; returns whether there was one.
    pub fn remove_file(&self, path: &str) -> Result<bool> {
        let target = self.resolve(path, false)?;
        match fs::remove_file(&target) {
            Ok(()) => {
                sync_folder_of(&target)
                    .with_context(|| format!("cannot write the removal of {path} to disk"))?;
                Ok(true)
            }
            Err(e) if is_missing(&e) => Ok(false),
            Err(e) => Err(e).with_context(|| format!("cannot remove {path}")),
        }
    }

    /// Removes a folder with all that is in it, where there is one.
    pub fn remove_folder(&self, path: &str) -> Result<()> {
        match fs::remove_dir_all(self.resolve(path, false)?) {
            Err(e) if !is_missing(&e) => Err(e).with_context(|| format!("cannot remove {path}")),
            _ => Ok(()),
        }
    }

    /// Makes a folder (and its parents) have this mode; returns whether anything was done.
    pub fn ensure_folder(&self, path: &str, mode: u32) -> Result<bool> {
        let made = self.make_folders(path)?;
        let moded = self.ensure_mode(path, mode)?;
        Ok(made || moded)
    }

    /// Gives an existing file or folder this mode; returns whether it had another.
    pub fn ensure_mode(&self, path: &str, mode: u32) -> Result<bool> {
        let target = self.resolve(path, true)?;
        let now = fs::metadata(&target)
            .with_context(|| format!("cannot look at {path}"))?
            .mode()
            & 0o7777;
        if now == mode {
            return Ok(false);
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))
            .and_then(|()| File::open(&target)?.sync_all())
            .with_context(|| format!("cannot set the mode of {path} to {mode:04o}"))?;
        Ok(true)
    }

    /// Flushes a file that another program wrote, and its folder, to disk.
    pub fn sync(&self, path: &str) -> Result<()> {
        let target = self.resolve(path, true)?;
        File::open(&target)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_folder_of(&target))
            .with_context(|| format!("cannot write {path} to disk"))
    }

    fn make_folders(&self, path: &str) -> Result<bool> {
        let target = self.resolve(path, true)?;
        if target.is_dir() {
            return Ok(false);
        }
        let parents: Vec<&Path> = target.ancestors().take_while(|p| !p.exists()).collect();
        for folder in parents.into_iter().rev() {
            // With its mode from the first moment: main gives this process the umask for that.
            fs::DirBuilder::new()
                .mode(0o755)
                .create(folder)
                .and_then(|()| sync_folder_of(folder))
                .with_context(|| format!("cannot make the folder {path}"))?;
        }
        Ok(true)
    }

    fn status(&self, path: &str) -> Result<Option<fs::Metadata>> {
        match fs::symlink_metadata(self.resolve(path, false)?) {
            Ok(data) => Ok(Some(data)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot look at {path}")),
        }
    }

    /// Walks `path` inside the root. An absolute link starts again at the root folder, and
    /// `..` stops there.
    fn resolve(&self, path: &str, follow_last: bool) -> Result<PathBuf> {
        let mut ahead: Vec<PathBuf> = vec![PathBuf::from(path)];
        let mut done: Vec<std::ffi::OsString> = Vec::new();
        let mut links = 0;
        while let Some(rest) = ahead.pop() {
            let mut parts = rest.components();
            let Some(part) = parts.next() else { continue };
            let after = parts.as_path().to_path_buf();
            let last = after.as_os_str().is_empty() && ahead.is_empty();
            if !after.as_os_str().is_empty() {
                ahead.push(after);
            }
            match part {
                Component::Normal(name) => {
                    done.push(name.to_owned());
                    if last && !follow_last {
                        continue;
                    }
                    if let Ok(target) = fs::read_link(self.place(&done)) {
                        links += 1;
                        if links > MAX_LINKS {
                            bail!("cannot follow {path}: too many symbolic links");
                        }
                        done.pop();
                        if target.is_absolute() {
                            done.clear();
                        }
                        ahead.push(target);
                    }
                }
                Component::ParentDir => {
                    done.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(self.place(&done))
    }

    fn place(&self, parts: &[std::ffi::OsString]) -> PathBuf {
        let mut place = self.base.clone();
        place.extend(parts);
        place
    }
}

/// Whether this process may give files away.
fn is_root_user() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if !is_missing(&e) => Err(e),
        _ => Ok(()),
    }
}

fn split(path: &str) -> Result<(&str, &str)> {
    match path.rsplit_once('/') {
        Some((folder, name)) if !name.is_empty() => Ok((folder, name)),
        _ => bail!("{path} is not the path of a file"),
    }
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
