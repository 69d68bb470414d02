//! Who is told of a run: whoever sits at the [`console`], the PC that runs the VM ([`host`]), and the
//! admin who asks `firstboot status` ([`state`], [`admin`]). The [`Reporter`] tells all of them.

pub mod admin;
pub mod console;
mod host;
pub mod state;

use crate::contract::clock;
use crate::contract::status::{
    Event, LogEvent, Stage, StageEvent, StageState, StepEvent, Verdict, VerdictEvent, Waiting,
    WaitingEvent,
};
use crate::stage::journal::{Journal, StepRecord};
use crate::system::root::Root;
use console::{Console, alarm, step_line};
use host::HostPort;
use state::{State, StepState, step_states};
use std::time::Duration;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Failing to tell is never an error: a machine is not to fail because nobody listens.
pub struct Reporter<'a> {
    root: &'a Root,
    host: HostPort<'a>,
    console: Console,
    stage: Stage,
    step: &'static str,
    state: State,
}

impl<'a> Reporter<'a> {
    pub fn new(root: &'a Root, stage: Stage) -> Self {
        let mut state = State::load(root).unwrap_or_default();
        state.version = VERSION.to_owned();
        Reporter {
            root,
            host: HostPort::new(root),
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
        self.state.save(self.root);
    }

    pub fn started(&mut self) {
        self.state.state = Verdict::Running;
        self.state.reason = None;
        self.state.waiting = None;
        self.state.save(self.root);
        self.stage_event(StageState::Started);
    }

    pub fn ended(&mut self, finished: bool) {
        self.stage_event(match finished {
            true => StageState::Finished,
            false => StageState::Failed,
        });
    }

    fn stage_event(&mut self, state: StageState) {
        self.host.send(&Event::Stage(StageEvent {
            stage: self.stage,
            state,
            name: self.state.name.clone(),
            instance: self.state.instance.clone(),
            version: VERSION.to_owned(),
            uptime: clock::uptime(),
        }));
    }

    /// A step begins; lines of [`Reporter::log`] belong to it.
    pub fn begin(&mut self, step: &'static str) {
        self.step = step;
    }

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
        self.state.save(self.root);
        self.host.send(&Event::Step(StepEvent {
            stage: self.stage,
            step: record.step.clone(),
            result: record.result,
            seconds: record.seconds,
            detail: record.detail.clone(),
            uptime: record.uptime,
        }));
    }

    /// The step's attempt did not succeed, and the next one comes after `pause`. The console,
    /// where somebody may be logged in, is told of a reason once.
    pub fn waiting(&mut self, attempt: u32, pause: Duration, reason: &str) {
        let event = WaitingEvent {
            stage: self.stage,
            step: self.step.to_owned(),
            attempt,
            seconds: (pause.as_secs_f64() * 10.0).round() / 10.0,
            reason: reason.to_owned(),
            uptime: clock::uptime(),
        };
        let known = self.state.waiting.as_ref();
        if known.is_none_or(|known| known.reason != reason) {
            self.console.say(&event.words());
        }
        self.wait(attempt, Some(event.uptime + pause.as_secs_f64()), reason);
        self.host.send(&Event::Waiting(event));
    }

    /// The next attempt begins; `reason` is why it has to.
    pub fn trying(&mut self, attempt: u32, reason: &str) {
        self.wait(attempt, None, reason);
    }

    fn wait(&mut self, attempt: u32, next: Option<f64>, reason: &str) {
        self.state.waiting = Some(Waiting {
            step: self.step.to_owned(),
            attempt,
            next,
            reason: reason.to_owned(),
        });
        self.state.save(self.root);
    }

    /// A line that a program said, or a remark.
    pub fn log(&mut self, text: &str) {
        self.console.say(&format!("{}: {text}", self.step));
        self.host.send(&Event::Log(LogEvent {
            stage: self.stage,
            step: self.step.to_owned(),
            text: text.to_owned(),
        }));
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
        self.state.save(self.root);
        let name = self.state.name.clone();
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
        self.host.send(&Event::Verdict(VerdictEvent {
            result: verdict,
            name,
            instance: self.state.instance.clone(),
            reason: reason.map(str::to_owned),
            uptime: clock::uptime(),
        }));
    }

    /// Gives the host a last chance of at most `wait` to read what is left.
    pub fn close(self, wait: Duration) {
        self.host.close(wait);
    }
}

/// An error with its causes, one a line.
pub fn with_causes(error: anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join("\ncaused by: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::status::StepResult;
    use crate::system::root::tests::tree;

    fn record(step: &str, result: StepResult, detail: Option<&str>) -> StepRecord {
        StepRecord::now(step, result, 0.1, detail.map(str::to_owned))
    }

    /// All that the port ever carries; the builder's tests read the same file.
    #[test]
    fn the_lines_of_the_port() {
        let (_folder, root) = tree();
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
        let moved = Some("vm41 -> vm42");
        reporter.step(&record("hostname", StepResult::Changed, moved));
        reporter.begin("hosts");
        reporter.step(&record("hosts", StepResult::Unchanged, None));
        reporter.waiting(4, Duration::from_secs(95), "no quorum");
        reporter.trying(5, "no quorum");
        let failed = record("hosts", StepResult::Failed, Some("cannot write"));
        reporter.step(&failed);
        reporter.ended(false);
        reporter.verdict(Verdict::Failed, Some("why"), false);
        reporter.close(Duration::ZERO);
        let state = State::load(&root).unwrap();
        assert_eq!(state.state, Verdict::Failed);
        assert_eq!(state.steps.len(), 2);
        let mut reporter = Reporter::new(&root, Stage::Join);
        reporter.ended(true);
        reporter.verdict(Verdict::Configured, None, true);
        reporter.verdict(Verdict::Unconfigured, None, true);
        reporter.close(Duration::ZERO);

        let text = root.read_text("/dev/vport0p1").unwrap().unwrap();
        let text = text.replace(&format!("\"{VERSION}\""), "\"VERSION\"");
        let lines = text
            .lines()
            .map(|line| match line.split_once(",\"uptime\":") {
                Some((line, uptime)) => {
                    let seconds: f64 = uptime.trim_end_matches('}').parse().unwrap();
                    assert!(seconds >= 0.0);
                    format!("{line},\"uptime\":1.0}}\n")
                }
                None => format!("{line}\n"),
            });
        let expected = include_str!("../../../../tests/cases/status/lines.jsonl");
        assert_eq!(lines.collect::<String>(), expected);
    }
}
