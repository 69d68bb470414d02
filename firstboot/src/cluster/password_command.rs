//! Running a program that wants the cluster's password (`pvecm add`, the API client): it goes in
//! by standard input, each line is passed on, and there is a time limit.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long the program may take to clean up after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);
/// How long output is waited for once the program itself has ended.
const LINGER: Duration = Duration::from_secs(2);

/// The variable that tells the processes of a run from all others.
const MARK: &str = "FIRSTBOOT_RUN";
/// How often there is something to do in between.
pub const MEANWHILE: Duration = Duration::from_secs(3);

/// One run of such a program.
pub struct PasswordCommand<'a> {
    pub program: &'a str,
    /// Where it runs; never below `/etc/pve`.
    pub folder: &'a Path,
    /// What follows the program's name.
    pub args: &'a [String],
    /// The cluster's root password, or a ticket in its place.
    pub password: &'a str,
    /// When it is ended from outside.
    pub limit: Duration,
    /// Called every few seconds, in between: the reason why it is to be ended at once, if there is one.
    pub meanwhile: &'a dyn Fn() -> Option<String>,
}

impl PasswordCommand<'_> {
    /// Runs it to its end and returns all that it printed, both streams in their order. Each
    /// line goes to `each` as well. The password is in neither.
    pub fn run(&self, each: &dyn Fn(&str)) -> Result<String> {
        let mark = mark();
        let line = self.display_safe();
        let started = || format!("cannot start: {line}");
        // One pipe for both streams: what comes last decides.
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(std::io::Error::from)
            .with_context(started)?;
        let mut command = Command::new(self.program);
        command
            .args(self.args)
            .env("LC_ALL", "C")
            .env(MARK, &mark)
            .current_dir(self.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(write.try_clone().with_context(started)?)
            .stderr(write);
        let mut child = command.spawn().with_context(started)?;
        // Its copies of the writing end would keep the pipe open.
        drop(command);
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends before it asks is judged by what it says.
            let _ = stdin.write_all(format!("{}\n", self.password).as_bytes());
        }
        let lines = read_lines(File::from(read));
        let deadline = Instant::now() + self.limit;
        let mut ended: Option<Instant> = None;
        let mut output = String::new();
        let mut looked = Instant::now();
        loop {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(text) => {
                    let text = self.without_password(text);
                    each(&text);
                    output.push_str(&text);
                    output.push('\n');
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if ended.is_none() && matches!(child.try_wait(), Ok(Some(_))) {
                ended = Some(Instant::now());
            }
            if ended.is_some_and(|at| at.elapsed() > LINGER) {
                break;
            }
            if ended.is_some() {
                continue;
            }
            let mut why = None;
            if Instant::now() > deadline {
                why = Some(format!("it did not end within {} s", self.limit.as_secs()));
            } else if looked.elapsed() > MEANWHILE {
                looked = Instant::now();
                why = (self.meanwhile)();
            }
            if let Some(why) = why {
                each(&format!("{why}: ending it"));
                end_group(&mut child);
                ended = Some(Instant::now());
            }
        }
        child
            .wait()
            .with_context(|| format!("cannot wait for: {line}"))?;
        // A worker that was left behind would go on with a join that is judged already.
        end_marked(&format!("{MARK}={mark}"));
        Ok(output)
    }

    /// The command line for messages; a program text in it is left out.
    fn display_safe(&self) -> String {
        let words = self.args.iter().map(|word| match word.contains('\n') {
            true => "…",
            false => word.as_str(),
        });
        std::iter::once(self.program)
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn without_password(&self, text: String) -> String {
        match self.password {
            "" => text,
            password => text.replace(password, "(password)"),
        }
    }
}

/// SIGTERM to the whole group, which pvecm hands on to its worker, then SIGKILL. The worker is
/// in a session of its own and would go on after that, so it is ended, too.
fn end_group(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = kill_process_group(group, Signal::KILL);
}

/// What the environment of a program and of everything that it starts holds.
fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // The dot at the end: 1.2. is not the beginning of 1.23.
    format!("{}.{count}.", std::process::id())
}

/// Ends what an earlier firstboot that was killed left running. Only one second stage is at work
/// at a time, so nothing of this one is among it before it has started anything.
pub fn end_leftovers() {
    end_marked(&format!("{MARK}="));
}

