//! The lines that firstboot writes to the status port, made fit for the user's terminal.

use crate::system::tail;
use crate::system::text::{one_line, plain_lines};
use firstboot::contract::status::{Event, StageState, StepEvent, Verdict, VerdictEvent};
use serde_json::Value;
use std::time::Duration;

/// Longer than any pause that a seed can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A step as a line of a table; `width` is the widest name's.
pub(crate) fn step_line(step: &StepEvent, width: usize) -> String {
    let detail = step.detail.as_deref().unwrap_or_default();
    let line = format!(
        "{:<width$}  {:<9}  {:>6.1} s  {}",
        step.step,
        step.result.name(),
        step.seconds,
        detail.lines().next().unwrap_or_default()
    );
    line.trim_end().to_owned()
}

/// Reads one line. A newer firstboot may say more than is known here, and a guest may say anything:
/// that is no error. No pause of an absurd length is believed.
pub(crate) fn event(line: &Value) -> Event {
    let Ok(mut event) = serde_json::from_value(plain(line)) else {
        return Event::Unknown;
    };
    if let Event::Waiting(waiting) = &mut event {
        waiting.seconds = waiting.pause().min(LONGEST_PAUSE).as_secs_f64();
        waiting.reason = one_line(&waiting.reason);
    }
    event
}

/// Why a machine is not configured, where firstboot has said that it is not.
pub(crate) fn failure(told: &VerdictEvent) -> Option<String> {
    match told.result {
        Verdict::Running | Verdict::Configured => None,
        Verdict::Failed => Some(told.reason.clone().unwrap_or_default()),
        Verdict::Unconfigured => Some("firstboot found no seed disk".to_owned()),
    }
}

/// An event in words, for the end of a line.
pub(crate) fn words(event: &Event) -> String {
    match event {
        Event::Verdict(told) => match failure(told) {
            Some(reason) => format!("failed: {}", one_line(&reason)),
            None => told.result.name().to_owned(),
        },
        Event::Waiting(waiting) => waiting.words(),
        Event::Step(step) => step_line(step, 0),
        Event::Stage(stage) => {
            let state = match stage.state {
                StageState::Started => "begins",
                StageState::Finished => "is done",
                StageState::Failed => "has failed",
            };
            format!("firstboot, {} {state}", stage.stage.name())
        }
        Event::Log(log) => format!("{}: {}", log.step, log.text),
        Event::Unknown => String::new(),
    }
}

/// The same value, whose texts hold nothing that a terminal would obey.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => plain_lines(text).into(),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(fields) => {
            let plain = |(key, value): (&String, &Value)| (key.clone(), plain(value));
            fields.iter().map(plain).collect()
        }
        other => other.clone(),
    }
}

/// The lines of the status port's file.
#[derive(Debug, Default)]
pub(crate) struct Lines(tail::Lines);

impl Lines {
    /// The lines that are whole now and are JSON. The port carries nothing else; a line that is
    /// no JSON was cut when the guest was reset.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
        let lines = self.0.feed(bytes).into_iter();
        lines
            .filter_map(|line| serde_json::from_slice(&line).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstboot::contract::status::{Stage, WaitingEvent};
    use serde_json::json;

    /// firstboot's own tests write this file.
    #[test]
    fn reads_what_firstboot_writes() {
        let lines = include_bytes!("../../../tests/cases/status/lines.jsonl");
        let lines = Lines::default().feed(lines);
        assert_eq!(lines.len(), 11);
        for line in lines {
            let event = event(&line);
            assert_ne!(event, Event::Unknown);
            assert_eq!(serde_json::to_value(event).unwrap(), line);
        }
    }

    fn waiting(seconds: f64, reason: &str) -> Event {
        Event::Waiting(WaitingEvent {
            stage: Stage::Join,
            step: "join".into(),
            attempt: 4,
            seconds,
            reason: reason.into(),
            uptime: 1.5,
        })
    }

    #[test]
    fn what_a_guest_says_is_made_harmless() {
        let line = |seconds: f64, reason: &str| {
            json!({"event": "waiting", "stage": "join", "step": "jo\u{1b}[31min", "attempt": 4,
                "seconds": seconds, "reason": reason, "uptime": 1.5, "newer": {"x": ["\u{1b}c"]}})
        };
        let cases = [
            (line(180.0, "a\u{1b}[1m\nb"), waiting(180.0, "a; b")),
            (line(-1.0, ""), waiting(0.0, "")),
            (line(1e300, ""), waiting(0.0, "")),
            (line(1e9, ""), waiting(604_800.0, "")),
            (json!({"event": "weather"}), Event::Unknown),
            (json!({"event": "step", "step": 1}), Event::Unknown),
            (json!([1]), Event::Unknown),
        ];
        for (line, expected) in cases {
            assert_eq!(event(&line), expected, "{line}");
        }
    }

    #[test]
    fn lines_come_whole() {
        let mut lines = Lines::default();
        assert!(lines.feed(b"{\"a\":").is_empty());
        assert_eq!(
            lines.feed(b"1}\n{\"b\":2}\n{\"c\""),
            [json!({"a": 1}), json!({"b": 2})]
        );
        assert_eq!(lines.feed(b"\ngarbage\n{\"d\":4}\n"), [json!({"d": 4})]);
    }
}
