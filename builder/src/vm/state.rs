//! The state of a VM: one word for what its QEMU does and what its guest has said last.

use super::bases::base_under;
use super::boots::{Boot, boots};
use super::folder::VmFolder;
use super::retired::Retired;
use super::status::{failure, plain, step_line};
use crate::qemu::{GuestConsole, Running};
use crate::system::tail::end_of;
use crate::system::text;
use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use firstboot::contract::status::{Waiting, WaitingEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

/// How much is looked at of the status and of the console, in bytes: `run.sh status` sends no more.
const MOST_STATUS: usize = 64 << 10;
const MOST_CONSOLE: usize = 8 << 10;
/// How long a VM that is not configured may say nothing, beyond a pause that it has announced. The
/// longest honest silence is a join that waits for its cluster's answer.
const SILENCE: u64 = 10 * 60;

/// What QEMU does with the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Qemu {
    Running,
    /// By a disk that cannot be written, by a debugger, by a panic of the guest.
    Paused,
    /// There is none.
    Stopped,
}

/// The object that `run.sh status --json` prints, as it is.
#[derive(Debug, Deserialize)]
struct Printed {
    name: String,
    state: Qemu,
    #[serde(default)]
    why: String,
    #[serde(default)]
    pid: Option<u32>,
    #[serde(default)]
    last_sign: Option<u64>,
    #[serde(default)]
    overlay_bytes: Option<u64>,
    #[serde(default)]
    log_bytes: Option<u64>,
    #[serde(default)]
    overlay_base: Option<String>,
    #[serde(default)]
    retired: bool,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    status_base64: String,
    #[serde(default)]
    console_base64: String,
}

/// A VM as its PC sees it. All texts are harmless for a terminal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// The VM's name.
    pub name: String,
    pub qemu: Qemu,
    /// QEMU's word for why it is paused, such as `io-error`; why a running one does not say how it is;
    /// else empty.
    pub why: String,
    /// QEMU's process.
    pub pid: Option<u32>,
    /// When console or status port last said something, in seconds since 1970.
    pub last_sign: Option<u64>,
    /// What its disk takes on the PC, in bytes.
    pub overlay_bytes: Option<u64>,
    /// What its logs take, in bytes.
    pub log_bytes: Option<u64>,
    /// SHA-256 of the base that its disk was made on.
    pub overlay_base: Option<String>,
    /// It has left its cluster for good.
    pub retired: bool,
    /// What starts it again after a boot of the PC: `systemd`, `cron` or `none`.
    pub service: Option<String>,
    /// The boots since QEMU was started, the oldest first.
    pub boots: Vec<Boot>,
    /// The console's last lines.
    pub console: Vec<String>,
    /// The line on the console after which nothing follows.
    fatal: Option<&'static str>,
}

impl Seen {
    /// Reads what `run.sh status --json` printed. A newer one may say more.
    ///
    /// # Errors
    ///
    /// In words that follow a VM's or file's name: what is missing or is not what it should be.
    pub(crate) fn read(value: &Value) -> Result<Self> {
        ensure!(value.is_object(), "it is no object");
        let printed: Printed = serde_json::from_value(plain(value))?;
        ensure!(!printed.name.is_empty(), "`name` is empty");
        let status = decoded("status_base64", &printed.status_base64, MOST_STATUS)?;
        let console = decoded("console_base64", &printed.console_base64, MOST_CONSOLE)?;
        let (console, fatal) = last_words(&console);
        Ok(Seen {
            name: printed.name,
            qemu: printed.state,
            why: printed.why,
            pid: printed.pid,
            last_sign: printed.last_sign,
            overlay_bytes: printed.overlay_bytes,
            log_bytes: printed.log_bytes,
            overlay_base: printed.overlay_base,
            retired: printed.retired,
            service: printed.service,
            boots: boots(&status),
            console,
            fatal,
        })
    }

