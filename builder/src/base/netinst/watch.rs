//! What the installer says while it works: its screen on the console, and its log.

use super::installer_log::{AptProgress, Lines, Said, classify};
use super::machine::{self, Files, Hardware};
use super::question;
use crate::qemu::{self, Accelerator, Guest, Machine, Watch};
use crate::system::ui::Ui;
use anyhow::Result;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How often QEMU is asked whether its disk is full.
const ASK_QEMU: Duration = Duration::from_secs(2);
/// How long a prompt may stand before it counts as a question: some are answered at once.
const PROMPT: Duration = Duration::from_secs(8);
/// Between two signs of life, ten seconds apart: more processor time (hundredths of a second) or
/// more received bytes than an idle machine has.
const BUSY_TIME: u64 = 100;
const BUSY_BYTES: u64 = 4096;
/// Work without a word that is taken for an endless loop. Under emulation on a busy machine, an
/// initramfs takes minutes.
const LONGEST_WORK: Duration = Duration::from_secs(30 * 60);
/// How many lines of the log an error shows.
const SHOWN_LINES: usize = 30;

/// How an installation ends by its own account.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Everything is on the disk, and the machine is off.
    Installed,
    /// The provision script or the seal failed, with this exit status.
    Failed(String),
    /// The installer asks; the lines of its question.
    Question(Vec<String>),
    /// The installer lives and has done nothing for this long.
    Standstill(Duration),
    /// The host's disk is full: QEMU has stopped the machine.
    NoSpace,
}

pub(super) struct Installer<'a> {
    pub files: &'a Files,
    /// The name of the last stage.
    pub stage: String,
    /// The last lines of the log, without signs of life.
    pub log: VecDeque<String>,
    hardware: Hardware<'a>,
    /// Without anything but signs of life of an idle machine.
    standstill: Duration,
    ui: &'a Ui,
    lines: Lines,
    apt: AptProgress,
    finished: bool,
    /// The machine's own time, in which the others are: on a busy PC it gets little.
    now: Duration,
    /// When it last did something.
    last_progress: Duration,
    /// When it last said something besides signs of life.
    last_line: Duration,
    /// Processor time and bytes of the last sign of life.
    used: Option<(u64, u64)>,
    last_on_console: Duration,
    asked_qemu: Instant,
}

impl<'a> Installer<'a> {
    /// One that is not started yet. `standstill` is how long it may live and do nothing.
    pub(super) fn new(
        files: &'a Files,
        hardware: Hardware<'a>,
        standstill: Duration,
        ui: &'a Ui,
    ) -> Self {
        let now = Instant::now();
        Installer {
            files,
            stage: String::new(),
            log: VecDeque::new(),
            hardware,
            standstill,
            ui,
            lines: Lines::default(),
            apt: AptProgress::default(),
            finished: false,
            now: Duration::ZERO,
            last_progress: Duration::ZERO,
            last_line: Duration::ZERO,
            used: None,
            last_on_console: Duration::ZERO,
            asked_qemu: now,
        }
    }

    /// Work without a word, and a download, are progress too.
    fn sign_of_life(&mut self, time: u64, bytes: u64) {
        let (time_before, bytes_before) = self.used.replace((time, bytes)).unwrap_or((time, bytes));
        if time >= time_before + BUSY_TIME || bytes >= bytes_before + BUSY_BYTES {
            self.last_progress = self.now;
        }
    }

    fn note(&mut self, text: &str, watch: &Watch<'_>) {
        let part = self.apt.line(text);
        watch.note(text);
        if let (Some(stage), Some(part)) = (&watch.stage, part) {
            stage.progress(part);
        }
    }

    fn begin(&mut self, name: &str, watch: &mut Watch<'_>) {
        if self.stage != name || watch.stage.is_none() {
            name.clone_into(&mut self.stage);
            watch.next_stage(name, "");
        }
    }

    /// When the host's disk is full, QEMU stops the machine and waits for somebody who makes room.
    fn disk_is_full(&mut self) -> bool {
        if self.asked_qemu.elapsed() < ASK_QEMU {
            return false;
        }
        self.asked_qemu = Instant::now();
        qemu::held_by_its_disk(self.files.folder())
    }
}

impl Guest for Installer<'_> {
    type Verdict = Verdict;

    const STARTS_OVER: &'static str = "starting over";

    fn prefix(&self) -> String {
        String::new()
    }

    fn first_stage(&self) -> String {
        self.stage.clone()
    }

    fn start(&mut self, accelerator: Accelerator) -> Result<Machine> {
        if accelerator == Accelerator::Tcg {
            self.ui
                .warn("software emulation: the installation takes a quarter of an hour or more");
        }
        *self = Installer::new(self.files, self.hardware, self.standstill, self.ui);
        "start of the installer".clone_into(&mut self.stage);
        machine::start(self.files, self.hardware, accelerator)
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        (self.files.console(), self.files.log())
    }

    fn console(&mut self, watch: &mut Watch<'_>) {
        self.now = watch.lived();
        let now = self.now;
        self.last_on_console = now;
        (self.last_progress, self.last_line) = (now, now);
        let part = watch.console.open().and_then(|l| question::progress(&l));
        if let (Some(stage), Some(part)) = (&watch.stage, part) {
            stage.progress(part);
        }
    }

    fn channel(&mut self, bytes: &[u8], watch: &mut Watch<'_>) -> Option<Verdict> {
        self.now = watch.lived();
        for line in self.lines.feed(bytes) {
            let said = classify(&line);
            if let Said::Alive(time, bytes) = said {
                self.sign_of_life(time, bytes);
                continue;
            }
            self.last_line = self.now;
            self.last_progress = self.last_line;
            if self.log.len() == SHOWN_LINES {
                self.log.pop_front();
            }
            self.log.push_back(line);
            match said {
                Said::Stage(name) => self.begin(&name, watch),
                Said::Failed(status) => return Some(Verdict::Failed(status)),
                Said::Finished => {
                    self.finished = true;
                    self.begin("switch off", watch);
                }
                Said::Other(text) => self.note(&text, watch),
                Said::Alive(..) => {}
            }
        }
        None
    }

    fn ended(&mut self, status: ExitStatus, watch: &mut Watch<'_>) -> Option<Verdict> {
        let is_well = self.finished && status.success();
        is_well.then(|| {
            watch.end_stage("");
            Verdict::Installed
        })
    }

    fn is_stuck(&mut self, watch: &mut Watch<'_>) -> Option<Verdict> {
        self.now = watch.lived();
        let since = |then: Duration| self.now.saturating_sub(then);
        if since(self.last_on_console) >= PROMPT {
            if let Some(lines) = question::question(&watch.console.recent()) {
                return Some(Verdict::Question(lines));
            }
        }
        if since(self.last_progress) >= self.standstill {
            return Some(Verdict::Standstill(self.standstill));
        }
        if since(self.last_line) >= LONGEST_WORK {
            return Some(Verdict::Standstill(LONGEST_WORK));
        }
        self.disk_is_full().then_some(Verdict::NoSpace)
    }
}
