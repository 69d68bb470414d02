//! `/run/firstboot/status.json`: the whole state of this boot, for `firstboot status`.

use crate::contract::status::{Stage, Verdict, Waiting};
use crate::stage::journal::{Journal, StepRecord};
use crate::system::root::Root;
use serde::{Deserialize, Serialize};

/// Where it is; everybody may read it.
pub const FILE: &str = "/run/firstboot/status.json";

/// The content of [`FILE`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub version: String,
    pub state: Verdict,
    /// The machine's name; empty when there is no seed.
    #[serde(default)]
    pub name: String,
    /// The instance-id; empty when there is no seed.
    #[serde(default)]
    pub instance: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is tried again and again, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The steps of both stages, as the journal has them.
    #[serde(default)]
    pub steps: Vec<StepState>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    pub stage: Stage,
    #[serde(flatten)]
    pub record: StepRecord,
}

impl State {
    /// Reads it; `None` when firstboot has not run since the boot or the file is damaged.
    pub fn load(root: &Root) -> Option<State> {
        let bytes = root.read(FILE).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes it, best effort.
    pub fn save(&self, root: &Root) {
        if let Ok(mut text) = serde_json::to_vec_pretty(self) {
            text.push(b'\n');
            let _ = root.write(FILE, &text, 0o644);
        }
    }
}

/// The journal's steps as the status shows them.
pub fn step_states(journal: &Journal) -> Vec<StepState> {
    let of = |stage, steps: &[StepRecord]| {
        let state = move |record: &StepRecord| StepState {
            stage,
            record: record.clone(),
        };
        steps.iter().map(state).collect::<Vec<_>>()
    };
    let mut states = of(Stage::Local, &journal.local.steps);
    states.extend(of(Stage::Join, &journal.join.steps));
    states
}