    /// A VM of this PC, without what only a table of many needs: sizes and service.
    pub(crate) fn here(folder: &VmFolder<'_>, running: Option<&Running>) -> Self {
        let logs = ["console.log", "status.jsonl"].map(|name| folder.file(name));
        let times = logs.iter().filter_map(|file| {
            let changed = fs::metadata(file).ok()?.modified().ok()?;
            Some(changed.duration_since(UNIX_EPOCH).ok()?.as_secs())
        });
        let (console, fatal) = last_words(&end_of(&logs[0], MOST_CONSOLE));
        let paused = running.and_then(|run| run.paused.clone());
        Seen {
            name: folder.name().to_owned(),
            qemu: match (running, &paused) {
                (None, _) => Qemu::Stopped,
                (Some(_), Some(_)) => Qemu::Paused,
                (Some(_), None) => Qemu::Running,
            },
            why: paused.unwrap_or_default(),
            pid: running.map(|run| run.pid),
            last_sign: times.max(),
            overlay_bytes: None,
            log_bytes: None,
            overlay_base: base_under(folder),
            retired: Retired::of(&folder.path).is_some(),
            service: None,
            boots: boots(&end_of(&logs[1], MOST_STATUS)),
            console,
            fatal,
        }
    }

    /// What there is to say of it in this state, for the end of a line: while it boots, the last step.
    pub(crate) fn last_word(&self, state: &State) -> String {
        match state {
            State::Configured => state.word().to_owned(),
            State::Failed(why) => format!("{}: {why}", state.word()),
            State::Booting => {
                let step = self.boots.last().and_then(|boot| boot.steps.last());
                step.map(|step| step_line(step, 0)).unwrap_or_default()
            }
            other => other.reason().to_owned(),
        }
    }

    /// The boot in which firstboot did its work: the first that has steps.
    pub(crate) fn first_boot(&self) -> Option<&Boot> {
        self.boots.iter().find(|boot| !boot.steps.is_empty())
    }

    /// How long it has said nothing at `now`, where that is longer than it should be. A configured
    /// machine has nothing to say.
    pub(crate) fn silent(&self, now: u64) -> Option<Duration> {
        let boot = self.boots.last();
        if self.qemu != Qemu::Running || boot.is_some_and(|boot| boot.verdict.is_some()) {
            return None;
        }
        let pause = boot.and_then(|boot| boot.waiting.as_ref());
        let pause = pause.map_or(0, |waiting| waiting.pause().as_secs());
        let silence = now.saturating_sub(self.last_sign?);
        (silence > pause + SILENCE).then(|| Duration::from_secs(silence))
    }
}

/// The end of a text in base64.
fn decoded(field: &str, base64: &str, most: usize) -> Result<Vec<u8>> {
    // Some base64 programs end their lines.
    let base64: String = base64.split_whitespace().collect();
    let mut bytes =
        Base64::decode_vec(&base64).with_context(|| format!("`{field}` is no base64"))?;
    let surplus = bytes.len().saturating_sub(most);
    Ok(bytes.split_off(surplus))
}

/// The last lines of a console, and the one after which nothing follows.
pub(crate) fn last_words(bytes: &[u8]) -> (Vec<String>, Option<&'static str>) {
    /// What firmware and kernel begin with: what stands before belongs to an earlier boot.
    const BEGINNINGS: [&str; 2] = ["SeaBIOS (version", "Linux version"];
    let text = String::from_utf8_lossy(bytes);
    let begins = BEGINNINGS
        .iter()
        .filter_map(|words| text.rfind(words))
        .max();
    let (mut whole, mut last_boot) = (GuestConsole::default(), GuestConsole::default());
    whole.feed(bytes);
    last_boot.feed(text[begins.unwrap_or(0)..].as_bytes());
    (
        whole.last_lines(),
        last_boot.fatal().map(|fatal| fatal.text()),
    )
}

