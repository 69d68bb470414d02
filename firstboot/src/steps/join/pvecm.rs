//! Running `pvecm add`: the password on standard input, each line passed on, a time limit.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long pvecm may take to clean up after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);
/// How long output is waited for once pvecm itself has ended.
const LINGER: Duration = Duration::from_secs(2);

/// One `pvecm add`.
pub struct Add<'a> {
    /// The program; `pvecm`, but for tests.
    pub program: &'a str,
    /// Where it runs; never below `/etc/pve`.
    pub folder: &'a Path,
    /// What follows the program's name.
    pub args: &'a [String],
    /// The cluster's root password.
    pub password: &'a str,
    /// When it is ended from outside.
    pub limit: Duration,
}

impl Add<'_> {
    /// Runs it to its end and returns all that it printed, both streams in their order. Each
    /// line goes to `each` as well. The password is in neither.
    pub fn run(&self, each: &dyn Fn(&str)) -> Result<String> {
        let line = format!("{} {}", self.program, self.args.join(" "));
        let started = || format!("cannot start: {line}");
        // One pipe for both streams: what comes last decides.
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(std::io::Error::from)
            .with_context(started)?;
        let mut command = Command::new(self.program);
        command
            .args(self.args)
            .env("LC_ALL", "C")
            .current_dir(self.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(write.try_clone().with_context(started)?)
            .stderr(write);
        let mut child = command.spawn().with_context(started)?;
        // Its copies of the writing end would keep the pipe open.
        drop(command);
        if let Some(mut stdin) = child.stdin.take() {
            // A pvecm that ends before it asks is judged by what it says.
            let _ = stdin.write_all(format!("{}\n", self.password).as_bytes());
        }
        let lines = read_lines(File::from(read));
        let deadline = Instant::now() + self.limit;
        let mut ended: Option<Instant> = None;
        let mut output = String::new();
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
            if ended.is_none() && Instant::now() > deadline {
                each(&format!(
                    "no end after {} s, ending it",
                    self.limit.as_secs()
                ));
                end_group(&mut child);
                ended = Some(Instant::now());
            }
        }
        child
            .wait()
            .with_context(|| format!("cannot wait for: {line}"))?;
        Ok(output)
    }

    fn without_password(&self, text: String) -> String {
        match self.password {
            "" => text,
            password => text.replace(password, "(password)"),
        }
    }
}

/// SIGTERM to the whole group, then SIGKILL: pvecm's worker outlives a killed parent.
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
        let add = Add {
            program: "sh",
            folder: folder.path(),
            args: &["-c".to_owned(), script.to_owned()],
            password: "example-secret",
            limit,
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
    fn a_program_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let add = Add {
            program: "no-such-pvecm",
            folder: folder.path(),
            args: &["add".to_owned()],
            password: "x",
            limit: Duration::from_secs(1),
        };
        let error = add.run(&|_| {}).unwrap_err();
        assert_eq!(error.to_string(), "cannot start: no-such-pvecm add");
    }
}
