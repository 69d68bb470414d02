//! Locks between runs of firstboot. They end with the process that has them.

use crate::system::root::Root;
use crate::system::wait;
use anyhow::Result;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Takes the lock `file` (below the root), for as long as the result is kept; `None` when another
/// process still has it after `patience`. The error is the kernel's.
pub(crate) fn take(root: &Root, file: &str, patience: Duration) -> Result<Option<OwnedFd>> {
    if let Some(folder) = Path::new(file).parent().and_then(Path::to_str) {
        root.ensure_folder(folder, 0o755)?;
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let lock = rustix::fs::open(root.path(file)?, flags, Mode::from(0o600))?;
    let take = || match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    };
    let taken = wait::until(patience, Duration::from_millis(100), take, |taken| *taken)?;
    Ok(taken.then_some(lock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;

    #[test]
    fn one_has_it_until_it_is_dropped() {
        let (_folder, root) = tree();
        let take = || take(&root, "/run/firstboot/x.lock", Duration::ZERO).unwrap();
        let first = take();
        assert!(first.is_some());
        assert!(take().is_none());
        drop(first);
        assert!(take().is_some());
    }
}
