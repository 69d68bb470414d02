//! The folder that downloads are kept in.

use crate::system::interrupt;
use crate::system::ui::Report;
use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock is tried.
const POLL: Duration = Duration::from_millis(100);

/// `$XDG_CACHE_HOME/imgbuild`, else `~/.cache/imgbuild` (XDG Base Directory Specification: a
/// relative path counts as none).
pub fn default_folder() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    choose_folder(variable("XDG_CACHE_HOME"), variable("HOME"))
}

fn choose_folder(cache: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    if let Some(cache) = cache.filter(absolute) {
        return Ok(cache.join("imgbuild"));
    }
    match home.filter(absolute) {
        Some(home) => Ok(home.join(".cache/imgbuild")),
        None => bail!(
            "there is no place for downloads: neither XDG_CACHE_HOME nor HOME names a folder; \
             set one of them"
        ),
    }
}

/// The cache, with nobody else at work in it until this is dropped.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    _lock: File,
}

impl Cache {
    /// Makes the folder and waits until no other process writes in it.
    pub fn open(folder: &Path, report: &Report) -> Result<Self> {
        let shown = folder.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the cache folder {shown}"))?;
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(".lock"))
            .with_context(|| format!("cannot write into the cache folder {shown}"))?;
        let mut waiting = None;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    waiting.get_or_insert_with(|| report.stage("wait for another imgbuild"));
                    interrupt::check()?;
                    std::thread::sleep(POLL);
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot lock the cache folder {shown}"));
                }
            }
        }
        if let Some(stage) = waiting {
            stage.done("it was downloading");
        }
        Ok(Cache {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// A file in the cache.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_where_the_specification_says() {
        let choose = |cache: Option<&str>, home: Option<&str>| {
            choose_folder(cache.map(PathBuf::from), home.map(PathBuf::from))
        };
        let is = |folder: Result<PathBuf>, expected: &str| {
            assert_eq!(folder.unwrap(), Path::new(expected));
        };
        is(choose(Some("/c"), Some("/home/x")), "/c/imgbuild");
        is(choose(None, Some("/home/x")), "/home/x/.cache/imgbuild");
        is(choose(Some(""), Some("/home/x")), "/home/x/.cache/imgbuild");
        is(
            choose(Some("c"), Some("/home/x")),
            "/home/x/.cache/imgbuild",
        );
        assert!(choose(Some("c"), None).is_err());
    }

    #[test]
    fn those_that_download_do_so_one_after_the_other() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = Cache::open(&folder, &Report::new(true)).unwrap();
                    // Fails when another is inside.
                    let file = cache.file("alone");
                    File::create_new(&file).unwrap();
                    std::thread::yield_now();
                    std::fs::remove_file(&file).unwrap();
                });
            }
        });
        use std::os::unix::fs::PermissionsExt;
        for made in [&folder, &parent.path().join("a")] {
            let mode = std::fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}
