//! QEMU: starting a VM's run.sh, watching over the process, its control socket.

use crate::cli::Accelerator;
use crate::{command, interrupt};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The file in which the kernel has a number of its own for each boot of the PC.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How many boots the no-kvm file remembers. Home folders are shared by many PCs.
const REMEMBERED_BOOTS: usize = 1000;
/// How long QEMU may take to write its disks after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);
/// How often the power button is pressed again: nobody listens until logind is up.
const POWER_BUTTON: Duration = Duration::from_secs(10);
/// How long QEMU may take to answer on its control socket.
const ANSWER: Duration = Duration::from_secs(5);

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

fn is_qemu(pid: u32) -> bool {
    // "PID (NAME) STATE …", proc_pid_stat(5). The kernel keeps 15 characters of the name. In state
    // Z it has ended, but its parent has not asked how; not every container has a process 1 that does.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.split_once(" (qemu-system-x86) ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

/// A started run.sh, which becomes QEMU under the same process id. Dropped without
/// [`Machine::release`], it is ended.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    folder: PathBuf,
    log: PathBuf,
    kept: bool,
}

impl Machine {
    /// Starts run.sh of a VM's folder in a session of its own, so that it goes on after this
    /// program and gets no Ctrl-C meant for it. What it and QEMU say goes to `log`.
    pub fn start(folder: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        // An old console or status would be taken for the new one's.
        for name in ["console.log", "status.jsonl"] {
            let file = folder.join(name);
            match fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| format!("cannot remove {}", file.display()));
                }
                _ => {}
            }
        }
        let words = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let script = folder.join("run.sh");
        let mut line = Command::new(command::find("setsid")?);
        line.arg(fs::canonicalize(&script).unwrap_or(script))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(clone(&words, log)?)
            .stderr(words);
        let child = line
            .spawn()
            .with_context(|| format!("cannot start: {}", command::shown(&line)))?;
        Ok(Machine {
            child,
            folder: folder.to_owned(),
            log: log.to_owned(),
            kept: false,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What run.sh and QEMU have said.
    pub fn words(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Which accelerator QEMU was started with; `None` while run.sh is still at work.
    pub fn accelerator(&self) -> Option<Accelerator> {
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
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for QEMU")
    }

    /// Ends it like a power cut for the guest; QEMU still writes what the guest has written.
    pub fn end(&mut self) {
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
    pub fn release(mut self) -> u32 {
        self.kept = true;
        self.pid()
    }

    /// Asks the guest to shut down, and takes the power away when it has not done so after
    /// `limit`. Returns whether the guest did it by itself.
    pub fn shut_down(&mut self, limit: Duration) -> Result<bool> {
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

fn clone(file: &File, path: &Path) -> Result<File> {
    file.try_clone()
        .with_context(|| format!("cannot write {}", path.display()))
}

/// QEMU's control socket (QMP).
struct Control {
    reader: BufReader<UnixStream>,
}

impl Control {
    fn open(folder: &Path) -> Result<Self> {
        let place = folder.join("qmp.sock");
        let connect = || -> std::io::Result<UnixStream> {
            // A socket's path may have 108 bytes; this way the folder's length does not matter.
            let opened = File::open(folder)?;
            let stream =
                UnixStream::connect(format!("/proc/self/fd/{}/qmp.sock", opened.as_raw_fd()))?;
            stream.set_read_timeout(Some(ANSWER))?;
            Ok(stream)
        };
        let stream = connect()
            .with_context(|| format!("cannot reach QEMU's control socket {}", place.display()))?;
        let mut control = Control {
            reader: BufReader::new(stream),
        };
        control.line().context("QEMU did not greet")?;
        control.execute("qmp_capabilities")?;
        Ok(control)
    }

    fn execute(&mut self, name: &str) -> Result<()> {
        let order = json!({ "execute": name });
        writeln!(self.reader.get_mut(), "{order}")
            .with_context(|| format!("cannot tell QEMU: {name}"))?;
        loop {
            let answer = self
                .line()
                .with_context(|| format!("no answer from QEMU to: {name}"))?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {name}: {error}");
            }
            // Events come in between.
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut text = String::new();
        if self.reader.read_line(&mut text)? == 0 {
            bail!("the connection was closed");
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// The file with the boots of PCs on which KVM ran no guest; run.sh reads it.
pub fn no_kvm_file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = match set("XDG_STATE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(set("HOME")?).join(".local/state"),
    };
    Some(state.join("imgbuild/no-kvm"))
}

/// Remembers until the next boot of this PC that KVM runs no guest.
pub fn remember_no_kvm(file: &Path) -> Result<()> {
    let remember = || -> std::io::Result<()> {
        let boot = fs::read_to_string(BOOT_ID)?;
        let known = fs::read_to_string(file).unwrap_or_default();
        let mut lines: Vec<&str> = known.lines().collect();
        lines.push(boot.trim());
        let from = lines.len().saturating_sub(REMEMBERED_BOOTS);
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = file.with_extension(format!("new.{}", std::process::id()));
        let mut out = File::create(&new)?;
        writeln!(out, "{}", lines[from..].join("\n"))?;
        out.sync_all()?;
        fs::rename(&new, file)?;
        File::open(folder)?.sync_all()
    };
    remember().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn boots_without_kvm_are_added_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/imgbuild/no-kvm");
        remember_no_kvm(&file).unwrap();
        let boot = fs::read_to_string(BOOT_ID).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), boot);
        let many = "other\n".repeat(REMEMBERED_BOOTS);
        fs::write(&file, many).unwrap();
        remember_no_kvm(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), REMEMBERED_BOOTS);
        assert_eq!(text.lines().last(), Some(boot.trim()));
    }

    #[test]
    fn speaks_with_the_control_socket() {
        // Longer than a socket's path may be.
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let opened = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/qmp.sock", opened.as_raw_fd());
        let listener = std::os::unix::net::UnixListener::bind(short).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut heard = Vec::new();
            writeln!(reader.get_mut(), r#"{{"QMP": {{}}}}"#).unwrap();
            for answer in [
                r#"{"return": {}}"#,
                "{\"event\": \"POWERDOWN\"}\n{\"return\": {}}",
                r#"{"error": {"class": "x"}}"#,
            ] {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                heard.push(line.trim().to_owned());
                writeln!(reader.get_mut(), "{answer}").unwrap();
            }
            heard
        });
        let mut control = Control::open(&deep).unwrap();
        control.execute("system_powerdown").unwrap();
        assert_eq!(
            control.execute("quit").unwrap_err().to_string(),
            r#"QEMU refuses quit: {"class":"x"}"#
        );
        assert_eq!(
            server.join().unwrap(),
            [
                r#"{"execute":"qmp_capabilities"}"#,
                r#"{"execute":"system_powerdown"}"#,
                r#"{"execute":"quit"}"#
            ]
        );
    }
}
