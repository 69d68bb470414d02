//! Watching a machine boot, until it says how it went or it is clear that it never will.
//!
//! What is the same for every machine is here: its console, its process, silence, the time limit,
//! Ctrl-C, and a second start where the accelerator was at fault. What it says besides, and what
//! that means, a [`Guest`] knows.

use super::accelerator::{self, Accelerator};
use super::guest_console::{Fatal, GuestConsole};
use super::machine::Machine;
use super::own_time::OwnTime;
use super::state::Held;
use crate::system::interrupt;
use crate::system::tail::Tail;
use crate::system::ui::{Stage, Ui};
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How often the machine is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long a guest may still print after a panic, so that the reason is whole.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a machine may say nothing before it is asked whether something holds it, and how often.
const ASK: Duration = Duration::from_secs(5);

/// How long things may take, in the machine's own time: what a busy PC does not give it is none of it.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// From the start to the guest's verdict.
    pub total: Duration,
    /// Without a byte on the console or the guest's other channel.
    pub silence: Duration,
    /// Under KVM, without a word from the kernel; only looked at where emulation may be tried.
    pub firmware: Duration,
}

/// How watching ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End<V> {
    /// The guest's own verdict, or what is known of it only by who watches it.
    Verdict(V),
    /// The guest cannot go on.
    Fatal(Fatal),
    /// Neither console nor channel said anything for this long.
    Silent(Duration),
    /// No verdict within this time, and how long that was for who waited.
    Late(Duration, Duration),
    /// The time is over, and something holds it. That is no fault of its own, and it loses nothing.
    Held(String),
    /// QEMU, or what starts it, ended by itself.
    Exited(ExitStatus),
}

/// Why the same machine is started once more.
enum Again {
    /// KVM was used, and no guest ran under it: its kernel said nothing, or QEMU gave up.
    KvmUnusable,
    /// Software emulation stopped the kernel at a breakpoint that nobody set.
    TcgCrash,
}

/// What one kind of machine says, and what it means.
pub(crate) trait Guest {
    /// How it ends by its own account.
    type Verdict;

    /// What another accelerator means for it, in a warning.
    const STARTS_OVER: &'static str;

    /// What stands in front of a warning about it, such as its name and a colon.
    fn prefix(&self) -> String;

    /// The name of the stage that a start begins with.
    fn first_stage(&self) -> String;

    /// Starts its machine, and forgets what an earlier start has said.
    fn start(&mut self, accelerator: Accelerator) -> Result<Machine>;

    /// The files of its console and its other channel.
    fn files(&self) -> (PathBuf, PathBuf);

