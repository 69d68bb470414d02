//! A change to a file that all nodes of the cluster share, made by one of Proxmox's tools.
//!
//! The tools read, change and write under the cluster's lock, but the new value of a list is
//! made outside of it: two nodes that each append themselves could lose one. So each change
//! carries the digest of the text that it was made from (`--digest`), the tool refuses it when
//! that text is no longer there, and what counts is the file as it is read afterwards.

use crate::cluster::pmxcfs::{LOCK_GONE, retry_if_passing, short_pause};
use crate::step::{Outcome, RetryLater};
use crate::system::root::Root;
use anyhow::Result;

/// How often one change is begun anew before it is left for later.
const TRIES: usize = 10;

/// A shared file and the tool that changes it.
pub(crate) trait Shared {
    /// The file's path, for messages.
    fn name(&self) -> &str;
    /// Its text; empty when there is none.
    fn text(&self) -> Result<String>;
    fn tool(&self, words: &[String]) -> Result<()>;
    /// Waits a moment before the next try.
    fn pause(&self);
}

/// A file in `/etc/pve` and its program.
pub(crate) struct Tool<'a> {
    pub root: &'a Root,
    pub file: &'a str,
    pub program: &'a str,
}

impl Shared for Tool<'_> {
    fn name(&self) -> &str {
        self.file
    }

    fn text(&self) -> Result<String> {
        let text = self.root.read_text(self.file).map_err(retry_if_passing)?;
        Ok(text.unwrap_or_default())
    }

    fn tool(&self, words: &[String]) -> Result<()> {
        self.root.run(self.program, words, b"").map(drop)
    }

    fn pause(&self) {
        short_pause();
    }
}

/// What is to be done, seen from a text of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing.
    Fits,
    /// Nothing, although it is not as the seed wants it; why, for a human.
    Leave(String),
    /// The tool is to be run with these words; what that does, for a human.
    Change {
        /// The words after the program's name.
        words: Vec<String>,
        what: String,
    },
}

/// How a file came to be as it is to be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub changed: Option<String>,
    /// What was left although the seed wants it otherwise.
    pub left: Option<String>,
}

/// What several of them come to.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    changed: Vec<String>,
    left: Vec<String>,
}

impl Changes {
    /// Adds one; what was left as it is also goes to the log.
    pub(crate) fn add(&mut self, settled: Settled, log: &dyn Fn(&str)) {
        self.changed.extend(settled.changed);
        if let Some(left) = settled.left {
            log(&left);
            self.left.push(left);
        }
    }

    /// The outcome of the step; `fits` is said when there was nothing to say.
    pub(crate) fn outcome(self, fits: &str) -> Outcome {
        match (self.changed.is_empty(), self.left.is_empty()) {
            (true, true) => Outcome::unchanged_because(fits),
            (unchanged, _) => Outcome::with_details(!unchanged, [self.changed, self.left].concat()),
        }
    }
}

/// Follows the plan until the file itself shows that there is nothing more to do.
pub(crate) fn settle(file: &dyn Shared, plan: impl Fn(&str) -> Plan) -> Result<Settled> {
    let mut settled = Settled::default();
    let mut last = String::new();
    for _ in 0..TRIES {
        let (words, what) = match plan(&file.text()?) {
            Plan::Fits => return Ok(settled),
            Plan::Leave(why) => {
                settled.left = Some(why);
                return Ok(settled);
            }
            Plan::Change { words, what } => (words, what),
        };
        let Err(error) = file.tool(&words) else {
            // Read again: what counts is what is there.
            settled.changed = Some(what);
            continue;
        };
        match classify(&error) {
            Refusal::Overtaken => {
                last = format!("; the last time: {}", one_line(&error));
                file.pause();
            }
            Refusal::Passing(at_least) => {
                let reason = one_line(&error);
                return Err(RetryLater { reason, at_least }.into());
            }
            Refusal::Final => return Err(error),
        }
    }
    Err(RetryLater::because(format!(
        "{} could not be changed in {TRIES} tries, because other nodes keep changing it{last}",
        file.name()
    ))
    .into())
}

/// What a failed tool means.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Another change came first: look again.
    Overtaken,
    /// Time may mend it; the shortest pause that makes sense.
    Passing(std::time::Duration),
    /// It would be the same next time.
    Final,
}

/// Judges by the tool's own words (read in pve-cluster, pve-storage and pve-ha-manager); the
/// exit code is the same for all of them. What is not known, such as an NFS server that does
/// not answer, may pass.
fn classify(error: &anyhow::Error) -> Refusal {
    let text = format!("{error:#}");
    // The first line is the command line.
    let Some((_, said)) = text.split_once('\n') else {
        return Refusal::Final;
    };
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    let line = |so: fn(&str) -> bool| said.lines().any(|line| so(line.trim()));
    if says(&[
        "detected modified configuration",
        "already defined",
        "no such ha group",
    ]) || line(|line| line.ends_with("' does not exist"))
    {
        Refusal::Overtaken
    } else if says(&["got lock request timeout", "command timed out"]) {
        Refusal::Passing(LOCK_GONE)
    } else if line(|line| line.starts_with("400 "))
        || says(&[
            "Unknown option",
            "unknown command",
            "unable to parse option",
        ])
    {
        Refusal::Final
    } else {
        Refusal::Passing(std::time::Duration::ZERO)
    }
}

/// An error for a status line.
fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) mod tests;
