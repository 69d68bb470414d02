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
        let paused = match machine::is_stopped(pid) {
            true => Some(format!(
                "the process is stopped: kill -CONT {pid} lets it go on"
            )),
            false => paused(folder),
        };
        Some(Running {
            pid,
            since: since.map(|time| time.as_secs()),
            paused,
        })
    }
}

/// QEMU's reason, as its command `query-status` names it (QMP reference, RunState).
fn paused(folder: &Path) -> Option<String> {
    let answer = Control::open(folder).ok()?.execute("query-status").ok()?;
    match answer.get("status")?.as_str()? {
        "running" => None,
        "io-error" => Some(
            "QEMU could not write to a disk of it (is this PC's disk full, or your quota?)".into(),
        ),
        other => Some(other.to_owned()),
    }
}
