//! What a human sees during the boot.

use crate::contract::status::Stage;
use crate::stage::journal::StepRecord;
use crate::system::root::Root;
use rustix::fs::{Mode, OFlags};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Write};

/// Standard output (the system's journal) and the machine's console.
pub struct Console {
    device: Option<File>,
}

impl Console {
    /// Opens the console of a running machine, unless a human runs this in a terminal and
    /// sees it anyway.
    pub fn new(root: &Root) -> Self {
        if !root.is_live() || std::io::stdout().is_terminal() {
            return Console { device: None };
        }
        // Never waits: a console that nobody empties must not hold the boot up.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/console", flags, Mode::empty());
        Console {
            device: device.ok().map(File::from),
        }
    }

    /// Says each line of a text, with this program's name before it. Best effort.
    pub fn say(&mut self, text: &str) {
        let mut lines = String::new();
        for line in text.lines() {
            let _ = writeln!(lines, "firstboot: {line}");
        }
        let _ = std::io::stdout().write_all(lines.as_bytes());
        if let Some(device) = &mut self.device {
            let _ = device.write_all(lines.as_bytes());
        }
    }
}

/// One step as a line for a human.
pub fn step_line(record: &StepRecord) -> String {
    let detail = record.detail.as_deref().unwrap_or_default();
    let first = detail.lines().next().unwrap_or_default();
    let line = format!(
        "{:<15} {:<9} {:>4.1} s  {first}",
        record.step,
        record.result.name(),
        record.seconds
    );
    line.trim_end().to_owned()
}

/// A failure, so that nobody misses it.
pub fn alarm(stage: Stage, reason: &str) -> String {
    let rule = "*".repeat(66);
    let stage = stage.name();
    let mut text = format!("{rule}\nFAILED: this machine is not configured (stage {stage})\n");
    for line in reason.lines() {
        let _ = writeln!(text, "    {line}");
    }
    let _ = write!(
        text,
        "The boot goes on. See: firstboot status; journalctl -u firstboot-{stage}\n{rule}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::status::StepResult;

    fn record(result: StepResult, detail: Option<&str>) -> StepRecord {
        StepRecord::now("hostname", result, 0.1, detail.map(str::to_owned))
    }

    #[test]
    fn a_step_is_one_line() {
        let line = step_line(&record(StepResult::Changed, Some("vm41 -> vm42")));
        assert_eq!(line, "hostname        changed    0.1 s  vm41 -> vm42");
        let line = step_line(&record(StepResult::Failed, Some("cannot\nbecause")));
        assert_eq!(line, "hostname        failed     0.1 s  cannot");
        let line = step_line(&record(StepResult::Unchanged, None));
        assert_eq!(line, "hostname        unchanged  0.1 s");
    }

    #[test]
    fn a_failure_is_loud_and_whole() {
        let text = alarm(Stage::Local, "step network: cannot write\ncaused by: full");
        assert!(text.contains("FAILED"));
        assert!(text.contains("\n    step network: cannot write\n    caused by: full\n"));
        assert!(text.contains("journalctl -u firstboot-local"));
    }
}
