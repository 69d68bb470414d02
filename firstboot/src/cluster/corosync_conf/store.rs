//! The cluster's `corosync.conf`, changed the way Proxmox changes it.
//!
//! Proxmox's own changes (`pvecm add` at the peer, `pvecm delnode`) hold pmxcfs's lock
//! `file-corosync_conf` (PVE::Cluster::cfs_lock_file): a folder below `/etc/pve/priv/lock` that
//! whoever makes it owns. The folder is older than 120 s when its owner died; setting its time
//! to 0 asks pmxcfs to remove such a one (pve-cluster, README, "File Locking"). The new text goes
//! into `corosync.conf.new`, and its rename makes pmxcfs write `/etc/corosync/corosync.conf` on
//! each node and tell corosync.

use crate::cluster::corosync_conf;
use crate::cluster::pmxcfs::short_pause;
use crate::step::RetryLater;
use crate::system::root::Root;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// The cluster's own file.
pub(crate) const FILE: &str = "/etc/pve/corosync.conf";
const NEW: &str = "/etc/pve/corosync.conf.new";
const LOCKS: &str = "/etc/pve/priv/lock";
const LOCK: &str = "/etc/pve/priv/lock/file-corosync_conf";
/// How old a new text is when nobody is at work on it any more: an admin, or a node that was switched
/// off in the moment between making and renaming it.
const EDITED: Duration = Duration::from_secs(180);
/// How long the lock is asked for, as Proxmox does.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long it may be held, as Proxmox does: half of its life.
const LOCK_HELD: Duration = Duration::from_secs(60);

/// How often the file is looked for: a rename over it is not atomic for readers, who see none for a
/// moment (seen).
const LOOKS: usize = 4;
/// The pause between two looks.
const GAP: Duration = Duration::from_millis(150);

/// Whether the cluster's file is there and can be read as one. A power cut soon after a join leaves an
/// empty one.
pub(crate) fn is_usable(root: &Root) -> bool {
    (0..LOOKS).any(|look| {
        if look > 0 {
            std::thread::sleep(GAP);
        }
        let text = root.read_text(FILE).ok().flatten();
        text.is_some_and(|text| corosync_conf::parse(&text).is_ok())
    })
}

/// Where `corosync.conf` is kept. Each method is one moment at which others may act.
pub(crate) trait Store {
    /// The text; `None` outside a cluster.
    fn read(&self) -> Result<Option<String>>;
    /// Takes the lock; `false` when somebody else has it for long.
    fn lock(&self) -> Result<bool>;
    fn unlock(&self) -> Result<()>;
    /// Lays the new text beside the old one.
    fn prepare(&self, new: &str) -> Result<()>;
    /// Puts what was prepared in the place of `old`; `false` when that is no longer there.
    fn activate(&self, old: &str) -> Result<bool>;
    /// Waits a moment before the next try.
    fn pause(&self);
}

/// The real one.
pub(crate) struct Pmxcfs<'a> {
    root: &'a Root,
    since: Cell<Option<Instant>>,
}

impl<'a> Pmxcfs<'a> {
    /// The one below this root.
    pub(crate) fn new(root: &'a Root) -> Self {
        Pmxcfs {
            root,
            since: Cell::new(None),
        }
    }

    /// Whether the lock is surely still ours.
    fn is_ours(&self) -> bool {
        self.since.get().is_some_and(|t| t.elapsed() < LOCK_HELD)
    }
}

impl Store for Pmxcfs<'_> {
    fn read(&self) -> Result<Option<String>> {
        self.root.read_text(FILE)
    }

    fn lock(&self) -> Result<bool> {
        let folder = self.root.path(LOCKS)?;
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make the folder {LOCKS}"));
            }
            _ => {}
        }
        let lock = self.root.path(LOCK)?;
        let start = Instant::now();
        loop {
            match fs::create_dir(&lock) {
                Ok(()) => {
                    self.since.set(Some(Instant::now()));
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {LOCK}")),
            }
            if start.elapsed() > LOCK_WAIT {
                return Ok(false);
            }
            let zero = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let times = Timestamps {
                last_access: zero,
                last_modification: zero,
            };
            // A request, refused while the lock is young.
            let _ = rustix::fs::utimensat(CWD, &lock, &times, AtFlags::empty());
            short_pause();
        }
    }

    fn unlock(&self) -> Result<()> {
        if !self.is_ours() {
            // It expires by itself, and may already be somebody else's.
            return Ok(());
        }
        self.since.set(None);
        fs::remove_dir(self.root.path(LOCK)?).with_context(|| format!("cannot remove {LOCK}"))
    }

    fn prepare(&self, new: &str) -> Result<()> {
        // Proxmox's manual has admins edit the file under this very name.
        let there = self
            .root
            .path(NEW)
            .ok()
            .and_then(|path| fs::metadata(path).ok());
        let age = there.and_then(|there| there.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age < EDITED) {
            return Err(
                RetryLater::because(format!("{NEW} is there: somebody is changing it")).into(),
            );
        }
        self.root.write_plain(NEW, new.as_bytes())
    }

    fn activate(&self, old: &str) -> Result<bool> {
        if self.is_ours() && self.read()?.as_deref() == Some(old) {
            self.root.rename(NEW, FILE)?;
            return Ok(true);
        }
        self.root.remove_file(NEW)?;
        Ok(false)
    }

    fn pause(&self) {
        short_pause();
    }
}