/// What is to be said of a VM, in one word and, where there is one, a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, and firstboot said that all is done.
    Configured,
    /// It runs, and firstboot has not said its last word.
    Booting,
    /// It runs and is well, and a step has to wait: for how long still, and why.
    Waiting(String),
    /// It runs, and firstboot or the kernel gave up: why.
    Failed(String),
    /// QEMU holds it: why.
    Paused(String),
    /// There is no QEMU: what firstboot said last.
    Stopped(String),
    /// Its PC has no folder of it.
    Absent,
    /// It has left its cluster for good; what QEMU does all the same.
    Retired(String),
    /// Its PC said nothing, or nothing that can be read: why.
    NoAnswer(String),
}

impl State {
    /// All words, the worst first: what an admin has to look at comes before what is well.
    pub(crate) const WORDS: [&str; 9] = [
        "failed",
        "paused",
        "no answer",
        "waiting",
        "booting",
        "absent",
        "stopped",
        "configured",
        "retired",
    ];

    /// Of a VM that its PC has told about at `now`, in seconds since 1970.
    pub(crate) fn of(seen: &Seen, now: u64) -> State {
        let last = seen.boots.last();
        let verdict = last.and_then(|boot| boot.verdict.as_ref());
        let failure = verdict.and_then(failure).map(|why| text::one_line(&why));
        if seen.retired {
            let runs = match seen.qemu {
                Qemu::Stopped => "",
                Qemu::Running | Qemu::Paused => "it has a QEMU all the same",
            };
            return State::Retired(runs.to_owned());
        }
        match (seen.qemu, seen.fatal, failure) {
            (Qemu::Paused, ..) => State::Paused(paused_words(&seen.why)),
            (Qemu::Stopped, _, Some(reason)) => State::Stopped(format!("it had failed: {reason}")),
            (Qemu::Stopped, ..) => State::Stopped(match last {
                Some(boot) if boot.is_configured() => "it was configured".to_owned(),
                Some(_) => "it was not configured yet".to_owned(),
                None => String::new(),
            }),
            (Qemu::Running, Some(fatal), _) => State::Failed(fatal.to_owned()),
            (Qemu::Running, None, Some(reason)) => State::Failed(reason),
            (Qemu::Running, None, None) => match last {
                Some(boot) if boot.is_configured() => State::Configured,
                Some(Boot {
                    waiting: Some(waiting),
                    ..
                }) => {
                    let since = now.saturating_sub(seen.last_sign.unwrap_or(now));
                    State::Waiting(waiting_words(waiting, since))
                }
                Some(_) | None => State::Booting,
            },
        }
    }

    /// Its word; one of [`State::WORDS`].
    pub(crate) fn word(&self) -> &'static str {
        match self {
            State::Configured => "configured",
            State::Booting => "booting",
            State::Waiting(_) => "waiting",
            State::Failed(_) => "failed",
            State::Paused(_) => "paused",
            State::Stopped(_) => "stopped",
            State::Absent => "absent",
            State::Retired(_) => "retired",
            State::NoAnswer(_) => "no answer",
        }
    }

    /// More than the word, on one line; empty where there is no more.
    pub(crate) fn reason(&self) -> &str {
        match self {
            State::Waiting(why)
            | State::Failed(why)
            | State::Paused(why)
            | State::Stopped(why)
            | State::Retired(why)
            | State::NoAnswer(why) => why,
            State::Configured | State::Booting | State::Absent => "",
        }
    }
}

/// It on one line, `since` seconds after it was said.
fn waiting_words(said: &WaitingEvent, since: u64) -> String {
    let rest = said.pause().checked_sub(Duration::from_secs(since));
    let waiting = Waiting {
        step: said.step.clone(),
        attempt: said.attempt,
        next: rest.map(|rest| rest.as_secs_f64()),
        reason: said.reason.clone(),
    };
    waiting.words(0.0)
}

