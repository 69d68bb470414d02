//! A machine's process, from its start to its end.

use super::accelerator::Accelerator;
use super::control::Control;
use super::state::{Held, held};
use crate::system::interrupt;
use crate::system::program::{self, Command};
use crate::system::tail;
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How long QEMU may take to write its disks after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);
/// How often the power button is pressed again: nobody listens until logind is up.
const POWER_BUTTON: Duration = Duration::from_secs(10);

/// How long whoever holds a machine's lock may take to let go of it.
const LOCK: Duration = Duration::from_secs(2);
/// How much of what run.sh and QEMU said is looked at, in bytes.
const MOST_WORDS: usize = 64 << 10;

/// The process id of the QEMU that runs the VM of this folder. A pid file can be older than
/// the last power cut, so the process behind it is looked at: run.sh does the same.
pub fn running(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("qemu.pid")).ok()?;
    let pid: u32 = text.trim().parse().ok()?;
    if !is_qemu(pid) {
        return None;
    }
    match (
        fs::read_link(format!("/proc/{pid}/cwd")),
        folder.canonicalize(),
    ) {
        (Ok(cwd), Ok(folder)) if cwd != folder => None,
        // Another user's process cannot be looked into; better refuse than start it twice.
        _ => Some(pid),
    }
}

/// Whether a terminal or a signal has stopped it, proc_pid_stat(5).
pub(super) fn is_stopped(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        matches!(state, Some(b'T' | b't'))
    })
}

fn is_qemu(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_live_qemu(&stat))
}

/// "PID (NAME) STATE …", proc_pid_stat(5); the kernel keeps 15 characters of the name. In state Z the
/// first thread has ended, and its parent has not asked how (not every container has a process 1
/// that does). Until the last of the others has ended too, its files are open and its pid file is
/// locked: the number of threads is the 18th word from the state on.
fn is_live_qemu(stat: &str) -> bool {
    let Some((_, rest)) = stat.split_once(" (qemu-system-x86) ") else {
        return false;
    };
    let mut words = rest.split(' ');
    words.next() != Some("Z") || words.nth(16).is_some_and(|threads| threads != "1")
}

/// The lock that run.sh takes and QEMU keeps. Whoever has it begins the machine's logs anew.
fn lock(folder: &Path) -> Result<File> {
    let place = folder.join("run.lock");
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&place)
        .with_context(|| format!("cannot write {}", place.display()))?;
    let until = Instant::now() + LOCK;
    // Not every server of NFS has locks.
    while let Err(Errno::WOULDBLOCK) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if Instant::now() >= until {
            bail!(
                "it is being started already: somebody holds {}, on another PC if that has this folder, too",
                place.display()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(file)
}

/// A started run.sh, which becomes QEMU under the same process id. Dropped without
/// [`Machine::release`], it is ended.
#[derive(Debug)]
pub(crate) struct Machine {
    child: Child,
    folder: PathBuf,
    log: PathBuf,
    /// Where it was chosen here and not by run.sh.
    accelerator: Option<Accelerator>,
    kept: bool,
}

impl Machine {
    /// Starts run.sh of a VM's folder in a session of its own, so that it goes on after this
    /// program and gets no Ctrl-C meant for it. What it and QEMU say goes to `log`.
    pub(crate) fn start(folder: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        // What it says begins anew, and until then it is the log of whoever runs this machine.
        let _lock = lock(folder)?;
        let script = folder.join("run.sh");
        let mut line = program::command("setsid")?;
        line.arg(fs::canonicalize(&script).unwrap_or(script))
            .args(arguments);
        Self::spawn(line, folder, log, None)
    }

    /// Starts a command line that becomes QEMU, whose control socket is in `folder`, with
    /// what it says in `log`. `accelerator` is the one in it, where that is known.
    pub(crate) fn spawn(
        mut line: Command,
        folder: &Path,
        log: &Path,
        accelerator: Option<Accelerator>,
    ) -> Result<Self> {
        let words = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Machine {
            child: program::start(&mut line, &words)?,
            folder: folder.to_owned(),
            log: log.to_owned(),
            accelerator,
            kept: false,
        })
    }

    /// What holds it, where QEMU says so; one that a terminal or a signal has stopped is held, too.
    pub(crate) fn held(&self) -> Option<Held> {
        held(&self.folder, self.pid())
    }

    /// Lets it go on, if what held it is over.
    pub(crate) fn go_on(&self) -> Result<()> {
        Control::open(&self.folder)?.execute("cont").map(drop)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What run.sh and QEMU have said.
    pub(crate) fn words(&self) -> String {
        let bytes = tail::end_of(&self.log, MOST_WORDS);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Which accelerator QEMU was started with; `None` while run.sh is still at work.
    pub(crate) fn accelerator(&self) -> Option<Accelerator> {
        if self.accelerator.is_some() {
            return self.accelerator;
        }
        if !is_qemu(self.pid()) {
            return None;
        }
        let line = fs::read(format!("/proc/{}/cmdline", self.pid())).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        words.find(|word| *word == b"-accel")?;
        let kvm = words.next()?.starts_with(b"kvm");
        Some(if kvm {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        })
    }

    /// Its exit status, once it has ended.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for QEMU")
    }

    /// Ends it like a power cut for the guest; QEMU still writes what the guest has written.
    pub(crate) fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::TERM);
        if !self.wait(GRACE) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }

    /// Leaves it running and returns its process id.
    pub(crate) fn release(mut self) -> u32 {
        self.kept = true;
        self.pid()
    }

    /// Asks the guest to shut down, and takes the power away when it has not done so after
    /// `limit`. Returns whether the guest did it by itself.
    pub(crate) fn shut_down(&mut self, limit: Duration) -> Result<bool> {
        let mut control = Control::open(&self.folder)?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            // The connection ends with QEMU: that is no error here.
            let _ = control.execute("system_powerdown");
            let step = deadline.saturating_duration_since(Instant::now());
            if self.wait(step.min(POWER_BUTTON)) {
                return Ok(true);
            }
            interrupt::check()?;
        }
        let _ = control.execute("quit");
        if !self.wait(GRACE) {
            self.end();
        }
        Ok(false)
    }

    /// Waits until it has ended; false when it has not within `limit`, or on Ctrl-C.
    fn wait(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let was_requested = interrupt::requested();
        loop {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            if Instant::now() >= deadline || (interrupt::requested() && !was_requested) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// In its first moments it does not lead a group of its own yet.
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        if kill_process_group(pid, signal).is_err() {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.kept {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_until_its_last_thread_has_ended() {
        let stat = |state: &str, threads: u32| {
            format!(
                "7 (qemu-system-x86) {state} 1 7 7 0 -1 4194560 9 0 0 0 3 4 0 0 20 0 {threads} 0 5 6\n"
            )
        };
        assert!(is_live_qemu(&stat("S", 3)));
        assert!(is_live_qemu(&stat("S", 1)));
        assert!(is_live_qemu(&stat("Z", 2)));
        assert!(!is_live_qemu(&stat("Z", 1)));
        assert!(!is_live_qemu("7 (passt) S 1 7 7 0 -1 0\n"));
    }

    #[test]
    fn an_old_pid_file_is_no_running_machine() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(running(folder.path()), None);
        for text in [
            "",
            "nonsense",
            "4000000000",
            &std::process::id().to_string(),
        ] {
            fs::write(folder.path().join("qemu.pid"), text).unwrap();
            assert_eq!(running(folder.path()), None, "{text}");
        }
    }
}
