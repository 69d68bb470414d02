//! What a VM says while it boots: run.sh, the console, and firstboot's status port.

use crate::qemu::{Accelerator, Guest, Machine, Watch};
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::status::{Lines, event, failure, step_line};
use anyhow::Result;
use firstboot::contract::status::{
    Event, Stage, StageState, StepEvent, Verdict as Told, WaitingEvent,
};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Width of a step's name while the others are not known yet; with it the times stand below
/// those of the stages.
const STEP_WIDTH: usize = 14;
/// firstboot has some twenty steps. Who is root in the guest can write to the port what he likes.
const MOST_STEPS: usize = 200;

/// How a machine ends by its own account.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// firstboot says that the machine is configured.
    Configured,
    /// firstboot says that it is not, and why.
    Failed(String),
    /// The time was over, or the user asked to stop, while the machine waits for another try of
    /// a step: it is well, and goes on by itself.
    Waiting(WaitingEvent),
}

/// What was seen since the machine's last start.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// firstboot's steps in order, as far as they are shown.
    pub steps: Vec<StepEvent>,
    /// How many more there were.
    pub more_steps: u64,
    /// Whether firstboot has said anything: from then on the disk is worth keeping.
    pub firstboot: bool,
    /// What the machine is waiting for.
    pub waiting: Option<WaitingEvent>,
    /// Whether run.sh has become QEMU.
    pub started: bool,
}

/// A VM that boots.
pub(super) struct BootingVm<'a> {
    /// Its files.
    pub folder: &'a VmFolder<'a>,
    /// The words after run.sh, but for the accelerator.
    pub arguments: Vec<String>,
    /// What it has said.
    pub seen: Seen,
    ui: &'a Ui,
    lines: Lines,
    /// firstboot's second stage, which asks others.
    joining: bool,
    silence_told: bool,
    /// What Ctrl-C does while it waits.
    leaving_told: bool,
}

impl<'a> BootingVm<'a> {
    /// One that is still off.
    pub(super) fn new(folder: &'a VmFolder<'a>, arguments: Vec<String>, ui: &'a Ui) -> Self {
        BootingVm {
            folder,
            arguments,
            seen: Seen::default(),
            ui,
            lines: Lines::default(),
            joining: false,
            silence_told: false,
            leaving_told: false,
        }
    }

    fn next_stage(&self, name: &str, detail: &str, watch: &mut Watch<'_>) {
        watch.next_stage(&format!("{}: {name}", self.folder.name()), detail);
    }

    fn step(&mut self, step: StepEvent, watch: &Watch<'_>) {
        if self.seen.steps.len() == MOST_STEPS {
            self.seen.more_steps += 1;
            return;
        }
        if let Some(stage) = &watch.stage {
            stage.line(&step_line(&step, STEP_WIDTH));
        }
        self.seen.steps.push(step);
    }

    /// The reason stays on the screen, once: a cluster without quorum gives it all night.
    fn wait(&mut self, waiting: WaitingEvent, watch: &mut Watch<'_>) {
        watch.quiet_until = Instant::now() + waiting.pause();
        let line = waiting.words();
        let before = self.seen.waiting.replace(waiting);
        if let (Some(stage), Some(now)) = (&watch.stage, &self.seen.waiting) {
            if before.is_none_or(|before| before.reason != now.reason) {
                stage.whole_line(&line);
            }
            // The spinner's own line has no room for it.
            if !self.leaving_told {
                stage.whole_line("Ctrl-C ends the watching: it goes on by itself");
            }
            self.leaving_told = true;
        }
    }
}

/// How long a wait is still, beside the spinner, and as much of its reason as has room.
fn countdown(waiting: &WaitingEvent, rest: Duration) -> String {
    let seconds = rest.as_secs_f64().ceil() as u64;
    let when = match seconds {
        0 => "now".to_owned(),
        1..=59 => format!("in {seconds} s"),
        60..=3599 => format!("in {} min {} s", seconds / 60, seconds % 60),
        _ => format!("in {} h {} min", seconds / 3600, seconds / 60 % 60),
    };
    format!(
        "attempt {} {when}, because {}",
        waiting.attempt.saturating_add(1),
        waiting.reason
    )
}

