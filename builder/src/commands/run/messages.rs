//! The words of `imgbuild run`: the table of steps, what comes next, what went wrong.

use super::options::Options;
use super::watch::{Seen, Verdict};
use crate::commands::new_base::lab_option;
use crate::config::lab::Vm;
use crate::qemu::{End, GuestConsole, busy};
use crate::system::text::{indented, plain_lines};
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::login::{self, Login};
use crate::vm::status::step_line;
use firstboot::contract::status::{StepResult, WaitingEvent};
use serde_json::json;
use std::fmt::Write;

/// The table of steps with their times.
pub(super) fn steps(name: &str, seen: &Seen, ui: &Ui) {
    if ui.is_json() {
        let steps: Vec<_> = seen
            .steps
            .iter()
            .map(|step| {
                json!({
                    "step": step.step, "result": step.result, "seconds": step.seconds,
                    "detail": step.detail.as_deref().unwrap_or_default(),
                })
            })
            .collect();
        let more = seen.more_steps;
        ui.event(&json!({"event": "steps", "vm": name, "steps": steps, "more": more}));
        return;
    }
    // A machine that was configured before has nothing to do.
    if seen.steps.is_empty() {
        return;
    }
    for line in table(seen) {
        ui.line(&line);
    }
}

fn table(seen: &Seen) -> Vec<String> {
    let width = seen.steps.iter().map(|step| step.step.len()).max();
    let width = width.unwrap_or(0).max("step".len());
    let mut lines = vec![format!(
        "{:<width$}  {:<9}  {:>8}",
        "step", "result", "time"
    )];
    lines.extend(seen.steps.iter().map(|step| step_line(step, width)));
    if seen.more_steps > 0 {
        let more = seen.more_steps;
        lines.push(format!(
            "and {more} more, which are not shown: firstboot has no such number of steps"
        ));
    }
    lines
}

/// The verdict, as the last line.
pub(super) fn configured(name: &str, ui: &Ui) {
    let event = json!({"event": "verdict", "vm": name, "configured": true});
    ui.result(&event, &format!("{name} is configured"));
}

/// How to reach a machine that goes on running.
pub(super) fn running(options: &Options, folder: &VmFolder<'_>, pid: u32, ui: &Ui) {
    let name = folder.name();
    if ui.is_json() {
        ui.event(&json!({"event": "running", "vm": name, "pid": pid}));
        return;
    }
    ui.line(&format!("{name} is running, as process {pid}"));
    for line in ways_in(options, folder.vm) {
        ui.line(&format!("  {line}"));
    }
    ui.line(&format!(
        "  console:    {}",
        folder.file("console.log").display()
    ));
}

/// How to log in, where that can be true, and how to end it.
fn ways_in(options: &Options, vm: &Vm) -> Vec<String> {
    let port = match options.user_net {
        false => Some(format!("ssh root@{}", vm.address)),
        true => options.forward.iter().find_map(|rule| forwarded_ssh(rule)),
    };
    let shut_down = format!(
        "shut down:  imgbuild stop {}{}",
        vm.name,
        lab_option(&options.lab)
    );
    match (Login::of(vm), port) {
        (Login::Ssh, Some(line)) => vec![
            format!("log in:     {line}"),
            format!("shut down:  {line} poweroff"),
        ],
        (Login::Ssh, None) => vec![
            "no port leads to its ssh: --forward tcp:127.0.0.1:2222-:22 makes one".to_owned(),
            shut_down,
        ],
        // What there is to say is a warning.
        (Login::Console | Login::Nobody, _) => vec![shut_down],
    }
}

/// That nobody can log in, or only at the console, which is not here.
pub(super) fn closed(folder: &VmFolder<'_>, ui: &Ui) {
    for warning in login::warnings(&[folder.vm]) {
        ui.warn(&warning);
    }
}

/// The ssh command for a rule such as `tcp:127.0.0.1:2222-:22`.
fn forwarded_ssh(rule: &str) -> Option<String> {
    let (host, guest) = rule.strip_prefix("tcp:")?.split_once('-')?;
    let (_, guest_port) = guest.rsplit_once(':')?;
    // Without an address run.sh takes this PC's own.
    let (address, port) = host.rsplit_once(':').unwrap_or(("", host));
    let address = match address {
        "" | "0.0.0.0" => "127.0.0.1",
        other => other,
    };
    (guest_port == "22").then(|| format!("ssh -p {port} root@{address}"))
}

