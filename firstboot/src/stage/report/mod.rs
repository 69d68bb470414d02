//! What the outside is told: the console, the status port, `/run/firstboot/status.json`.

pub mod admin;
pub mod console;
mod host;

use crate::contract::clock;
use crate::contract::status::Waiting;
use crate::stage::journal::{Journal, Stage, StepRecord, StepResult};
use crate::system::root::Root;
use console::{Console, alarm, step_line};
use host::Port;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The whole state of this boot, for `firstboot status`.
pub const FILE: &str = "/run/firstboot/status.json";
/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How far the machine is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// firstboot is at work, or waits for its second unit.
    #[default]
    Running,
    /// All is done.
    Configured,
    /// Something went wrong.
    Failed,
    /// There is no seed, and never was one.
    Unconfigured,
}

impl Verdict {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Running => "running",
            Verdict::Configured => "configured",
            Verdict::Failed => "failed",
            Verdict::Unconfigured => "unconfigured",
        }
    }
}

/// The content of [`FILE`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of firstboot that wrote it.
    pub version: String,
    /// How far the machine is.
    pub state: Verdict,
    /// The machine's name; empty when there is no seed.
    #[serde(default)]
    pub name: String,
    /// The instance-id; empty when there is no seed.
    #[serde(default)]
    pub instance: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is tried again and again, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The steps of both stages, as the journal has them.
    #[serde(default)]
    pub steps: Vec<StepState>,
}

/// One step in [`State`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// The stage that it belongs to.
    pub stage: Stage,
    /// Its record.
    #[serde(flatten)]
    pub record: StepRecord,
}

impl State {
    /// Reads it; `None` when firstboot has not run since the boot or the file is damaged.
    pub fn load(root: &Root) -> Option<State> {
        let bytes = root.read(FILE).ok()??;
        serde_json::from_slice(&bytes).ok()
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Stage {
        stage: Stage,
        state: &'a str,
        name: &'a str,
        instance: &'a str,
        version: &'a str,
        uptime: f64,
    },
    Step {
        stage: Stage,
        step: &'a str,
        result: StepResult,
        seconds: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        uptime: f64,
    },
    Log {
        stage: Stage,
        step: &'a str,
        text: &'a str,
    },
    Waiting {
        stage: Stage,
        step: &'a str,
        attempt: u32,
        seconds: f64,
        reason: &'a str,
        uptime: f64,
    },
    Verdict {
        result: &'a str,
        name: &'a str,
        instance: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        uptime: f64,
    },
}

/// Tells the outside, in all three ways at once. Failing to tell is never an error: a
/// machine is not to fail because nobody listens.
pub struct Reporter<'a> {
    root: &'a Root,
    port: Port<'a>,
    console: Console,
    stage: Stage,
    step: &'static str,
    state: State,
}

impl<'a> Reporter<'a> {
    /// Begins a stage's report.
    pub fn new(root: &'a Root, stage: Stage) -> Self {
        let mut state = State::load(root).unwrap_or_default();
        state.version = VERSION.to_owned();
        Reporter {
            root,
            port: Port::new(root),
            console: Console::new(root),
            stage,
            step: "seed",
            state,
        }
    }

    /// What has been told since the boot.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Who this machine is, and the steps that are done already.
    pub fn introduce(&mut self, journal: &Journal) {
        self.state.name = journal.name.clone();
        self.state.instance = journal.instance.clone();
        self.state.steps = step_states(journal);
        self.save();
    }

    /// The stage begins.
    pub fn started(&mut self) {
        self.state.state = Verdict::Running;
        self.state.reason = None;
        self.state.waiting = None;
        self.save();
        self.stage_event("started");
    }

    /// The stage has ended.
    pub fn ended(&mut self, finished: bool) {
        self.stage_event(match finished {
            true => "finished",
            false => "failed",
        });
    }

    fn stage_event(&mut self, state: &str) {
        let (name, instance) = (self.state.name.clone(), self.state.instance.clone());
        self.send(&Event::Stage {
            stage: self.stage,
            state,
            name: &name,
            instance: &instance,
            version: VERSION,
            uptime: clock::uptime(),
        });
    }

    /// A step begins; lines of [`Reporter::log`] belong to it.
    pub fn begin(&mut self, step: &'static str) {
        self.step = step;
    }

    /// A step has ended.
    pub fn step(&mut self, record: &StepRecord) {
        self.state.waiting = None;
        self.console.say(&step_line(record));
        self.state
            .steps
            .retain(|s| s.stage != self.stage || s.record.step != record.step);
        self.state.steps.push(StepState {
            stage: self.stage,
            record: record.clone(),
        });
        self.save();
        self.send(&Event::Step {
            stage: self.stage,
            step: &record.step,
            result: record.result,
            seconds: record.seconds,
            detail: record.detail.as_deref(),
            uptime: record.uptime,
        });
    }

