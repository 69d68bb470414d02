//! Watching a started machine until firstboot's verdict, or until it is clear that none comes.

use super::messages;
use super::status::{Event, Lines, Step, Waiting, event};
use crate::cli::Accelerator;
use crate::qemu::guest_console::{Console, Fatal};
use crate::qemu::{Machine, kvm_broke};
use crate::system::interrupt;
use crate::system::tail::Tail;
use crate::system::ui::{Report, Stage};
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How often console and status are looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long a guest may still print after a panic, so that the reason is whole.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Width of a step's name while the others are not known yet; with it the times stand below
/// those of the stages.
const STEP_WIDTH: usize = 14;

/// How long things may take, and what may be tried again.
#[derive(Debug)]
pub struct Limits {
    /// From the start to the verdict.
    pub verdict: Duration,
    /// Without a byte on the console or the status port.
    pub silence: Duration,
    /// Under KVM, without a word from the kernel; only looked at with `kvm_fallback`.
    pub firmware: Duration,
    /// Whether software emulation may be tried instead of KVM.
    pub kvm_fallback: bool,
    /// Whether a start that stumbled in software emulation may be tried once more.
    pub second_try: bool,
}

/// How watching ended.
#[derive(Debug, PartialEq)]
pub enum End {
    /// firstboot says that the machine is configured.
    Configured,
    /// firstboot says that it is not, and why.
    Failed(String),
    /// The guest cannot go on.
    Fatal(Fatal),
    /// Neither console nor status port said anything for this long.
    Silent(Duration),
    /// KVM was used, and no guest ran under it: its kernel said nothing, or QEMU gave up.
    KvmUnusable,
    /// Software emulation had a bad day at the start of the kernel, and may try once more.
    Stumbled,
    /// No verdict within this time.
    Late(Duration),
    /// The time was over, or the user asked to stop, while the machine waits for another try of
    /// a step: it is well, and goes on by itself.
    Waiting(Waiting),
    /// run.sh or QEMU ended by itself.
    Exited(ExitStatus),
}

/// What was seen meanwhile.
#[derive(Debug, Default)]
pub struct Seen {
    /// firstboot's steps in order.
    pub steps: Vec<Step>,
    /// The last lines of the console.
    pub console: Vec<String>,
    /// Whether firstboot has said anything: from then on the disk is worth keeping.
    pub firstboot: bool,
    /// What the machine is waiting for.
    pub waiting: Option<Waiting>,
    /// The accelerator that was used.
    pub accelerator: Option<Accelerator>,
}

/// Watches until the end. On Ctrl-C the error is [`interrupt::Interrupted`], unless the machine
/// is one that goes on by itself. `seen` is filled in either way.
pub fn watch(
    name: &str,
    machine: &mut Machine,
    folder: &Path,
    limits: &Limits,
    report: &Report,
    seen: &mut Seen,
) -> Result<End> {
    let mut watch = Watch {
        name,
        report,
        limits,
        console: Console::default(),
        console_file: Tail::new(folder.join("console.log")),
        status_lines: Lines::default(),
        status_file: Tail::new(folder.join("status.jsonl")),
        stage: Some(report.stage(&format!("{name}: start"))),
        asked: Instant::now(),
        started: None,
        last_word: Instant::now(),
        quiet_until: Instant::now(),
        joining: false,
        silence_told: false,
        fatal_since: None,
    };
    let end = watch.run(machine, seen);
    seen.console = watch.console.last_lines();
    // What firstboot calls failed has been shown so; a stage that is still open did its part
    // when the verdict came in it. Else it failed.
    match (&end, watch.stage.take()) {
        (Ok(End::Configured | End::Failed(_)), Some(stage)) => stage.done(""),
        (Ok(End::Waiting(waiting)), Some(stage)) => stage.waits(&waiting.reason),
        (Ok(End::KvmUnusable), Some(stage)) => stage.again("KVM runs no guest"),
        (Ok(End::Stumbled), Some(stage)) => stage.again("stopped at a breakpoint (int3)"),
        _ => {}
    }
    end
}

struct Watch<'a> {
    name: &'a str,
    report: &'a Report,
    limits: &'a Limits,
    console: Console,
    console_file: Tail,
    status_lines: Lines,
    status_file: Tail,
    stage: Option<Stage<'a>>,
    asked: Instant,
    /// When QEMU took over from run.sh, which may have had a large base to check.
    started: Option<Instant>,
    last_word: Instant,
    /// Until then the machine has announced to say nothing.
    quiet_until: Instant,
    joining: bool,
    silence_told: bool,
    fatal_since: Option<Instant>,
}

