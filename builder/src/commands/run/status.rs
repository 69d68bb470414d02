//! The lines that firstboot writes to the status port `org.imgbuild.firstboot`.

use crate::system::tail;
use crate::system::text::plain_lines;
use serde_json::Value;
use std::time::Duration;

/// One step of firstboot as it ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
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
    pub(super) fn line(&self, width: usize) -> String {
        let detail = self.detail.lines().next().unwrap_or_default();
        let line = format!(
            "{:<width$}  {:<9}  {:>6.1} s  {detail}",
            self.name, self.result, self.seconds
        );
        line.trim_end().to_owned()
    }
}

/// A step that did not succeed, and is tried again after a pause.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    /// Its name.
    pub step: String,
    /// How often it was tried.
    pub attempt: u64,
    /// The pause; none of an absurd length is believed.
    pub pause: Duration,
    /// Why it did not succeed, on one line.
    pub reason: String,
}

/// Longer than any pause that a seed can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Waiting {
    /// What is being done, for a human.
    pub(super) fn doing(&self) -> &str {
        match self.step.as_str() {
            "join" => "joining",
            other => other,
        }
    }

    /// It on one line.
    pub(super) fn line(&self) -> String {
        format!(
            "{}, attempt {}, next in {}, because {}",
            self.doing(),
            self.attempt,
            roughly(self.pause),
            self.reason
        )
    }
}

/// A time as somebody would say it.
fn roughly(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h", (seconds + 1800) / 3600),
    }
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// A stage has begun: `local` or `join`.
    StageStarted(String),
    /// A stage has ended, well or not.
    StageEnded(bool),
    /// A step has ended.
    Step(Step),
    /// What a program says while its step runs.
    Log(String),
    /// A step waits for another try.
    Waiting(Waiting),
    /// Everything is as the seed wants it.
    Configured,
    /// It is not, for this reason.
    Failed(String),
    /// Anything else: firstboot is alive.
    Other,
}

/// Reads one line; the format is firstboot's `status`. A newer firstboot may say more than is
/// known here: that is no error.
pub(super) fn event(line: &Value) -> Event {
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
        "waiting" => Event::Waiting(Waiting {
            step: text("step"),
            attempt: line.get("attempt").and_then(Value::as_u64).unwrap_or(0),
            pause: line
                .get("seconds")
                .and_then(Value::as_f64)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .unwrap_or_default()
                .min(LONGEST_PAUSE),
            reason: text("reason").replace('\n', "; "),
        }),
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
pub(super) struct Lines(tail::Lines);

impl Lines {
    /// The lines that are whole now and are JSON. The port carries nothing else; a line that is
    /// no JSON was cut when the guest was reset.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Value> {
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

    fn waiting(attempt: u64, seconds: f64, reason: &str) -> Event {
        Event::Waiting(Waiting {
            step: "join".into(),
            attempt,
            pause: Duration::from_secs_f64(seconds),
            reason: reason.into(),
        })
    }

    #[test]
    fn a_wait_is_told_in_one_line() {
        let mut waiting = Waiting {
            step: "join".into(),
            attempt: 4,
            pause: Duration::from_secs(180),
            reason: "no quorum".into(),
        };
        let line = "joining, attempt 4, next in 3 min, because no quorum";
        assert_eq!(waiting.line(), line);
        waiting.step = "storage".into();
        assert!(waiting.line().starts_with("storage, attempt 4, "));
        let times = [
            (9.6, "10 s"),
            (89.4, "89 s"),
            (90.0, "2 min"),
            (5399.0, "90 min"),
            (7200.0, "2 h"),
        ];
        for (seconds, text) in times {
            assert_eq!(roughly(Duration::from_secs_f64(seconds)), text);
        }
    }

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
                json!({"event": "waiting", "stage": "join", "step": "join", "attempt": 4,
                       "seconds": 180.0, "reason": "a\u{1b}[1m\nb", "uptime": 312.5}),
                waiting(4, 180.0, "a; b"),
            ),
            (
                json!({"event": "waiting", "step": "join", "seconds": -1}),
                waiting(0, 0.0, ""),
            ),
            (
                json!({"event": "waiting", "step": "join", "seconds": 1e300}),
                waiting(0, 0.0, ""),
            ),
            (
                json!({"event": "waiting", "step": "join", "seconds": 1e9}),
                waiting(0, 604_800.0, ""),
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
