//! Watching an installation until the machine switches itself off, or until it is clear that it
//! never will.

use super::installer_log::{AptProgress, Lines, Said, read};
use super::machine::Files;
use super::question;
use crate::cli::Accelerator;
use crate::qemu::guest_console::{Console, Fatal};
use crate::qemu::{Control, Machine, kvm_broke};
use crate::system::interrupt;
use crate::system::tail::Tail;
use crate::system::ui::{Report, Stage};
use anyhow::Result;
use std::collections::VecDeque;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How often console and log are looked at.
const POLL: Duration = Duration::from_millis(200);
/// How often QEMU is asked whether its disk is full.
const ASK_QEMU: Duration = Duration::from_secs(2);
/// How long a prompt may stand before it counts as a question: some are answered at once.
const PROMPT: Duration = Duration::from_secs(8);
/// How long a guest may still print after a panic, so that the reason is whole.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two signs of life, ten seconds apart: more processor time (hundredths of a second) or
/// more received bytes than an idle machine has.
const BUSY_TIME: u64 = 100;
const BUSY_BYTES: u64 = 4096;
/// Work without a word that is taken for an endless loop. Under emulation on a busy machine, an
/// initramfs takes minutes.
const LONGEST_WORK: Duration = Duration::from_secs(30 * 60);
/// How many lines of the log an error shows.
const SHOWN_LINES: usize = 30;

/// How long things may take, and what may be tried again.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the start to the end.
    pub total: Duration,
    /// Without a byte on either serial port; the installer gives a sign of life every 10 s.
    pub silence: Duration,
    /// Without anything but signs of life of an idle machine.
    pub standstill: Duration,
    /// Under KVM, without a word from the kernel; only looked at with `kvm_fallback`.
    pub firmware: Duration,
    /// Whether software emulation may be tried instead of KVM.
    pub kvm_fallback: bool,
    /// Whether a start that stumbled in software emulation may be tried once more.
    pub second_try: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// Everything is on the disk, and the machine is off.
    Installed,
    /// The provision script or the seal failed.
    Failed(String),
    /// The installer asks; the lines of its question.
    Question(Vec<String>),
    /// The guest cannot go on.
    Fatal(Fatal),
    /// Neither serial port said anything for this long.
    Silent(Duration),
    /// The installer lives and has done nothing for this long.
    Standstill(Duration),
    /// KVM was used, and no guest ran under it.
    KvmUnusable,
    /// Software emulation had a bad day at the start of the kernel, and may try once more.
    Stumbled,
    /// Not done within this time.
    Late(Duration),
    /// The host's disk is full: QEMU has stopped the machine.
    NoSpace,
    /// QEMU ended by itself before everything was done.
    Exited(ExitStatus),
}

/// What was seen meanwhile.
#[derive(Debug, Default)]
pub struct Seen {
    /// The name of the last stage.
    pub stage: String,
    /// The last lines of the log, without signs of life.
    pub log: VecDeque<String>,
    /// The last lines of the console.
    pub console: Vec<String>,
}

/// Watches until the end. The last stage is shown as failed unless everything is done.
pub fn watch(
    machine: &mut Machine,
    files: &Files,
    accelerator: Accelerator,
    limits: &Limits,
    report: &Report,
    seen: &mut Seen,
) -> Result<End> {
    let now = Instant::now();
    let mut watch = Watch {
        report,
        limits,
        accelerator,
        console: Console::default(),
        console_file: Tail::new(files.console()),
        log_file: Tail::new(files.log()),
        lines: Lines::default(),
        apt: AptProgress::default(),
        control: None,
        stage: None,
        finished: false,
        started: now,
        last_byte: now,
        last_progress: now,
        last_line: now,
        used: None,
        last_on_console: now,
        asked_qemu: now,
        fatal_since: None,
    };
    watch.begin("start of the installer", seen);
    let result = watch.run(machine, files, seen);
    seen.console = watch.console.recent();
    let stage = watch.stage.take();
    if let (Ok(End::KvmUnusable | End::Stumbled), Some(stage)) = (&result, stage) {
        stage.again("");
    }
    result
}

struct Watch<'a> {
    report: &'a Report,
    limits: &'a Limits,
    accelerator: Accelerator,
    console: Console,
    console_file: Tail,
    log_file: Tail,
    lines: Lines,
    apt: AptProgress,
    control: Option<Control>,
    stage: Option<Stage<'a>>,
    finished: bool,
    started: Instant,
    last_byte: Instant,
    /// When it last did something.
    last_progress: Instant,
    /// When it last said something besides signs of life.
    last_line: Instant,
    /// Processor time and bytes of the last sign of life.
    used: Option<(u64, u64)>,
    last_on_console: Instant,
    asked_qemu: Instant,
    fatal_since: Option<Instant>,
}

