//! The folder that downloads are kept in.

use crate::system::files::private_folder;
use crate::system::interrupt;
use crate::system::ui::Ui;
use anyhow::{Context, Result};
use rustix::fs::FlockOperation;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock is tried.
const POLL: Duration = Duration::from_millis(100);

/// The cache, with nobody else at work in it until this is dropped.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    _lock: File,
}

impl Cache {
    /// Makes the folder and waits until no other process writes in it.
    pub(crate) fn open(folder: &Path, ui: &Ui) -> Result<Self> {
        let shown = folder.display();
        private_folder(folder)?;
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
                    waiting.get_or_insert_with(|| ui.stage("wait for another imgbuild"));
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
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_download_do_so_one_after_the_other() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = Cache::open(&folder, &Ui::new(true)).unwrap();
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