/// The error after firstboot's own refusal.
pub(super) fn failed(
    folder: &VmFolder<'_>,
    reason: &str,
    seen: &Seen,
    console: &GuestConsole,
) -> String {
    let name = folder.name();
    let mut text = format!("{name} is not configured");
    match seen
        .steps
        .iter()
        .rev()
        .find(|step| step.result == StepResult::Failed)
    {
        Some(step) => {
            let detail = step.detail.as_deref().unwrap_or_default();
            let _ = write!(text, ": the step {} failed: {detail}", step.step);
        }
        None => {
            let _ = write!(text, ": {reason}");
        }
    }
    text.push_str(&last_lines(folder, console));
    text
}

/// The error of a machine that is well and goes on by itself; `is_off` when it was shut down
/// meanwhile.
pub(super) fn waiting(name: &str, waiting: &WaitingEvent, is_off: bool) -> String {
    let what = match waiting.step.as_str() {
        "join" => "joining its cluster".to_owned(),
        step => format!("with the step {step}"),
    };
    let goes_on = match is_off {
        true => format!("is off, and goes on {what} at its next start"),
        false => format!("is up and goes on {what} by itself"),
    };
    format!(
        "{name} {goes_on}: attempt {}, because {}; see firstboot status",
        waiting.attempt, waiting.reason
    )
}

/// The error after a start without a verdict.
pub(super) fn trouble(
    folder: &VmFolder<'_>,
    end: &End<Verdict>,
    seen: &Seen,
    console: &GuestConsole,
) -> String {
    let name = folder.name();
    let mut text = match end {
        End::Fatal(fatal) => format!("{name}: {}", fatal.text()),
        End::Silent(limit) => format!(
            "{name} is silent: no word on the console or from firstboot for {} s",
            limit.as_secs()
        ),
        End::Late(limit, passed) => format!(
            "{name} gave no verdict within {} s (--timeout gives it longer{})",
            limit.as_secs(),
            busy(*limit, *passed)
        ),
        End::Exited(status) if seen.started => {
            format!("{name} ended before its verdict ({status})")
        }
        End::Exited(_) => return format!("{name} did not start{}", said(folder)),
        // These have their own words.
        End::Verdict(_) | End::Held(_) => format!("{name}: {end:?}"),
    };
    if matches!(end, End::Exited(_)) {
        text.push_str(&said(folder));
    }
    text.push_str(&last_lines(folder, console));
    text
}

/// What run.sh and QEMU said.
fn said(folder: &VmFolder<'_>) -> String {
    let words = std::fs::read(folder.file("run.log")).unwrap_or_default();
    let words = plain_lines(&String::from_utf8_lossy(&words));
    indented(words.lines().filter(|line| !line.trim().is_empty()))
}

/// The last lines of the console, for the end of an error.
fn last_lines(folder: &VmFolder<'_>, console: &GuestConsole) -> String {
    let file = folder.file("console.log");
    let (file, lines) = (file.display(), console.last_lines());
    match lines.is_empty() {
        true => format!("\nthe console is empty: {file}"),
        false => format!(
            "\nthe last lines of the console, {file}:{}",
            indented(&lines)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstboot::contract::status::{Stage, StepEvent};

    #[test]
    fn table_of_steps() {
        let step = |name: &str, result, seconds, detail: Option<&str>| StepEvent {
            stage: Stage::Local,
            step: name.into(),
            result,
            seconds,
            detail: detail.map(str::to_owned),
            uptime: 1.0,
        };
        let seen = Seen {
            steps: vec![
                step("hostname", StepResult::Changed, 0.04, Some("vm42")),
                step("ssh host keys", StepResult::Unchanged, 12.34, None),
            ],
            ..Seen::default()
        };
        assert_eq!(
            table(&seen),
            [
                "step           result         time",
                "hostname       changed       0.0 s  vm42",
                "ssh host keys  unchanged    12.3 s",
            ]
        );
    }

    #[test]
    fn ssh_through_a_forwarded_port() {
        let cases = [
            ("tcp:127.0.0.1:2222-:22", Some("ssh -p 2222 root@127.0.0.1")),
            (
                "tcp::2222-192.168.122.42:22",
                Some("ssh -p 2222 root@127.0.0.1"),
            ),
            ("tcp:2222-:22", Some("ssh -p 2222 root@127.0.0.1")),
            ("tcp:127.0.0.1:8006-:8006", None),
            ("udp:127.0.0.1:22-:22", None),
            ("nonsense", None),
        ];
        for (rule, expected) in cases {
            assert_eq!(forwarded_ssh(rule).as_deref(), expected, "{rule}");
        }
    }
}