impl Watch<'_> {
    fn run(&mut self, machine: &mut Machine, files: &Files, seen: &mut Seen) -> Result<End> {
        loop {
            interrupt::check()?;
            // Asked first: what it said before its end is read below.
            let exited = machine.exited()?;
            if let Some(end) = self.read(seen)? {
                return Ok(end);
            }
            if let Some(status) = exited {
                return Ok(self.exited(status, machine));
            }
            if let Some(end) = self.judge() {
                return Ok(end);
            }
            if self.disk_is_full(files) {
                return Ok(End::NoSpace);
            }
            std::thread::sleep(POLL);
        }
    }

    fn exited(&mut self, status: ExitStatus, machine: &Machine) -> End {
        if self.finished && status.success() {
            if let Some(stage) = self.stage.take() {
                stage.done("");
            }
            return End::Installed;
        }
        let kvm = self.accelerator == Accelerator::Kvm && self.limits.kvm_fallback;
        match self.console.fatal() {
            Some(fatal) => End::Fatal(fatal),
            None if kvm && !self.console.kernel_seen() && kvm_broke(status, machine) => {
                End::KvmUnusable
            }
            None => End::Exited(status),
        }
    }

    fn read(&mut self, seen: &mut Seen) -> Result<Option<End>> {
        let now = Instant::now();
        let bytes = self.console_file.read()?;
        if !bytes.is_empty() {
            self.console.feed(&bytes);
            (self.last_byte, self.last_on_console) = (now, now);
            (self.last_progress, self.last_line) = (now, now);
            if let Some(stage) = &self.stage {
                if let Some(part) = self.console.open().and_then(|l| question::progress(&l)) {
                    stage.progress(part);
                }
            }
        }
        let bytes = self.log_file.read()?;
        if !bytes.is_empty() {
            self.last_byte = now;
        }
        for line in self.lines.feed(&bytes) {
            let said = read(&line);
            if let Said::Alive(time, bytes) = said {
                self.sign_of_life(time, bytes, now);
                continue;
            }
            (self.last_progress, self.last_line) = (now, now);
            if seen.log.len() == SHOWN_LINES {
                seen.log.pop_front();
            }
            seen.log.push_back(line);
            match said {
                Said::Stage(name) => self.begin(&name, seen),
                Said::Failed(status) => return Ok(Some(End::Failed(status))),
                Said::Finished => {
                    self.finished = true;
                    self.begin("switch off", seen);
                }
                Said::Other(text) => self.note(&text),
                Said::Alive(..) => {}
            }
        }
        Ok(None)
    }

    /// Work without a word, and a download, are progress too.
    fn sign_of_life(&mut self, time: u64, bytes: u64, now: Instant) {
        let (time_before, bytes_before) = self.used.replace((time, bytes)).unwrap_or((time, bytes));
        if time >= time_before + BUSY_TIME || bytes >= bytes_before + BUSY_BYTES {
            self.last_progress = now;
        }
    }

    fn note(&mut self, text: &str) {
        let part = self.apt.line(text);
        if let Some(stage) = &self.stage {
            stage.note(text);
            if let Some(part) = part {
                stage.progress(part);
            }
        }
    }

    /// Ends what is shown and begins the next.
    fn begin(&mut self, name: &str, seen: &mut Seen) {
        if seen.stage == name && self.stage.is_some() {
            return;
        }
        if let Some(stage) = self.stage.take() {
            stage.done("");
        }
        seen.stage = name.to_owned();
        self.stage = Some(self.report.stage(name));
    }

    /// Whether waiting on makes no sense.
    fn judge(&mut self) -> Option<End> {
        if let Some(fatal) = self.console.fatal() {
            let since = *self.fatal_since.get_or_insert_with(Instant::now);
            let stumbled = fatal == Fatal::Int3
                && self.accelerator == Accelerator::Tcg
                && self.limits.second_try;
            return (since.elapsed() >= LAST_WORDS).then_some(match stumbled {
                true => End::Stumbled,
                false => End::Fatal(fatal),
            });
        }
        if self.last_on_console.elapsed() >= PROMPT {
            if let Some(lines) = question::question(&self.console.recent()) {
                return Some(End::Question(lines));
            }
        }
        if self.accelerator == Accelerator::Kvm
            && self.limits.kvm_fallback
            && !self.console.kernel_seen()
            && self.started.elapsed() >= self.limits.firmware
        {
            return Some(End::KvmUnusable);
        }
        if self.last_byte.elapsed() >= self.limits.silence {
            return Some(End::Silent(self.limits.silence));
        }
        if self.last_progress.elapsed() >= self.limits.standstill {
            return Some(End::Standstill(self.limits.standstill));
        }
        if self.last_line.elapsed() >= LONGEST_WORK {
            return Some(End::Standstill(LONGEST_WORK));
        }
        (self.started.elapsed() >= self.limits.total).then_some(End::Late(self.limits.total))
    }

    /// When the host's disk is full, QEMU stops the machine and waits for somebody who makes room.
    fn disk_is_full(&mut self, files: &Files) -> bool {
        if self.asked_qemu.elapsed() < ASK_QEMU {
            return false;
        }
        self.asked_qemu = Instant::now();
        if self.control.is_none() {
            // It may not listen yet, or have ended: the next round sees that.
            self.control = Control::open(files.folder()).ok();
        }
        let answer = self.control.as_mut().map(|c| c.execute("query-status"));
        match answer {
            Some(Ok(value)) => value["status"] == "io-error",
            Some(Err(_)) => {
                self.control = None;
                false
            }
            None => false,
        }
    }
}
