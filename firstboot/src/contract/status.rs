//! What the guest tells the PC: one JSON object a line on a virtio-serial port.
//!
//! The guest writes an [`Event`] a line, and the builder reads the same type. An event or a field that
//! a newer guest has is passed over, and who speaks, and when, may be missing; a new word in one of
//! the enums is another contract.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The port's name on QEMU's command line.
pub const PORT: &str = "org.imgbuild.firstboot";

/// The two parts of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Before anything has the machine's name.
    Local,
    /// After the network.
    Join,
}

impl Stage {
    /// The word for it in lines, journal and unit names.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Local => "local",
            Stage::Join => "join",
        }
    }
}

/// What a stage does at the moment of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    /// It begins.
    Started,
    /// Its steps are done.
    Finished,
    /// One of its steps failed.
    Failed,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// It changed something.
    Changed,
    /// All was as it should be.
    Unchanged,
    /// It did not succeed and is run again.
    Failed,
}

impl StepResult {
    /// The word for it in lines, journal and tables.
    pub fn name(self) -> &'static str {
        match self {
            StepResult::Changed => "changed",
            StepResult::Unchanged => "unchanged",
            StepResult::Failed => "failed",
        }
    }
}

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
    /// The word for it in lines and in `firstboot status`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Running => "running",
            Verdict::Configured => "configured",
            Verdict::Failed => "failed",
            Verdict::Unconfigured => "unconfigured",
        }
    }
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A stage begins or has ended.
    Stage(StageEvent),
    /// A step has ended.
    Step(StepEvent),
    /// What a program says while its step runs, or a remark.
    Log(LogEvent),
    /// A step did not succeed, and is tried again after a pause.
    Waiting(WaitingEvent),
    /// The last word of a run.
    Verdict(VerdictEvent),
    /// Something that only a newer guest says.
    #[serde(other)]
    Unknown,
}

/// A stage begins or has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageEvent {
    /// Which of the two.
    pub stage: Stage,
    /// Whether it begins, or how it ended.
    pub state: StageState,
    /// The machine's name.
    #[serde(default)]
    pub name: String,
    /// The seed's instance-id.
    #[serde(default)]
    pub instance: String,
    /// The version of firstboot that writes this.
    #[serde(default)]
    pub version: String,
    /// When, in seconds since the boot.
    #[serde(default)]
    pub uptime: f64,
}

/// A step has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEvent {
    /// The stage of the step.
    pub stage: Stage,
    /// The step's name, as `firstboot status` lists it.
    pub step: String,
    /// How it ended.
    pub result: StepResult,
    /// How long it took.
    pub seconds: f64,
    /// One line for a human, or the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When, in seconds since the boot.
    #[serde(default)]
    pub uptime: f64,
}

/// What a program says while its step runs, or a remark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEvent {
    /// The stage of the step.
    pub stage: Stage,
    /// The step's name, as `firstboot status` lists it.
    pub step: String,
    /// One line or several.
    pub text: String,
}

/// A step did not succeed, and is tried again after a pause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingEvent {
    /// The stage of the step.
    pub stage: Stage,
    /// The step's name, as `firstboot status` lists it.
    pub step: String,
    /// How often it was tried.
    pub attempt: u32,
    /// The pause, from this line on.
    pub seconds: f64,
    /// Why it did not succeed.
    pub reason: String,
    /// When, in seconds since the boot.
    #[serde(default)]
    pub uptime: f64,
}

impl WaitingEvent {
    /// The pause; none where `seconds` is no length of time.
    pub fn pause(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default()
    }

    /// It on one line: `joining, attempt 4, next in 3 min, because …`.
    pub fn words(&self) -> String {
        let pause = Some(self.pause());
        waiting_words(&self.step, self.attempt, pause, &self.reason)
    }
}

/// The last word of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictEvent {
    /// How far the machine is.
    pub result: Verdict,
    /// The machine's name; empty when there is no seed.
    #[serde(default)]
    pub name: String,
    /// The seed's instance-id; empty when there is no seed.
    #[serde(default)]
    pub instance: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, in seconds since the boot.
    #[serde(default)]
    pub uptime: f64,
}

/// A step that did not succeed yet, and that time may mend, as `firstboot status` knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The step's name, as `firstboot status` lists it.
    pub step: String,
    /// How many attempts there were since the boot, one that is under way included.
    pub attempt: u32,
    /// When the next one begins, in seconds since the boot; absent while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<f64>,
    /// Why the one before did not succeed.
    pub reason: String,
}

impl Waiting {
    /// It on one line, `uptime` seconds after the boot: `joining, attempt 4, next in 3 min, because …`.
    pub fn words(&self, uptime: f64) -> String {
        let rest = |next: f64| Duration::try_from_secs_f64(next - uptime).unwrap_or_default();
        waiting_words(&self.step, self.attempt, self.next.map(rest), &self.reason)
    }
}

fn waiting_words(step: &str, attempt: u32, pause: Option<Duration>, reason: &str) -> String {
    let what = match step {
        "join" => "joining",
        step => step,
    };
    let when = match pause {
        Some(pause) => format!("next in {}", pause_words(pause)),
        None => "under way".to_owned(),
    };
    format!("{what}, attempt {attempt}, {when}, because {reason}")
}

/// A pause in words, for a human: `95 s`, `3 min`, `2 h`.
pub fn pause_words(pause: Duration) -> String {
    let seconds = pause.as_secs_f64().round() as u64;
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h", (seconds + 1800) / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Event {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/cases/status/lines.jsonl"
        );
        let lines = std::fs::read_to_string(path).unwrap();
        for line in lines.lines() {
            let event = read(line);
            assert_ne!(event, Event::Unknown, "{line}");
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
        }
    }

    #[test]
    fn what_a_newer_guest_says_more_is_passed_over() {
        assert_eq!(read("{\"event\":\"weather\",\"sun\":1}"), Event::Unknown);
        let log = LogEvent {
            stage: Stage::Join,
            step: "join".into(),
            text: "x".into(),
        };
        let line =
            "{\"event\":\"log\",\"stage\":\"join\",\"step\":\"join\",\"text\":\"x\",\"new\":[1]}";
        assert_eq!(read(line), Event::Log(log));
    }

    #[test]
    fn pauses_in_words() {
        for (seconds, words) in [
            (8.0, "8 s"),
            (9.6, "10 s"),
            (95.0, "95 s"),
            (99.4, "99 s"),
            (99.6, "2 min"),
            (130.0, "2 min"),
            (180.0, "3 min"),
            (5399.0, "90 min"),
            (7200.0, "2 h"),
        ] {
            assert_eq!(pause_words(Duration::from_secs_f64(seconds)), words);
        }
    }

    #[test]
    fn a_wait_is_told_in_one_line() {
        let mut event = WaitingEvent {
            stage: Stage::Join,
            step: "join".into(),
            attempt: 4,
            seconds: 180.0,
            reason: "no quorum".into(),
            uptime: 12.5,
        };
        let line = "joining, attempt 4, next in 3 min, because no quorum";
        assert_eq!(event.words(), line);
        let mut waiting = Waiting {
            step: "join".into(),
            attempt: 4,
            next: Some(192.5),
            reason: "no quorum".into(),
        };
        assert_eq!(waiting.words(12.5), line);
        // The pause is over, and the status not yet written.
        waiting.next = Some(1.0);
        let over = "joining, attempt 4, next in 0 s, because no quorum";
        assert_eq!(waiting.words(12.5), over);
        event.seconds = -1.0;
        assert_eq!(event.words(), over);
        event.step = "storage".into();
        assert!(event.words().starts_with("storage, attempt 4, "));
    }
}
