//! Running a program: its full command line and its own words in the error.

use super::Root;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A program that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// What it printed on standard output.
    pub output: String,
    /// What it printed on standard error.
    pub errors: String,
}

impl Ended {
    /// The last line that says something, of its errors or else of its output: what most programs
    /// put the reason in. Empty when it said nothing.
    pub fn last_words(&self) -> &str {
        let errors = self.errors.lines().map(str::trim);
        let output = self.output.lines().map(str::trim);
        let said = |line: &&str| !line.is_empty();
        errors
            .rev()
            .find(said)
            .or_else(|| output.rev().find(said))
            .unwrap_or_default()
    }
}

impl Root {
    /// Runs a program of this process's system to its end and returns what it printed on
    /// standard output. `stdin` is for secrets, which have no place on a command line; the
    /// error shows the command line and what the program said.
    pub fn run(&self, program: &str, args: &[impl AsRef<OsStr>], stdin: &[u8]) -> Result<String> {
        let (mut command, line) = command(program, args);
        self.others_wrote.store(true, Ordering::Relaxed);
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start: {line}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            // A program that never reads its input is judged by its exit status below.
            let _ = pipe.write_all(stdin);
        }
        let output = child
            .wait_with_output()
            .with_context(|| format!("cannot wait for: {line}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let also = String::from_utf8_lossy(&output.stdout);
            bail!(
                "a program failed ({}): {line}\n{}",
                output.status,
                format!("{also}{said}").trim_end()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a program that answers by its standard output, whatever its exit code: `systemctl
    /// is-active` and its like. Fails only when it cannot be started.
    pub fn query(&self, program: &str, args: &[&str]) -> Result<String> {
        let (mut command, line) = command(program, args);
        let output = command
            .output()
            .with_context(|| format!("cannot start: {line}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Has systemd do something, and waits until it is done. The error shows the command line and what
    /// systemctl said.
    pub fn systemctl(&self, words: &[&str]) -> Result<()> {
        self.run("systemctl", words, b"").map(drop)
    }

    /// Whether systemd calls a unit active.
    pub fn is_active(&self, unit: &str) -> Result<bool> {
        let words = self.query("systemctl", &["is-active", unit])?;
        Ok(words.trim() == "active")
    }

    /// Runs a program without input to its end, but not longer than `limit`: then it is killed, and
    /// the result is `None`. Fails only when it cannot be started.
    pub fn run_within(
        &self,
        program: &str,
        args: &[&str],
        limit: Duration,
    ) -> Result<Option<Ended>> {
        let (mut command, line) = command(program, args);
        self.others_wrote.store(true, Ordering::Relaxed);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start: {line}"))?;
        // Read beside it: a full pipe would hold it up.
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let out = std::thread::spawn(move || all(out));
        let err = std::thread::spawn(move || all(err));
        let deadline = Instant::now() + limit;
        let status = loop {
            let ended = child.try_wait();
            if let Some(status) = ended.with_context(|| format!("cannot wait for: {line}"))? {
                break status;
            }
            if Instant::now() >= deadline {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Ok(Some(Ended {
            status,
            output: out.join().unwrap_or_default(),
            errors: err.join().unwrap_or_default(),
        }))
    }
}

/// A program that speaks English and gets no input, and its command line for messages.
fn command(program: &str, args: &[impl AsRef<OsStr>]) -> (Command, String) {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let words = args.iter().map(|word| word.as_ref().to_string_lossy());
    let words: Vec<_> = std::iter::once(program.into()).chain(words).collect();
    (command, words.join(" "))
}

/// All of a stream; what cannot be read ends it.
fn all(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_so_much_time_and_no_more() {
        let root = Root::new("/");
        let script = ["-c", "echo out; echo one >&2; echo >&2; exit 3"];
        let long = Duration::from_secs(60);
        let ended = root.run_within("sh", &script, long).unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!((&*ended.output, ended.last_words()), ("out\n", "one"));
        let start = Instant::now();
        let killed = root.run_within("sleep", &["60"], Duration::from_millis(100));
        assert!(killed.unwrap().is_none());
        assert!(start.elapsed() < Duration::from_secs(30));
        let error = root.run_within("no-such-program", &["x"], long);
        assert_eq!(
            error.unwrap_err().to_string(),
            "cannot start: no-such-program x"
        );
    }
}
