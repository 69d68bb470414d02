//! Temporary folders, which go away by themselves.

use crate::system::interrupt;
use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file in a work folder that its process has locked.
const LOCK: &str = ".lock";
/// How often a lock is tried.
const POLL: Duration = Duration::from_millis(50);

/// What to do while another process has the work folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Wait: the other one is done in a moment.
    Wait,
    /// Fail: the other one takes minutes.
    Refuse,
}

/// A temporary folder that is removed with everything in it when the guard is dropped.
///
/// It lies in a folder with one name per purpose, which has a lock that ends with its process,
/// whichever way that ends. So two processes never work at the same results, and what a killed
/// one left behind is removed by the next. The work folder itself has a name of its own: a
/// program that outlives a killed process does not find the next one's.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    outer: PathBuf,
    path: PathBuf,
    keep: Option<PathBuf>,
    _lock: File,
}

impl WorkFolder {
    /// Makes `.NAME/PID` in `parent` with mode 0700, so that results can be renamed into
    /// `parent` without leaving its file system.
    pub(crate) fn new(parent: &Path, name: &str, busy: Busy) -> Result<Self> {
        let outer = parent.join(format!(".{name}"));
        loop {
            make(&outer, true)?;
            let attempt = lock(&outer)
                .with_context(|| format!("cannot lock the work folder {}", outer.display()))?;
            match attempt {
                Attempt::Mine(lock) => return Self::begin(outer, lock),
                Attempt::Gone => {}
                Attempt::Taken => {
                    interrupt::check()?;
                    if busy == Busy::Refuse {
                        bail!(
                            "another imgbuild is at work in {}: wait for its end, or choose \
                             another folder",
                            outer.display()
                        );
                    }
                    std::thread::sleep(POLL);
                }
            }
        }
    }

    fn begin(outer: PathBuf, lock: File) -> Result<Self> {
        // Before anything can fail: dropped, it removes what there is.
        let folder = WorkFolder {
            path: outer.join(std::process::id().to_string()),
            outer,
            keep: None,
            _lock: lock,
        };
        folder.empty().with_context(|| {
            format!(
                "cannot remove what an earlier run left in {}",
                folder.outer.display()
            )
        })?;
        make(&folder.path, false)?;
        Ok(folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it beyond the end of this process, and returns the name that it gets then.
    pub(crate) fn keep(&mut self) -> &Path {
        let mut name = self.outer.clone().into_os_string();
        name.push(format!(".kept.{}", std::process::id()));
        self.keep.insert(name.into())
    }

    /// Removes everything but the lock.
    fn empty(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.outer)? {
            let entry = entry?;
            if entry.file_name() == LOCK {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Some(kept) = &self.keep {
            let _ = fs::rename(&self.path, kept);
        }
        // The lock goes last, and the folder only when it is empty: from then on it is the next
        // one's, which may have made its own lock already.
        let _ = self.empty();
        let _ = fs::remove_file(self.outer.join(LOCK));
        let _ = fs::remove_dir(&self.outer);
    }
}

fn make(folder: &Path, or_is_there: bool) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && or_is_there => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            let file = folder.parent().unwrap_or(folder);
            bail!(
                "{} is no folder, and what is made goes into one: name a folder, or move the file out of \
                 the way",
                file.display()
            )
        }
        made => made.with_context(|| format!("cannot make the work folder {}", folder.display())),
    }
}

/// How trying a lock ended.
enum Attempt {
    Mine(File),
    /// Another process has it.
    Taken,
    /// The folder was removed meanwhile, by the one that had it.
    Gone,
}

fn lock(folder: &Path) -> std::io::Result<Attempt> {
    let place = folder.join(LOCK);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&place);
    let file = match file {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Attempt::Gone),
        other => other?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Attempt::Taken),
        Err(e) => return Err(e.into()),
    }
    // The lock of a file that is no longer there protects nothing.
    let mine = file.metadata()?;
    let same = fs::symlink_metadata(&place)
        .is_ok_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino()));
    Ok(match same {
        true => Attempt::Mine(file),
        false => Attempt::Gone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(".work");
        fs::create_dir_all(path.join("root/etc")).unwrap();
        fs::write(path.join("root/etc/shadow"), "x").unwrap();
        fs::write(path.join("base.raw"), "x").unwrap();
        fs::write(path.join(LOCK), "").unwrap();
        let work = WorkFolder::new(parent.path(), "work", Busy::Refuse).unwrap();
        let names: Vec<_> = fs::read_dir(work.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert!(names.is_empty(), "{names:?}");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
        drop(work);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_second_one_is_refused_and_changes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let first = WorkFolder::new(parent.path(), "work", Busy::Refuse).unwrap();
        fs::write(first.path().join("half"), "made").unwrap();
        let error = WorkFolder::new(parent.path(), "work", Busy::Refuse).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "another imgbuild is at work in {}: wait for its end, or choose another folder",
                parent.path().join(".work").display()
            )
        );
        assert!(first.path().join("half").exists());
        WorkFolder::new(parent.path(), "other", Busy::Refuse).unwrap();
    }

    #[test]
    fn those_that_wait_work_one_after_the_other() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let work = WorkFolder::new(parent.path(), "work", Busy::Wait).unwrap();
                    // Fails when another is inside.
                    let file = work.path().join("alone");
                    File::create_new(&file).unwrap();
                    std::thread::yield_now();
                    fs::remove_file(&file).unwrap();
                });
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_kept_one_gets_another_name() {
        let parent = tempfile::tempdir().unwrap();
        let mut work = WorkFolder::new(parent.path(), "work", Busy::Refuse).unwrap();
        fs::write(work.path().join("log"), "words").unwrap();
        let kept = work.keep().to_owned();
        drop(work);
        assert_eq!(fs::read_to_string(kept.join("log")).unwrap(), "words");
        WorkFolder::new(parent.path(), "work", Busy::Refuse).unwrap();
        assert!(kept.exists() && !kept.join(LOCK).exists());
    }
}
