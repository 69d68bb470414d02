//! The lines that firstboot writes to the status port `org.imgbuild.firstboot`.

use crate::tail;
use crate::text::plain_lines;
use serde_json::Value;

/// One step of firstboot as it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// `changed`, `unchanged` or `failed`.
    pub result: String,
    /// How long it took.
    pub seconds: f64,
    /// One line for a human, or the error; may be empty.
    pub detail: String,
}

impl Step {
    /// It as a line of a table; `width` is the widest name's.
    pub fn line(&self, width: usize) -> String {
        let detail = self.detail.lines().next().unwrap_or_default();
        let line = format!(
            "{:<width$}  {:<9}  {:>6.1} s  {detail}",
            self.name, self.result, self.seconds
        );
        line.trim_end().to_owned()
    }
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage has begun: `local` or `join`.
    StageStarted(String),
    /// A stage has ended, well or not.
    StageEnded(bool),
    /// A step has ended.
    Step(Step),
    /// What a program says while its step runs.
    Log(String),
    /// Everything is as the seed wants it.
    Configured,
    /// It is not, for this reason.
    Failed(String),
    /// Anything else: firstboot is alive.
    Other,
}

/// Reads one line; the format is firstboot's `status`. A newer firstboot may say more than is
/// known here: that is no error.
pub fn event(line: &Value) -> Event {
    let text = |name: &str| plain_lines(line.get(name).and_then(Value::as_str).unwrap_or_default());
    match text("event").as_str() {
        "stage" => match text("state").as_str() {
            "started" => Event::StageStarted(text("stage")),
            state => Event::StageEnded(state == "finished"),
        },
        "step" => Event::Step(Step {
            name: text("step"),
            result: text("result"),
            seconds: line.get("seconds").and_then(Value::as_f64).unwrap_or(0.0),
            detail: text("detail"),
        }),
        "log" => Event::Log(format!("{}: {}", text("step"), text("text"))),
        "verdict" => match text("result").as_str() {
            "configured" => Event::Configured,
            "failed" => Event::Failed(text("reason")),
            "unconfigured" => Event::Failed("firstboot found no seed disk".to_owned()),
            _ => Event::Other,
        },
        _ => Event::Other,
    }
}

/// The lines of the status port's file.
#[derive(Debug, Default)]
pub struct Lines(tail::Lines);

impl Lines {
    /// The lines that are whole now and are JSON. The port carries nothing else; a line that is
    /// no JSON was cut when the guest was reset.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
        let lines = self.0.feed(bytes).into_iter();
        lines
            .filter_map(|line| serde_json::from_slice(&line).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_firstboot_writes() {
        let cases = [
            (
                json!({"event": "stage", "stage": "local", "state": "started", "name": "vm42"}),
                Event::StageStarted("local".into()),
            ),
            (
                json!({"event": "stage", "stage": "local", "state": "finished"}),
                Event::StageEnded(true),
            ),
            (
                json!({"event": "stage", "stage": "join", "state": "failed"}),
                Event::StageEnded(false),
            ),
            (
                json!({"event": "step", "stage": "local", "step": "hosts", "result": "changed",
                       "seconds": 0.25, "detail": "two lines", "uptime": 4.5}),
                Event::Step(Step {
                    name: "hosts".into(),
                    result: "changed".into(),
                    seconds: 0.25,
                    detail: "two lines".into(),
                }),
            ),
            (
                json!({"event": "log", "stage": "join", "step": "join", "text": "waiting"}),
                Event::Log("join: waiting".into()),
            ),
            (
                json!({"event": "verdict", "result": "failed", "reason": "\u{1b}]0;x\u{7}two\nlines"}),
                Event::Failed("two\nlines".into()),
            ),
            (
                json!({"event": "verdict", "result": "configured"}),
                Event::Configured,
            ),
            (
                json!({"event": "verdict", "result": "failed", "reason": "no peer"}),
                Event::Failed("no peer".into()),
            ),
            (
                json!({"event": "verdict", "result": "unconfigured"}),
                Event::Failed("firstboot found no seed disk".into()),
            ),
            (
                json!({"event": "verdict", "result": "running"}),
                Event::Other,
            ),
            (json!({"event": "weather"}), Event::Other),
            (json!([1]), Event::Other),
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
