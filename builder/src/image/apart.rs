//! An image is read by a process of its own: this program once more, with limits of memory and time.
//!
//! The readers of qcow2 and ext4 are libraries for the most part. An image that was damaged, or made for that, can let one
//! of them crash, never end, or ask for all of the memory; then it is that process that ends.

use crate::system::program::{self, Command, Failed};
use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::os::unix::process::CommandExt;
use std::path::Path;

/// What the process may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Address space, in MiB. An audit of a base takes 40 of it.
    pub memory: u64,
    /// Seconds of processor time, so that a PC that is busy does not count. The same audit takes less
    /// than one.
    pub seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 512,
            seconds: 120,
        }
    }
}

/// What comes back.
#[derive(Serialize, Deserialize)]
enum Answer<T> {
    Read(T),
    Refused(String),
}

/// What that process finds in an image; `what` is a word of the hidden `imgbuild look`.
pub(crate) fn ask<T: DeserializeOwned>(what: &str, limits: Limits, image: &Path) -> Result<T> {
    // Whatever this program's file is called by now.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("imgbuild").env_remove("RUST_BACKTRACE");
    command.args(["look", "--memory", &limits.memory.to_string()]);
    command.args(["--seconds", &limits.seconds.to_string(), what, "--"]);
    command.arg(image);
    let mut answer = None;
    let ended = program::stream(&mut command, |line| {
        answer = serde_json::from_str(line).ok().or(answer.take());
    });
    match (ended, answer) {
        (Ok(()), Some(Answer::Read(found))) => Ok(found),
        (Ok(()), Some(Answer::Refused(why))) => Err(anyhow!(why)),
        (Ok(()), None) => Err(anyhow!("the process that reads images said nothing")),
        (Err(error), _) => Err(match error.downcast::<Failed>() {
            Ok(failed) => explained(image, limits, &failed),
            Err(error) => error,
        }),
    }
}

/// The other side: limits this process, and says what `read` finds in one line.
pub(crate) fn answer<T: Serialize>(limits: Limits, read: impl FnOnce() -> Result<T>) -> Result<()> {
    // Nobody waits for what a reader finds that is alone.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let (memory, seconds) = (limits.memory << 20, limits.seconds);
    for (resource, most, last) in [
        (Resource::As, memory, memory),
        // The first is told by SIGXCPU, the last by SIGKILL.
        (Resource::Cpu, seconds, seconds + 5),
        (Resource::Core, 0, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(last),
        };
        setrlimit(resource, limit).context("cannot limit the process that reads images")?;
    }
    let answer = match read() {
        Ok(found) => Answer::Read(found),
        Err(error) => Answer::Refused(format!("{error:#}")),
    };
    let line = serde_json::to_string(&answer).context("cannot write what was read as JSON")?;
    println!("{line}");
    Ok(())
}

/// Why the reading process ended without an answer, and what to do.
fn explained(image: &Path, limits: Limits, failed: &Failed) -> anyhow::Error {
    let (shown, quoted) = (image.display(), program::quote(&image.to_string_lossy()));
    let signal = failed.signal();
    let is = |wanted: Signal| signal == Some(wanted.as_raw());
    let last = failed.last_words();
    let what = if is(Signal::XCPU) {
        format!(
            "it was read for {} s of processor time without an end",
            limits.seconds
        )
    } else if is(Signal::ABORT) && failed.said("memory allocation of") {
        format!("reading it takes more than {} MiB of memory", limits.memory)
    } else if is(Signal::KILL) {
        "the process that read it was killed, perhaps because this PC's memory is full".to_owned()
    } else if let Some(signal) = signal {
        let name = match signal {
            s if s == Signal::SEGV.as_raw() => " (segmentation fault)",
            s if s == Signal::ABORT.as_raw() => " (aborted)",
            s if s == Signal::BUS.as_raw() => " (bus error)",
            _ => "",
        };
        format!("the process that read it ended by signal {signal}{name}")
    } else {
        format!("the process that read it gave up: {last}")
    };
    anyhow!(
        "cannot read {shown}: {what}; nothing else was harmed\n  right: an image that is whole: \
         `qemu-img check {quoted}` and the digest of where it comes from tell"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_ends_the_reader_is_told_in_words() {
        let says = |script: &str| {
            let ended = program::stream(Command::new("/bin/sh").args(["-c", script]), |_| {});
            let failed = ended.unwrap_err().downcast::<Failed>().unwrap();
            explained(Path::new("a b"), Limits::default(), &failed).to_string()
        };
        let right = "; nothing else was harmed\n  right: an image that is whole: `qemu-img check \
                     'a b'` and the digest of where it comes from tell";
        for (script, what) in [
            (
                "kill -SEGV $$",
                "the process that read it ended by signal 11 (segmentation fault)",
            ),
            (
                "kill -ABRT $$",
                "the process that read it ended by signal 6 (aborted)",
            ),
            (
                "echo memory allocation of 40000000000 bytes failed >&2; kill -ABRT $$",
                "reading it takes more than 512 MiB of memory",
            ),
            (
                "ulimit -S -t 1; while :; do :; done",
                "it was read for 120 s of processor time without an end",
            ),
            (
                "kill -KILL $$",
                "the process that read it was killed, perhaps because this PC's memory is full",
            ),
            (
                "echo one >&2; echo two >&2; exit 101",
                "the process that read it gave up: two",
            ),
        ] {
            assert_eq!(says(script), format!("cannot read a b: {what}{right}"));
        }
    }
}