/// Ends every process with this text at the beginning of an entry of its environment.
fn end_marked(entry: &str) {
    use rustix::process::{Pid, Signal, kill_process};
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let number = process.file_name().to_str().and_then(|n| n.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            continue;
        };
        // Those of other users cannot be read, and are none of ours.
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let mut entries = environment.split(|byte| *byte == 0);
        if entries.any(|found| found.starts_with(entry.as_bytes())) {
            let _ = kill_process(pid, Signal::KILL);
            // Its environment is empty from the moment in which it no longer runs.
            let deadline = Instant::now() + LINGER;
            let environ = process.path().join("environ");
            while Instant::now() < deadline && std::fs::read(&environ).is_ok_and(|e| !e.is_empty())
            {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn read_lines(stream: File) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if send.send(text).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn run(script: &str, limit: Duration) -> (String, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let seen = RefCell::new(Vec::new());
        let add = PasswordCommand {
            program: "sh",
            folder: folder.path(),
            args: &["-c".to_owned(), script.to_owned()],
            password: "example-secret",
            limit,
            meanwhile: &|| None,
        };
        let output = add
            .run(&|line| seen.borrow_mut().push(line.to_owned()))
            .unwrap();
        (output, seen.into_inner())
    }

    #[test]
    fn one_password_line_on_stdin_and_never_in_the_output() {
        let script = "read p; echo \"got $p\"; read q || echo end of input >&2";
        let (output, seen) = run(script, Duration::from_secs(60));
        assert_eq!(output, "got (password)\nend of input\n");
        assert_eq!(seen, ["got (password)", "end of input"]);
    }

    #[test]
    fn both_streams_keep_their_order() {
        let script = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done";
        let (output, _) = run(script, Duration::from_secs(60));
        let expected: String = (1..=5).map(|i| format!("out {i}\nerr {i}\n")).collect();
        assert_eq!(output, expected);
    }

    #[test]
    fn a_hanging_one_is_ended_with_its_children() {
        let script = "trap 'echo received interrupt; exit 0' TERM; \
                      printf 'waiting for quorum...'; sleep 60 & wait";
        let (output, _) = run(script, Duration::from_secs(2));
        assert!(output.ends_with("waiting for quorum...received interrupt\n"));
    }

    #[test]
    fn one_that_is_to_be_aborted_is_ended_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let seen = RefCell::new(Vec::new());
        let command = PasswordCommand {
            program: "sh",
            folder: folder.path(),
            args: &[
                "-c".to_owned(),
                "printf 'waiting for quorum...'; exec sleep 600".to_owned(),
            ],
            password: "x",
            limit: Duration::from_secs(600),
            meanwhile: &|| Some("corosync has stopped".to_owned()),
        };
        let output = command
            .run(&|line| seen.borrow_mut().push(line.to_owned()))
            .unwrap();
        assert_eq!(output, "waiting for quorum...\n");
        assert_eq!(
            seen.into_inner(),
            ["corosync has stopped: ending it", "waiting for quorum..."]
        );
    }

    /// Whether a process is there and does not merely wait to be asked how it ended.
    fn is_alive(process: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.trim()));
        stat.is_ok_and(|text| !text.contains(") Z "))
    }

    #[test]
    fn a_worker_with_a_session_of_its_own_does_not_outlive_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let script = "setsid sh -c 'echo $$ > worker; exec sleep 600' </dev/null >/dev/null 2>&1 & \
                      while [ ! -s worker ]; do sleep 0.1; done; kill -9 $$";
        let command = PasswordCommand {
            program: "sh",
            folder: folder.path(),
            args: &["-c".to_owned(), script.to_owned()],
            password: "x",
            limit: Duration::from_secs(60),
            meanwhile: &|| None,
        };
        command.run(&|_| {}).unwrap();
        let worker = std::fs::read_to_string(folder.path().join("worker")).unwrap();
        assert!(!is_alive(&worker), "{worker}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let add = PasswordCommand {
            program: "no-such-pvecm",
            folder: folder.path(),
            args: &["add".to_owned()],
            password: "x",
            limit: Duration::from_secs(1),
            meanwhile: &|| None,
        };
        let error = add.run(&|_| {}).unwrap_err();
        assert_eq!(error.to_string(), "cannot start: no-such-pvecm add");
    }
}