    /// QEMU runs, with this accelerator.
    fn started(&mut self, _: Accelerator, _: &Machine, _: &mut Watch<'_>) {}

    /// There is something new on the console.
    fn console(&mut self, watch: &mut Watch<'_>);

    /// Some time has passed, a tenth of a second or more.
    fn tick(&self, _: &Watch<'_>) {}

    /// These bytes came on the other channel.
    fn channel(&mut self, bytes: &[u8], watch: &mut Watch<'_>) -> Option<Self::Verdict>;

    /// Whether it has begun something that a second start must not begin anew.
    fn has_begun(&self) -> bool {
        false
    }

    /// Whether it has ended well by switching itself off.
    fn ended(&mut self, _: ExitStatus, _: &mut Watch<'_>) -> Option<Self::Verdict> {
        None
    }

    /// Whether it makes no sense to wait on, although it lives.
    fn is_stuck(&mut self, _: &mut Watch<'_>) -> Option<Self::Verdict> {
        None
    }

    /// Whether its silence has a good reason.
    fn may_be_silent(&mut self, _: &Watch<'_>) -> bool {
        false
    }

    /// What it is when the time is over or the user asks to stop, where that is no failure.
    fn left_alone(&mut self, _: &mut Watch<'_>) -> Option<Self::Verdict> {
        None
    }
}

/// What was watched, when it has ended. The machine may still run.
pub(crate) struct Watched<V> {
    /// The machine; dropped, it is ended.
    pub machine: Machine,
    pub end: End<V>,
    pub console: GuestConsole,
}

/// How much longer than a limit of the machine's own time it was for who waited, where that is much.
pub(crate) fn busy(limit: Duration, passed: Duration) -> String {
    const MUCH: Duration = Duration::from_secs(30);
    match passed >= limit + MUCH {
        true => format!("; this PC is busy: in all it took {} s", passed.as_secs()),
        false => String::new(),
    }
}

/// Starts a machine and watches it to its end: again without KVM where KVM runs no guest and
/// `accelerator` leaves the choice, and once more where emulation crashed. On Ctrl-C the error is
/// [`interrupt::Interrupted`]. On any error the machine has been ended.
pub(crate) fn boot<G: Guest>(
    guest: &mut G,
    accelerator: Accelerator,
    may_fall_back: bool,
    limits: &Limits,
    ui: &Ui,
) -> Result<Watched<G::Verdict>> {
    let (mut accelerator, mut may_fall_back) = (accelerator, may_fall_back);
    let mut second_try = true;
    loop {
        let files = files_to_come(guest.files());
        let mut machine = guest.start(accelerator)?;
        let mut watch = Watch::new(files, machine.pid(), limits, ui);
        watch.may_fall_back = may_fall_back;
        watch.second_try = second_try;
        watch.next_stage(&guest.first_stage(), "");
        let again = match watch.until_end(guest, &mut machine)? {
            Ok(end) => {
                let console = watch.console;
                return Ok(Watched {
                    machine,
                    end,
                    console,
                });
            }
            Err(again) => again,
        };
        if let Some(stage) = watch.stage.take() {
            stage.again(match again {
                Again::KvmUnusable => "KVM runs no guest",
                Again::TcgCrash => "stopped at a breakpoint (int3)",
            });
        }
        machine.end();
        match again {
            Again::KvmUnusable => {
                ui.warn(&format!(
                    "KVM runs no guest on this PC: {} with software emulation, until this PC is \
                     started again",
                    G::STARTS_OVER
                ));
                accelerator::remember_no_kvm(ui);
                accelerator = Accelerator::Tcg;
                may_fall_back = false;
            }
            Again::TcgCrash => {
                ui.warn(&format!(
                    "{}software emulation crashed at the start of the kernel: starting once more",
                    guest.prefix()
                ));
                second_try = false;
            }
        }
    }
}

/// What an earlier start has said in these files is not taken for this one's.
fn files_to_come((console, channel): (PathBuf, PathBuf)) -> (Tail, Tail) {
    (Tail::of_next(console), Tail::of_next(channel))
}

/// A machine that is being watched.
pub(crate) struct Watch<'a> {
    /// What its console has said.
    pub console: GuestConsole,
    /// What is shown of it.
    pub stage: Option<Stage<'a>>,
    pub ui: &'a Ui,
    /// Until then the guest has announced to say nothing.
    pub quiet_until: Instant,
    pub limits: &'a Limits,
    console_file: Tail,
    channel_file: Tail,
    may_fall_back: bool,
    second_try: bool,
    begun: Instant,
    own_time: OwnTime,
    /// Since when QEMU runs, in its own time, and with what. run.sh, which starts it, may have a large
    /// base to check.
    started: Option<(Duration, Accelerator)>,
    /// When it said something last, in its own time.
    last_byte: Duration,
    /// The same by the clock.
    heard: Instant,
    /// When it is asked next whether something holds it, and what did.
    ask_at: Instant,
    held: Option<Held>,
    fatal_since: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new((console, channel): (Tail, Tail), pid: u32, limits: &'a Limits, ui: &'a Ui) -> Self {
        let now = Instant::now();
        Watch {
            console: GuestConsole::default(),
            stage: None,
            ui,
            quiet_until: now,
            limits,
            console_file: console,
            channel_file: channel,
            may_fall_back: false,
            second_try: false,
            begun: now,
            own_time: OwnTime::of(pid),
            started: None,
            last_byte: Duration::ZERO,
            heard: now,
            ask_at: now,
            held: None,
            fatal_since: None,
        }
    }

    /// Ends the stage that is shown, and begins the next; `detail` is of the one that ends.
    pub(crate) fn next_stage(&mut self, name: &str, detail: &str) {
        self.end_stage(detail);
        self.stage = Some(self.ui.stage(name));
    }

    /// Ends the stage that is shown, well.
    pub(crate) fn end_stage(&mut self, detail: &str) {
        if let Some(stage) = self.stage.take() {
            stage.done(detail);
        }
    }

    /// What the guest is doing now.
    pub(crate) fn note(&self, text: &str) {
        if let Some(stage) = &self.stage {
            stage.note(text);
        }
    }

    /// The end, or why there is another start.
    fn until_end<G: Guest>(
        &mut self,
        guest: &mut G,
        machine: &mut Machine,
    ) -> Result<Result<End<G::Verdict>, Again>> {
        loop {
            if interrupt::requested() {
                if let Some(verdict) = guest.left_alone(self) {
                    return Ok(Ok(End::Verdict(verdict)));
                }
            }
            interrupt::check()?;
            // Asked first: what a process said before its end is read below.
            let exited = machine.exited()?;
            if let (None, Some(accelerator)) = (self.started, machine.accelerator()) {
                let now = self.lived();
                self.started = Some((now, accelerator));
                self.last_byte = now;
                guest.started(accelerator, machine, self);
            }
            if let Some(verdict) = self.listen(guest)? {
                return Ok(Ok(End::Verdict(verdict)));
            }
            guest.tick(self);
            let end = match exited {
                Some(status) => Some(self.exited(guest, status, machine)),
                None => self.classify(guest, machine),
            };
            if let Some(end) = end {
                return Ok(end);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Reads what is new; the guest's verdict, when that was there.
    fn listen<G: Guest>(&mut self, guest: &mut G) -> Result<Option<G::Verdict>> {
        let bytes = self.console_file.new_bytes()?;
        if !bytes.is_empty() {
            self.spoke();
            self.console.feed(&bytes);
            guest.console(self);
        }
        let bytes = self.channel_file.new_bytes()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.spoke();
        Ok(guest.channel(&bytes, self))
    }

    /// What the end of QEMU's process means.
    fn exited<G: Guest>(
        &mut self,
        guest: &mut G,
        status: ExitStatus,
        machine: &Machine,
    ) -> Result<End<G::Verdict>, Again> {
        if let Some(verdict) = guest.ended(status, self) {
            return Ok(End::Verdict(verdict));
        }
        if let Some(fatal) = self.console.fatal() {
            return Ok(End::Fatal(fatal));
        }
        // One that died at once was not seen under its name; a shell does not die like that.
        let may_be_kvm = !matches!(self.started, Some((_, Accelerator::Tcg)));
        let kvm = may_be_kvm && self.no_kernel_yet(guest);
        match kvm && accelerator::kvm_broke(status, &machine.words()) {
            true => Err(Again::KvmUnusable),
            false => Ok(End::Exited(status)),
        }
    }

    /// Whether emulation may be tried instead of KVM, and nothing but firmware and boot loader was
    /// seen yet.
    fn no_kernel_yet(&self, guest: &impl Guest) -> bool {
        self.may_fall_back && !self.console.kernel_seen() && !guest.has_begun()
    }

    /// Whether waiting on makes no sense.
    fn classify<G: Guest>(
        &mut self,
        guest: &mut G,
        machine: &Machine,
    ) -> Option<Result<End<G::Verdict>, Again>> {
        if let Some(fatal) = self.console.fatal() {
            let since = *self.fatal_since.get_or_insert_with(Instant::now);
            let in_emulation = matches!(self.started, Some((_, Accelerator::Tcg)));
            let crashed = fatal == Fatal::Int3 && in_emulation && !guest.has_begun();
            return (since.elapsed() >= LAST_WORDS).then_some(match crashed && self.second_try {
                true => Err(Again::TcgCrash),
                false => Ok(End::Fatal(fatal)),
            });
        }
        if let Some(verdict) = guest.is_stuck(self) {
            return Some(Ok(End::Verdict(verdict)));
        }
        let now = self.lived();
        if let Some((since, accelerator)) = self.started {
            if Instant::now() < self.quiet_until {
                self.last_byte = now;
            }
            let silent = now.saturating_sub(self.last_byte);
            let kvm = accelerator == Accelerator::Kvm
                && now.saturating_sub(since) >= self.limits.firmware
                && self.no_kernel_yet(guest);
            let silence = self.limits.silence;
            if kvm || self.heard.elapsed() >= silence.min(ASK) {
                self.ask(guest, machine);
            }
            if self.held.is_some() {
                self.last_byte = now;
                self.started = Some((now, accelerator));
            } else if kvm {
                return Some(Err(Again::KvmUnusable));
            } else if silent >= silence && !guest.may_be_silent(self) {
                return Some(Ok(End::Silent(silence)));
            }
        }
        let total = self.limits.total;
        (now >= total).then(|| {
            if let Some(verdict) = guest.left_alone(self) {
                return Ok(End::Verdict(verdict));
            }
            Ok(match self.held.take() {
                Some(held) => End::Held(held.words(machine.pid())),
                None => End::Late(total, self.begun.elapsed()),
            })
        })
    }

    /// Asks QEMU from time to time whether something holds the machine, says so once, and lets it go on,
    /// should that be over.
    fn ask(&mut self, guest: &impl Guest, machine: &Machine) {
        if Instant::now() < self.ask_at {
            return;
        }
        self.ask_at = Instant::now() + ASK;
        let held = machine.held().filter(Held::may_end);
        if let (Some(what), true) = (&held, held != self.held) {
            self.ui.warn(&format!(
                "{}it is held: {}",
                guest.prefix(),
                what.words(machine.pid())
            ));
        }
        if held == Some(Held::Disk) {
            let _ = machine.go_on();
        }
        self.held = held;
    }

    /// The machine's own time so far.
    pub(crate) fn lived(&mut self) -> Duration {
        self.own_time.lived()
    }

    fn spoke(&mut self) {
        self.last_byte = self.lived();
        self.heard = Instant::now();
        self.held = None;
    }
}
