//! Running a program: its full command line and its own words in the error.

use super::Root;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

impl Root {
    /// Runs a program of this process's system to its end and returns what it printed on
    /// standard output. `stdin` is for secrets, which have no place on a command line; the
    /// error shows the command line and what the program said.
    pub fn run(&self, program: &str, args: &[&OsStr], stdin: &[u8]) -> Result<String> {
        let words = std::iter::once(OsStr::new(program)).chain(args.iter().copied());
        let line = words
            .map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        let mut child = Command::new(program)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
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
        let output = Command::new(program)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start: {program} {}", args.join(" ")))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