    /// The step's attempt did not succeed, and the next one comes after `pause`. The console,
    /// where somebody may be logged in, is told of a reason once.
    pub fn waiting(&mut self, attempt: u32, pause: Duration, reason: &str) {
        let uptime = clock::uptime();
        let known = self
            .state
            .waiting
            .as_ref()
            .is_some_and(|w| w.reason == reason);
        let waiting = Waiting {
            step: self.step.to_owned(),
            attempt,
            next: Some(uptime + pause.as_secs_f64()),
            reason: reason.to_owned(),
        };
        if !known {
            self.console.say(&waiting.words(uptime));
        }
        self.state.waiting = Some(waiting);
        self.save();
        self.send(&Event::Waiting {
            stage: self.stage,
            step: self.step,
            attempt,
            seconds: (pause.as_secs_f64() * 10.0).round() / 10.0,
            reason,
            uptime,
        });
    }

    /// The next attempt begins; `reason` is why it has to.
    pub fn trying(&mut self, attempt: u32, reason: &str) {
        self.state.waiting = Some(Waiting {
            step: self.step.to_owned(),
            attempt,
            next: None,
            reason: reason.to_owned(),
        });
        self.save();
    }

    /// A line that a program said, or a remark.
    pub fn log(&mut self, text: &str) {
        self.console.say(&format!("{}: {text}", self.step));
        self.send(&Event::Log {
            stage: self.stage,
            step: self.step,
            text,
        });
    }

    /// Notes that there is no seed; the verdict tells it.
    pub fn unconfigured(&mut self) {
        self.state.state = Verdict::Unconfigured;
    }

    /// The last word. A machine that was configured before says nothing on the console.
    pub fn verdict(&mut self, verdict: Verdict, reason: Option<&str>, quiet: bool) {
        self.state.waiting = None;
        self.state.state = verdict;
        self.state.reason = reason.map(str::to_owned);
        self.save();
        let (name, instance) = (self.state.name.clone(), self.state.instance.clone());
        if !quiet {
            match verdict {
                Verdict::Failed => self
                    .console
                    .say(&alarm(self.stage, reason.unwrap_or("no reason"))),
                Verdict::Unconfigured => self.console.say(
                    "no seed disk (a volume labelled CIDATA) was found: this machine is not \
                     configured",
                ),
                Verdict::Configured => self.console.say(&format!("{name} is configured")),
                Verdict::Running => {}
            }
        }
        self.send(&Event::Verdict {
            result: verdict.name(),
            name: &name,
            instance: &instance,
            reason,
            uptime: clock::uptime(),
        });
    }

    /// Gives the port a last chance of at most `wait`.
    pub fn close(self, wait: Duration) {
        self.port.close(wait);
    }

    fn send(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            self.port.send(&line);
        }
    }

    fn save(&self) {
        if let Ok(mut text) = serde_json::to_vec_pretty(&self.state) {
            text.push(b'\n');
            let _ = self.root.write(FILE, &text, 0o644);
        }
    }
}

/// The journal's steps as the status shows them.
fn step_states(journal: &Journal) -> Vec<StepState> {
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

/// An error with its causes, one a line.
pub fn with_causes(error: anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join("\ncaused by: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(result: StepResult, detail: Option<&str>) -> StepRecord {
        StepRecord {
            step: "hostname".into(),
            result,
            seconds: 0.1,
            detail: detail.map(str::to_owned),
            uptime: 4.5,
            time: 1,
        }
    }

    #[test]
    fn the_lines_of_the_port() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        root.write(
            "/sys/class/virtio-ports/vport0p1/name",
            b"org.imgbuild.firstboot\n",
            0o444,
        )
        .unwrap();
        root.write("/dev/vport0p1", b"", 0o600).unwrap();
        let mut reporter = Reporter::new(&root, Stage::Local);
        reporter.introduce(&Journal::new("iid-1", "vm42", Vec::new()));
        reporter.started();
        reporter.begin("hostname");
        reporter.log("a \"word\"");
        reporter.step(&record(StepResult::Changed, Some("vm41 -> vm42")));
        reporter.ended(false);
        reporter.verdict(Verdict::Failed, Some("why"), false);
        reporter.close(Duration::ZERO);
        let text = root.read_text("/dev/vport0p1").unwrap().unwrap();
        let mut lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for line in &mut lines {
            if let Some(uptime) = line.get_mut("uptime") {
                assert!(uptime.is_f64());
                *uptime = 1.into();
            }
        }
        let stage = |state: &str| {
            serde_json::json!({"event": "stage", "stage": "local", "state": state, "name": "vm42",
                "instance": "iid-1", "version": VERSION, "uptime": 1})
        };
        let expected = [
            stage("started"),
            serde_json::json!({"event": "log", "stage": "local", "step": "hostname",
                "text": "a \"word\""}),
            serde_json::json!({"event": "step", "stage": "local", "step": "hostname",
                "result": "changed", "seconds": 0.1, "detail": "vm41 -> vm42", "uptime": 1}),
            stage("failed"),
            serde_json::json!({"event": "verdict", "result": "failed", "name": "vm42",
                "instance": "iid-1", "reason": "why", "uptime": 1}),
        ];
        assert_eq!(lines, expected);
        let state = State::load(&root).unwrap();
        assert_eq!(state.state, Verdict::Failed);
        assert_eq!(state.steps.len(), 1);
    }
}
