//! What the user sees: a spinner or bar on a terminal, plain lines elsewhere, JSON for programs.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Terminal,
    Plain,
    Json,
}

/// The one place that prints. Results and progress go to standard output as JSON with
/// `--json`, else progress goes to standard error and results to standard output.
#[derive(Debug)]
pub struct Report {
    mode: Mode,
}

/// One running stage; it is shown from [`Report::stage`] until [`Stage::done`].
/// Dropped without `done`, it is shown as failed.
#[derive(Debug)]
pub struct Stage<'a> {
    report: &'a Report,
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Report {
    /// `json` as asked for on the command line; the terminal is looked at here.
    pub fn new(json: bool) -> Self {
        let mode = if json {
            Mode::Json
        } else if std::io::stderr().is_terminal() {
            Mode::Terminal
        } else {
            Mode::Plain
        };
        Report { mode }
    }

    /// Whether output is JSON.
    pub fn is_json(&self) -> bool {
        self.mode == Mode::Json
    }

    /// One JSON event, printed only with `--json`.
    pub fn event(&self, value: &Value) {
        if self.is_json() {
            let mut out = std::io::stdout().lock();
            // A reader that went away is no reason to fail the work.
            let _ = writeln!(out, "{value}");
        }
    }

    /// A line of the result, on standard output; with `--json` an event of its own.
    pub fn line(&self, text: &str) {
        if self.is_json() {
            self.event(&json!({"event": "line", "text": text}));
        } else {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// Something the user should know although the work goes on.
    pub fn warn(&self, text: &str) {
        if self.is_json() {
            self.event(&json!({"event": "warning", "text": text}));
        } else {
            let _ = writeln!(std::io::stderr().lock(), "imgbuild: warning: {text}");
        }
    }

    /// The reason why the program ends.
    pub fn error(&self, text: &str) {
        if self.is_json() {
            self.event(&json!({"event": "error", "text": text}));
        }
        let _ = writeln!(std::io::stderr().lock(), "imgbuild: error: {text}");
    }

    /// Begins a stage.
    pub fn stage(&self, name: &str) -> Stage<'_> {
        let bar = match self.mode {
            Mode::Terminal => {
                let bar = ProgressBar::new_spinner();
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.set_style(style("{spinner} {prefix:<28} {elapsed:>5}  {wide_msg}"));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            Mode::Plain => {
                let _ = writeln!(std::io::stderr().lock(), "{name} ...");
                None
            }
            Mode::Json => {
                self.event(&json!({"event": "stage", "name": name, "state": "started"}));
                None
            }
        };
        Stage {
            report: self,
            name: name.to_owned(),
            started: Instant::now(),
            bar,
            finished: false,
        }
    }
}

impl Stage<'_> {
    /// What the stage is doing now; shown on a terminal only, because it changes often.
    pub fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// A line that stays, above the spinner on a terminal; not printed with `--json`.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("       {text}")),
            None if self.report.is_json() => {}
            None => {
                let _ = writeln!(std::io::stderr().lock(), "       {text}");
            }
        }
    }

    /// How far it is, in units of the caller's choice.
    pub fn progress(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total) {
                bar.set_length(total);
                bar.set_style(style(
                    "{spinner} {prefix:<28} {elapsed:>5}  [{bar:30}] {percent:>3}%  {wide_msg}",
                ));
            }
            bar.set_position(done);
        }
    }

    /// Ends the stage well; `detail` is shown beside its time.
    pub fn done(mut self, detail: &str) {
        self.finish("done", detail);
    }

    fn finish(&mut self, state: &str, detail: &str) {
        self.finished = true;
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.report.is_json() {
            self.report.event(&json!({
                "event": "stage", "name": self.name, "state": state,
                "seconds": (seconds * 10.0).round() / 10.0, "detail": detail,
            }));
            return;
        }
        let mark = if state == "done" { "ok    " } else { "FAILED" };
        let _ = writeln!(
            std::io::stderr().lock(),
            "{mark} {:<28} {seconds:>6.1} s  {detail}",
            self.name
        );
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.finish("failed", "");
        }
    }
}

/// A template that is part of this source is always valid; the default serves if it is not.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