impl Guest for BootingVm<'_> {
    type Verdict = Verdict;

    const STARTS_OVER: &'static str = "going on";

    fn prefix(&self) -> String {
        format!("{}: ", self.folder.name())
    }

    fn first_stage(&self) -> String {
        format!("{}: start", self.folder.name())
    }

    fn start(&mut self, accelerator: Accelerator) -> Result<Machine> {
        self.seen = Seen::default();
        self.lines = Lines::default();
        (self.joining, self.silence_told) = (false, false);
        let mut words = self.arguments.clone();
        words.push(format!("--accel={}", accelerator.name()));
        Machine::start(&self.folder.path, &words, &self.folder.file("run.log"))
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        let file = |name| self.folder.file(name);
        (file("console.log"), file("status.jsonl"))
    }

    fn started(&mut self, accelerator: Accelerator, machine: &Machine, watch: &mut Watch<'_>) {
        self.seen.started = true;
        // run.sh said all that it has to say before it became QEMU.
        warn_of_reach(self.folder.name(), &machine.words(), self.ui);
        let detail = match accelerator {
            Accelerator::Kvm => "with KVM",
            _ => "in software: slow, one CPU",
        };
        self.next_stage("boot", detail, watch);
    }

    fn console(&mut self, watch: &mut Watch<'_>) {
        self.silence_told = false;
        if let Some(line) = watch.console.last_line() {
            watch.note(line);
        }
    }

    fn channel(&mut self, bytes: &[u8], watch: &mut Watch<'_>) -> Option<Verdict> {
        self.silence_told = false;
        for line in self.lines.feed(bytes) {
            let told = json!({"event": "firstboot", "vm": self.folder.name(), "status": line});
            self.ui.event(&told);
            self.seen.firstboot = true;
            let event = event(&line);
            if !matches!(event, Event::Waiting(_) | Event::Log(_) | Event::Unknown) {
                self.seen.waiting = None;
            }
            match event {
                Event::Stage(stage) => match stage.state {
                    StageState::Started => {
                        self.joining = stage.stage == Stage::Join;
                        self.next_stage(&format!("firstboot, {}", stage.stage.name()), "", watch);
                    }
                    // After the last one comes the verdict, at once.
                    StageState::Finished if self.joining => watch.end_stage(""),
                    // The services start between the two stages.
                    StageState::Finished => self.next_stage("boot on", "", watch),
                    // Dropped without `done`, it is shown as failed.
                    StageState::Failed => watch.stage = None,
                },
                Event::Step(step) => self.step(step, watch),
                Event::Log(log) => watch.note(&format!("{}: {}", log.step, log.text)),
                Event::Waiting(waiting) => self.wait(waiting, watch),
                Event::Verdict(told) => {
                    let verdict = match failure(&told) {
                        Some(reason) => Verdict::Failed(reason),
                        None if told.result == Told::Configured => Verdict::Configured,
                        None => continue,
                    };
                    // What firstboot calls failed has been shown so; a stage that is still open
                    // did its part.
                    watch.end_stage("");
                    return Some(verdict);
                }
                Event::Unknown => {}
            }
        }
        None
    }

    fn tick(&self, watch: &Watch<'_>) {
        if let Some(waiting) = &self.seen.waiting {
            let rest = watch.quiet_until.saturating_duration_since(Instant::now());
            watch.note(&countdown(waiting, rest));
        }
    }

    fn has_begun(&self) -> bool {
        self.seen.firstboot
    }

    /// A join may wait long for an answer of the cluster: only the time limit ends it.
    fn may_be_silent(&mut self, watch: &Watch<'_>) -> bool {
        if self.joining && !self.silence_told {
            self.silence_told = true;
            self.ui.warn(&format!(
                "{}: no word for {} s; the join may be waiting for the cluster, so this goes on",
                self.folder.name(),
                watch.limits.silence.as_secs()
            ));
        }
        self.joining
    }

    fn left_alone(&mut self, watch: &mut Watch<'_>) -> Option<Verdict> {
        let waiting = self.seen.waiting.clone()?;
        if let Some(stage) = watch.stage.take() {
            stage.waits(&waiting.reason);
        }
        Some(Verdict::Waiting(waiting))
    }
}

/// What run.sh has said of the network, which its log alone would have: that the guest reaches
/// what this PC means for itself.
fn warn_of_reach(name: &str, words: &str, ui: &Ui) {
    let start = format!("{name}/run.sh: warning: ");
    for warning in words.lines().filter_map(|line| line.strip_prefix(&start)) {
        if warning.starts_with(&format!("{name} can reach ")) {
            ui.warn(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_wait_is_still() {
        let waiting: WaitingEvent = serde_json::from_value(json!({
            "stage": "join", "step": "join", "attempt": 4, "seconds": 180.0,
            "reason": "the cluster of 10.120.0.1 has no quorum", "uptime": 312.5,
        }))
        .unwrap();
        for (rest, when) in [
            (0.0, "now"),
            (0.2, "in 1 s"),
            (59.0, "in 59 s"),
            (59.1, "in 1 min 0 s"),
            (176.5, "in 2 min 57 s"),
            (7260.0, "in 2 h 1 min"),
        ] {
            assert_eq!(
                countdown(&waiting, Duration::from_secs_f64(rest)),
                format!("attempt 5 {when}, because the cluster of 10.120.0.1 has no quorum")
            );
        }
    }
}