/// QEMU's words for a halt (`RunState` of its QMP reference), for an admin.
fn paused_words(why: &str) -> String {
    match why {
        "io-error" => {
            "QEMU cannot write its disk (io-error): the PC's disk or quota is full".into()
        }
        "guest-panicked" => "the guest's kernel panicked (guest-panicked)".into(),
        "internal-error" => "QEMU met an error of its own (internal-error)".into(),
        "paused" => "by QEMU's monitor (paused)".into(),
        // run.sh's own words, or none.
        why if why.is_empty() || why.contains(' ') => why.to_owned(),
        other => format!("QEMU says {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// When the PC told it.
    const NOW: u64 = 1_795_700_000;

    const STARTED: &str = r#"{"event":"stage","stage":"local","state":"started","uptime":6.5}"#;
    const WAITS: &str = r#"{"event":"waiting","stage":"join","step":"join","attempt":4,"seconds":180,"reason":"no quorum","uptime":30}"#;
    const CONFIGURED: &str = r#"{"event":"verdict","result":"configured","uptime":54.5}"#;
    const FAILED: &str = r#"{"event":"verdict","result":"failed","reason":"step network: cannot write\ncaused by: full","uptime":54.5}"#;
    const UNCONFIGURED: &str = r#"{"event":"verdict","result":"unconfigured","uptime":54.5}"#;

    fn printed(state: &str, status: &[&str], console: &str) -> Value {
        let status: String = status.iter().map(|line| format!("{line}\n")).collect();
        json!({
            "name": "vm101", "state": state, "why": "", "pid": 123, "last_sign": NOW - 60,
            "overlay_bytes": 26_000_000, "log_bytes": 9000, "overlay_base": "ab".repeat(32),
            "retired": false, "service": "systemd", "newer": {"x": 1},
            "status_base64": Base64::encode_string(status.as_bytes()),
            "console_base64": Base64::encode_string(console.as_bytes()),
        })
    }

    fn with(mut value: Value, key: &str, other: Value) -> Value {
        value[key] = other;
        value
    }

    fn told(value: &Value) -> (&'static str, String) {
        let state = State::of(&Seen::read(value).unwrap(), NOW);
        (state.word(), state.reason().to_owned())
    }

    #[test]
    fn each_state_has_its_word_and_its_reason() {
        let running = |lines: &[&str]| printed("running", lines, "login: ");
        let stopped = |lines: &[&str]| printed("stopped", lines, "");
        let paused = |why: &str| with(printed("paused", &[CONFIGURED], ""), "why", why.into());
        let wait = "joining, attempt 4, next in 2 min, because no quorum";
        let panic = "[ 1.0] Kernel panic - not syncing: VFS\r\n";
        let again = format!("{panic}SeaBIOS (version 1.16.2)\r\nlogin: ");
        let retired = |value| with(value, "retired", true.into());
        let full = "QEMU cannot write its disk (io-error): the PC's disk or quota is full";
        let failed = "step network: cannot write; caused by: full";
        let cases = [
            (running(&[STARTED, CONFIGURED]), "configured", ""),
            (running(&[]), "booting", ""),
            (running(&[STARTED]), "booting", ""),
            (running(&[STARTED, WAITS]), "waiting", wait),
            // It is at work again.
            (running(&[CONFIGURED, STARTED]), "booting", ""),
            (running(&[STARTED, WAITS, CONFIGURED]), "configured", ""),
            (running(&[FAILED]), "failed", failed),
            (
                running(&[UNCONFIGURED]),
                "failed",
                "firstboot found no seed disk",
            ),
            (
                printed("running", &[CONFIGURED], panic),
                "failed",
                "the guest's kernel panicked",
            ),
            (printed("running", &[CONFIGURED], &again), "configured", ""),
            (paused("io-error"), "paused", full),
            (paused("watchdog"), "paused", "QEMU says watchdog"),
            (
                paused("the process is stopped"),
                "paused",
                "the process is stopped",
            ),
            (paused(""), "paused", ""),
            (stopped(&[]), "stopped", ""),
            (stopped(&[STARTED]), "stopped", "it was not configured yet"),
            (stopped(&[CONFIGURED]), "stopped", "it was configured"),
            (
                stopped(&[UNCONFIGURED]),
                "stopped",
                "it had failed: firstboot found no seed disk",
            ),
            (retired(stopped(&[CONFIGURED])), "retired", ""),
            (
                retired(running(&[CONFIGURED])),
                "retired",
                "it has a QEMU all the same",
            ),
        ];
        for (value, word, reason) in cases {
            assert_eq!(told(&value), (word, reason.to_owned()), "{value}");
            assert!(State::WORDS.contains(&word));
        }
    }

    #[test]
    fn a_pause_that_is_over_is_an_attempt() {
        let value = printed("running", &[STARTED, WAITS], "");
        let value = with(value, "last_sign", (NOW - 181).into());
        let under_way = "joining, attempt 4, under way, because no quorum";
        assert_eq!(told(&value), ("waiting", under_way.to_owned()));
    }

    #[test]
    fn a_machine_that_should_speak_and_does_not_is_silent() {
        let silent = |lines: &[&str], age: u64| {
            let value = with(
                printed("running", lines, ""),
                "last_sign",
                (NOW - age).into(),
            );
            Seen::read(&value).unwrap().silent(NOW)
        };
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        assert_eq!(silent(&[STARTED], 600), None);
        assert_eq!(silent(&[STARTED], 660), minutes(11));
        assert_eq!(silent(&[], 660), minutes(11));
        // It has said that it will say nothing for three minutes.
        assert_eq!(silent(&[STARTED, WAITS], 780), None);
        assert_eq!(silent(&[STARTED, WAITS], 840), minutes(14));
        assert_eq!(silent(&[CONFIGURED], 86_400), None);
        let off = with(printed("stopped", &[], ""), "last_sign", 0.into());
        assert_eq!(Seen::read(&off).unwrap().silent(NOW), None);
    }

    #[test]
    fn what_a_pc_says_is_made_harmless_or_refused() {
        let value = with(
            printed("running", &[], "\u{1b}[2Jlogin: "),
            "name",
            "vm\u{1b}[31m101".into(),
        );
        let seen = Seen::read(&value).unwrap();
        assert_eq!(
            (seen.name.as_str(), &seen.console[..]),
            ("vm101", &["login:".to_owned()][..])
        );
        let cases = [
            (
                "state",
                json!("flying"),
                "unknown variant `flying`, expected one of `running`, `paused`, `stopped`",
            ),
            ("name", json!(""), "`name` is empty"),
            (
                "pid",
                json!(-1),
                "invalid value: integer `-1`, expected u32",
            ),
            (
                "status_base64",
                json!("<script>"),
                "`status_base64` is no base64: invalid Base64 encoding",
            ),
            (
                "console_base64",
                json!([1]),
                "invalid type: sequence, expected a string",
            ),
        ];
        for (key, other, expected) in cases {
            let error = Seen::read(&with(printed("running", &[], ""), key, other)).unwrap_err();
            assert_eq!(format!("{error:#}"), expected);
        }
        let error = Seen::read(&json!([])).unwrap_err();
        assert_eq!(format!("{error:#}"), "it is no object");
    }

    #[test]
    fn of_a_long_status_the_end_counts() {
        let long = vec![STARTED; 2000];
        let value = printed("running", &[&long[..], &[CONFIGURED]].concat(), "");
        let seen = Seen::read(&value).unwrap();
        assert_eq!(seen.boots.len(), 1);
        assert!(seen.boots[0].is_configured());
        let wrapped = value["status_base64"].as_str().unwrap();
        let (one, two) = wrapped.split_at(76);
        let value = with(
            value.clone(),
            "status_base64",
            format!("{one}\n{two}\n").into(),
        );
        assert_eq!(Seen::read(&value).unwrap(), seen);
    }
}
