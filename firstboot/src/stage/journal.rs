//! The durable record of what is done, for which instance.
//!
//! It is written when a stage begins and ends, and in the second stage after each step that changed
//! something, when the step's own files are on disk: a step that was cut is not in it and is run again.

use crate::contract::clock;
use crate::contract::status::{Stage, StepResult};
use crate::system::root::Root;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Where it is; mode 0600.
pub const FILE: &str = "/var/lib/firstboot/journal.json";

/// One step that has run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    pub step: String,
    pub result: StepResult,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// One line for a human, or the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Seconds since the boot when it ended.
    pub uptime: f64,
    /// Seconds since 1970 when it ended, as this machine's clock says.
    pub time: u64,
}

impl StepRecord {
    /// A record that ends now.
    pub fn now(step: &str, result: StepResult, seconds: f64, detail: Option<String>) -> Self {
        StepRecord {
            step: step.to_owned(),
            result,
            seconds,
            detail,
            uptime: clock::uptime(),
            time: clock::unix_time(),
        }
    }
}

/// One stage's part of the journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Whether all of it is done.
    pub finished: bool,
    /// The steps in the order in which they ended.
    pub steps: Vec<StepRecord>,
}

impl StageRecord {
    /// Whether a step is done and need not run again.
    pub fn is_done(&self, step: &str) -> bool {
        let record = self.steps.iter().find(|record| record.step == step);
        record.is_some_and(|record| record.result != StepResult::Failed)
    }

    /// The step that failed last, unless it has succeeded since.
    pub fn failed(&self) -> Option<&StepRecord> {
        self.steps.iter().find(|s| s.result == StepResult::Failed)
    }

    /// Puts a record in the place of an earlier one of the same step.
    pub fn put(&mut self, record: StepRecord) {
        self.steps.retain(|old| old.step != record.step);
        self.steps.push(record);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// The instance-id of the seed that it is about.
    pub instance: String,
    /// The name that this instance has.
    pub name: String,
    /// Short names that the machine had before. Kept here because the first step removes
    /// them from where they could be read.
    pub old_names: Vec<String>,
    pub local: StageRecord,
    pub join: StageRecord,
}

/// What is found where the journal should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// This machine has never been configured.
    Missing,
    /// Something that cannot be read as a journal, and why.
    Corrupt(String),
    Found(Journal),
}

impl Journal {
    /// Begins anew for an instance.
    pub fn new(instance: &str, name: &str, old_names: Vec<String>) -> Self {
        Journal {
            instance: instance.to_owned(),
            name: name.to_owned(),
            old_names,
            local: StageRecord::default(),
            join: StageRecord::default(),
        }
    }

    /// Reads it. Fails only when the file is there and cannot be read at all.
    pub fn load(root: &Root) -> Result<Loaded> {
        let Some(bytes) = root.read(FILE)? else {
            return Ok(Loaded::Missing);
        };
        Ok(Self::read(&bytes))
    }

    /// What the file's bytes are.
    pub(crate) fn read(bytes: &[u8]) -> Loaded {
        match serde_json::from_slice(bytes) {
            Ok(journal) => Loaded::Found(journal),
            Err(e) => Loaded::Corrupt(format!("{FILE} is not a journal ({e})")),
        }
    }

    /// Writes it durably.
    pub fn save(&self, root: &Root) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self).context("cannot write the journal")?;
        text.push(b'\n');
        root.write(FILE, &text, 0o600)
    }

    /// One stage's part.
    pub fn stage(&mut self, stage: Stage) -> &mut StageRecord {
        match stage {
            Stage::Local => &mut self.local,
            Stage::Join => &mut self.join,
        }
    }

    /// Whether both stages are done.
    pub fn is_finished(&self) -> bool {
        self.local.finished && self.join.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;

    #[test]
    fn what_was_saved_is_loaded_and_is_private() {
        let (_folder, root) = tree();
        assert_eq!(Journal::load(&root).unwrap(), Loaded::Missing);
        let mut journal = Journal::new("iid-1", "vm42", vec!["debian".into()]);
        let record = StepRecord::now("hosts", StepResult::Changed, 0.5, Some("x".into()));
        journal.stage(Stage::Local).put(record);
        journal.save(&root).unwrap();
        assert_eq!(Journal::load(&root).unwrap(), Loaded::Found(journal));
        assert_eq!(root.owner_and_mode(FILE).unwrap().unwrap().0, 0o600);
    }

    #[test]
    fn half_a_journal_is_corrupt() {
        let (_folder, root) = tree();
        root.write(FILE, b"{\"instance\": \"iid-1\", \"na", 0o600)
            .unwrap();
        assert_eq!(
            Journal::load(&root).unwrap(),
            Loaded::Corrupt(
                "/var/lib/firstboot/journal.json is not a journal (EOF while parsing a string at \
                 line 1 column 25)"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_failed_step_is_not_done_and_a_later_success_replaces_it() {
        let mut stage = StageRecord::default();
        stage.put(StepRecord::now("a", StepResult::Failed, 0.0, None));
        assert!(!stage.is_done("a"));
        assert!(stage.failed().is_some());
        stage.put(StepRecord::now("a", StepResult::Changed, 0.0, None));
        assert!(stage.is_done("a"));
        assert!(stage.failed().is_none());
        assert_eq!(stage.steps.len(), 1);
    }
}