impl Watch<'_> {
    fn run(&mut self, machine: &mut Machine, seen: &mut Seen) -> Result<End> {
        loop {
            if let (true, Some(waiting)) = (interrupt::requested(), &seen.waiting) {
                return Ok(End::Waiting(waiting.clone()));
            }
            interrupt::check()?;
            // Asked first: what a process said before its end is read below.
            let exited = machine.exited()?;
            if self.started.is_none() {
                self.look_for_start(machine, seen);
            }
            if let Some(end) = self.read(seen)? {
                return Ok(end);
            }
            if let Some(status) = exited {
                return Ok(match self.console.fatal() {
                    Some(fatal) => End::Fatal(fatal),
                    None if self.kvm_is_to_blame(status, machine, seen) => End::KvmUnusable,
                    None => End::Exited(status),
                });
            }
            if let Some(end) = self.judge(seen) {
                return Ok(end);
            }
            std::thread::sleep(POLL);
        }
    }

    fn look_for_start(&mut self, machine: &Machine, seen: &mut Seen) {
        let Some(accelerator) = machine.accelerator() else {
            return;
        };
        seen.accelerator = Some(accelerator);
        // It said all that it has to say before it became QEMU.
        messages::reachable(self.name, &machine.words(), self.report);
        self.started = Some(Instant::now());
        self.last_word = Instant::now();
        let detail = match accelerator {
            Accelerator::Kvm => "with KVM",
            _ => "in software: slow, one CPU",
        };
        self.next_stage("boot", detail);
    }

    /// Reads what is new; the end, when firstboot has given its verdict.
    fn read(&mut self, seen: &mut Seen) -> Result<Option<End>> {
        let bytes = self.console_file.read()?;
        if !bytes.is_empty() {
            self.last_word = Instant::now();
            self.console.feed(&bytes);
            self.silence_told = false;
            if let Some(line) = self.console.last_line() {
                self.note(line);
            }
        }
        let bytes = self.status_file.read()?;
        if !bytes.is_empty() {
            self.last_word = Instant::now();
            self.silence_told = false;
        }
        for line in self.status_lines.feed(&bytes) {
            self.report
                .event(&json!({"event": "firstboot", "vm": self.name, "status": line}));
            seen.firstboot = true;
            let event = event(&line);
            if !matches!(event, Event::Waiting(_) | Event::Log(_) | Event::Other) {
                seen.waiting = None;
            }
            match event {
                Event::StageStarted(stage) => {
                    self.joining = stage == "join";
                    self.next_stage(&format!("firstboot, {stage}"), "");
                }
                // After the last one comes the verdict, at once.
                Event::StageEnded(true) if self.joining => self.end_stage(""),
                // The services start between the two stages.
                Event::StageEnded(true) => self.next_stage("boot on", ""),
                // Dropped without `done`, it is shown as failed.
                Event::StageEnded(false) => self.stage = None,
                Event::Step(step) => self.step(step, seen),
                Event::Log(text) => self.note(&text),
                Event::Waiting(waiting) => self.wait(waiting, seen),
                Event::Configured => return Ok(Some(End::Configured)),
                Event::Failed(reason) => return Ok(Some(End::Failed(reason))),
                Event::Other => {}
            }
        }
        Ok(None)
    }

    fn step(&mut self, step: Step, seen: &mut Seen) {
        if let Some(stage) = &self.stage {
            stage.line(&step.line(STEP_WIDTH));
        }
        seen.steps.push(step);
    }

    /// The reason stays on the screen, once: a cluster without quorum gives it all night.
    fn wait(&mut self, waiting: Waiting, seen: &mut Seen) {
        self.quiet_until = Instant::now() + waiting.pause;
        let line = waiting.line();
        let before = seen.waiting.replace(waiting);
        if let (Some(stage), Some(now)) = (&self.stage, &seen.waiting) {
            if before.is_none_or(|before| before.reason != now.reason) {
                stage.line(&line);
            }
        }
        self.note(&line);
    }

    fn note(&self, text: &str) {
        if let Some(stage) = &self.stage {
            stage.note(text);
        }
    }

    fn end_stage(&mut self, detail: &str) {
        if let Some(stage) = self.stage.take() {
            stage.done(detail);
        }
    }

    /// Ends what is shown and begins the next.
    fn next_stage(&mut self, name: &str, detail: &str) {
        self.end_stage(detail);
        self.stage = Some(self.report.stage(&format!("{}: {name}", self.name)));
    }

    /// A join may wait long for an answer of the cluster: only the time limit ends it.
    fn tell_silence(&mut self) {
        if !self.silence_told {
            self.silence_told = true;
            self.report.warn(&format!(
                "{}: no word for {} s; the join may be waiting for the cluster, so this goes on",
                self.name,
                self.limits.silence.as_secs()
            ));
        }
    }

    /// Whether QEMU's end is KVM's fault, and emulation may be tried.
    fn kvm_is_to_blame(&self, status: ExitStatus, machine: &Machine, seen: &Seen) -> bool {
        // One that died at once was not seen under its name; a shell does not die like that.
        let may_be_kvm = seen.accelerator != Some(Accelerator::Tcg);
        self.limits.kvm_fallback
            && may_be_kvm
            && !self.console.kernel_seen()
            && !seen.firstboot
            && kvm_broke(status, machine)
    }

    /// Whether waiting on makes no sense.
    fn judge(&mut self, seen: &Seen) -> Option<End> {
        if let Some(fatal) = self.console.fatal() {
            let since = *self.fatal_since.get_or_insert_with(Instant::now);
            let stumbled = fatal == Fatal::Int3
                && seen.accelerator == Some(Accelerator::Tcg)
                && self.limits.second_try
                && !seen.firstboot;
            return (since.elapsed() >= LAST_WORDS).then_some(match stumbled {
                true => End::Stumbled,
                false => End::Fatal(fatal),
            });
        }
        if let Some(started) = self.started {
            let alive = self.console.kernel_seen() || seen.firstboot;
            if seen.accelerator == Some(Accelerator::Kvm)
                && self.limits.kvm_fallback
                && !alive
                && started.elapsed() >= self.limits.firmware
            {
                return Some(End::KvmUnusable);
            }
            if self.last_word.max(self.quiet_until).elapsed() >= self.limits.silence {
                if !self.joining {
                    return Some(End::Silent(self.limits.silence));
                }
                self.tell_silence();
            }
        }
        let late = self.asked.elapsed() >= self.limits.verdict;
        late.then(|| match &seen.waiting {
            Some(waiting) => End::Waiting(waiting.clone()),
            None => End::Late(self.limits.verdict),
        })
    }
}
