//! What a machine does that was started before, by whatever started it.

use super::control::Control;
use super::machine;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A machine's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub pid: u32,
    /// When it was started, in seconds since 1970.
    pub since: Option<u64>,
    /// Why it does not go on, in words, where that is so.
    pub paused: Option<String>,
}

impl Running {
    /// The QEMU that runs the VM of this folder, asked how it is. One that gives no answer counts as
    /// one that goes on.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let pid = machine::running(folder)?;
        let written = fs::metadata(folder.join("qemu.pid")).and_then(|found| found.modified());
        let since = written
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let paused = held(folder, pid).map(|held| held.words(pid));
        Some(Running {
            pid,
            since: since.map(|time| time.as_secs()),
            paused,
        })
    }
}

/// What keeps a machine from going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// A terminal or a signal has stopped its process.
    Stopped,
    /// This PC could not read or write one of its disks.
    Disk,
    /// QEMU's word for it, as its command `query-status` names it (QMP reference, RunState).
    Other(String),
}

impl Held {
    /// Whether it can go on afterwards.
    pub(super) fn may_end(&self) -> bool {
        match self {
            Held::Stopped | Held::Disk => true,
            Held::Other(word) => matches!(&**word, "paused" | "prelaunch" | "suspended"),
        }
    }

    /// Why the machine of this process does not go on.
    pub(crate) fn words(&self, pid: u32) -> String {
        match self {
            Held::Stopped => format!("the process is stopped: kill -CONT {pid} lets it go on"),
            Held::Disk => {
                "QEMU could not write to a disk of it (is this PC's disk full, or your quota?)"
                    .into()
            }
            Held::Other(word) => word.clone(),
        }
    }
}

/// Whether QEMU holds the machine in this folder because this PC could not read or write one of its disks.
pub(crate) fn held_by_its_disk(folder: &Path) -> bool {
    word(folder).is_some_and(|word| word == "io-error")
}

/// How QEMU says that the machine is; `None` where it does not listen yet, or has ended. It listens to one
/// at a time, so nobody stays connected.
fn word(folder: &Path) -> Option<String> {
    let answer = Control::open(folder).ok()?.execute("query-status").ok()?;
    answer.get("status")?.as_str().map(str::to_owned)
}

/// Asked of the machine in this folder.
pub(super) fn held(folder: &Path, pid: u32) -> Option<Held> {
    if machine::is_stopped(pid) {
        return Some(Held::Stopped);
    }
    match &*word(folder)? {
        "running" => None,
        "io-error" => Some(Held::Disk),
        other => Some(Held::Other(other.to_owned())),
    }
}
