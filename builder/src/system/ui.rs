//! What the user sees: a spinner or bar on a terminal, plain lines elsewhere, JSON for programs.

use crate::system::interrupt;
use crate::system::text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Columns of a stage's name; its mark before it has six, and all lines keep to these columns.
const NAME_WIDTH: usize = 28;

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
pub struct Ui {
    mode: Mode,
    /// The spinner on the terminal: whatever else is printed goes above it.
    bar: RefCell<Option<ProgressBar>>,
    /// The stages that ended well, with their seconds.
    finished: RefCell<Vec<(String, f64)>>,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Failed,
    /// It is begun once more, in another way.
    Again,
    /// It goes on where nobody watches it.
    Waits,
    /// By Ctrl-C or a signal.
    Interrupted,
}

impl End {
    /// For a human, in six columns.
    fn mark(self) -> &'static str {
        match self {
            End::Done => "ok",
            End::Failed => "FAILED",
            End::Again => "again",
            End::Waits => "waits",
            End::Interrupted => "ended",
        }
    }

    /// For programs.
    fn state(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Failed => "failed",
            End::Again => "again",
            End::Waits => "waiting",
            End::Interrupted => "interrupted",
        }
    }
}

/// One running stage; it is shown from [`Ui::stage`] until [`Stage::done`].
/// Dropped without `done`, it is shown as failed, or as ended by the user.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    ui: &'a Ui,
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Ui {
    /// `json` as asked for on the command line; the terminal is looked at here.
    pub fn new(json: bool) -> Self {
        // A dumb terminal cannot move its cursor back.
        let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let mode = if json {
            Mode::Json
        } else if std::io::stderr().is_terminal() && !dumb {
            Mode::Terminal
        } else {
            Mode::Plain
        };
        Ui {
            mode,
            bar: RefCell::new(None),
            finished: RefCell::new(Vec::new()),
        }
    }

    /// The stages that ended well, in their order, with their seconds.
    pub(crate) fn finished(&self) -> Vec<(String, f64)> {
        self.finished.borrow().clone()
    }

    /// Whether output is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.mode == Mode::Json
    }

    /// One JSON event, printed only with `--json`.
    pub(crate) fn event(&self, value: &Value) {
        if self.is_json() {
            let mut out = std::io::stdout().lock();
            // A reader that went away is no reason to fail the work.
            let _ = writeln!(out, "{value}");
        }
    }

    /// A line of the result, on standard output; with `--json` an event of its own.
    pub(crate) fn line(&self, text: &str) {
        if self.is_json() {
            self.event(&json!({"event": "line", "text": text}));
        } else {
            self.above_the_spinner(|| writeln!(std::io::stdout().lock(), "{text}"));
        }
    }

    /// A result: an event for programs, else a line.
    pub(crate) fn result(&self, event: &Value, line: &str) {
        match self.is_json() {
            true => self.event(event),
            false => self.line(line),
        }
    }

    /// Something the user should know although the work goes on.
    pub(crate) fn warn(&self, text: &str) {
        if self.is_json() {
            self.event(&json!({"event": "warning", "text": text}));
        } else {
            self.to_stderr(&format!("imgbuild: warning: {text}"));
        }
    }

    /// The reason why the program ends.
    pub fn error(&self, text: &str) {
        if self.is_json() {
            self.event(&json!({"event": "error", "text": text}));
        }
        self.to_stderr(&format!("imgbuild: error: {text}"));
    }

    fn to_stderr(&self, line: &str) {
        self.above_the_spinner(|| writeln!(std::io::stderr().lock(), "{line}"));
    }

    /// A reader that went away is no reason to fail the work.
    fn above_the_spinner(&self, print: impl FnOnce() -> std::io::Result<()>) {
        let _ = match &*self.bar.borrow() {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
    }

    /// Begins a stage.
    pub(crate) fn stage(&self, name: &str) -> Stage<'_> {
        let bar = match self.mode {
            Mode::Terminal => {
                let bar = ProgressBar::new_spinner();
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.set_style(style("{wide_msg}"));
                bar.set_prefix(last_columns(name, NAME_WIDTH));
                bar.enable_steady_tick(Duration::from_millis(120));
                self.bar.replace(Some(bar.clone()));
                Some(bar)
            }
            Mode::Plain => {
                self.to_stderr(&format!("       {name} ..."));
                None
            }
            Mode::Json => {
                self.event(&json!({"event": "stage", "name": name, "state": "started"}));
                None
            }
        };
        Stage {
            ui: self,
            name: name.to_owned(),
            started: Instant::now(),
            bar,
            finished: false,
        }
    }
}

impl Stage<'_> {
    /// What the stage is doing now; shown on a terminal only, because it changes often.
    pub(crate) fn note(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text::plain(line));
        }
    }

    /// A line that stays, above the spinner on a terminal, which shows as much of it as has room; not
    /// printed with `--json`.
    pub(crate) fn line(&self, text: &str) {
        let line = format!("         {text}");
        let columns = match self.ui.mode {
            Mode::Json => return,
            Mode::Plain => 0,
            Mode::Terminal => rustix::termios::tcgetwinsize(std::io::stderr())
                .map_or(80, |size| usize::from(size.ws_col)),
        };
        self.ui.to_stderr(&first_columns(&line, columns));
    }

    /// As [`Stage::line`], for what is to be read to its end: a terminal wraps it.
    pub(crate) fn whole_line(&self, text: &str) {
        if !self.ui.is_json() {
            self.ui.to_stderr(&format!("         {text}"));
        }
    }

    /// How far it is, from 0 to 1.
    pub(crate) fn progress(&self, part: f64) {
        /// Steps of the bar.
        const WHOLE: u64 = 1000;
        if let Some(bar) = &self.bar {
            if bar.length().is_none() {
                bar.set_length(WHOLE);
                bar.set_style(style("[{bar:24}] {percent:>3}%"));
            }
            bar.set_position((part.clamp(0.0, 1.0) * WHOLE as f64) as u64);
        }
    }

    /// Ends the stage well; `detail` is shown beside its time.
    pub(crate) fn done(mut self, detail: &str) {
        self.finish(End::Done, detail);
    }

    /// Ends the stage because the same is tried in another way; `detail` says why.
    pub(crate) fn again(mut self, detail: &str) {
        self.finish(End::Again, detail);
    }

    /// Ends the stage, which is not over: what is in it goes on by itself. `detail` says why.
    pub(crate) fn waits(mut self, detail: &str) {
        self.finish(End::Waits, detail);
    }

    fn finish(&mut self, end: End, detail: &str) {
        self.finished = true;
        let seconds = self.started.elapsed().as_secs_f64();
        if end == End::Done {
            let mut finished = self.ui.finished.borrow_mut();
            finished.push((self.name.clone(), seconds));
        }
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.ui.bar.take();
        }
        if self.ui.is_json() {
            self.ui.event(&json!({
                "event": "stage", "name": self.name, "state": end.state(),
                "seconds": (seconds * 10.0).round() / 10.0, "detail": detail,
            }));
            return;
        }
        let (mark, name) = (end.mark(), &self.name);
        let line = format!("{mark:<6} {name:<NAME_WIDTH$} {seconds:>6.1} s  {detail}");
        self.ui.to_stderr(line.trim_end());
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(
                match interrupt::requested() {
                    true => End::Interrupted,
                    false => End::Failed,
                },
                "",
            );
        }
    }
}

/// The end of a name that is too long for its columns: it says more than the beginning, which
/// is the machine's name. A longer spinner would wrap.
fn last_columns(name: &str, columns: usize) -> String {
    let length = name.chars().count();
    if length <= columns {
        return name.to_owned();
    }
    let rest: String = name.chars().skip(length + 1 - columns).collect();
    format!("…{rest}")
}

/// The beginning of a line that is too long for the terminal.
fn first_columns(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns || columns == 0 {
        return line.to_owned();
    }
    let rest: String = line.chars().take(columns - 1).collect();
    format!("{rest}…")
}

/// The spinner in the columns of the line that will take its place. A template that is part of
/// this source is always valid; the default serves if it is not.
fn style(rest: &str) -> ProgressStyle {
    let template = format!("{{spinner}}      {{prefix:<{NAME_WIDTH}}} {{seconds}}  {rest}");
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key(
            "seconds",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:>6.1} s", state.elapsed().as_secs_f64());
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(last_columns("vm42: boot", 10), "vm42: boot");
        assert_eq!(last_columns("a-long-name: boot", 10), "…ame: boot");
        assert_eq!(last_columns("a-long-näme: boot", 10), "…äme: boot");
    }

    #[test]
    fn a_long_line_keeps_its_beginning() {
        assert_eq!(first_columns("network changed", 15), "network changed");
        assert_eq!(first_columns("network changed", 9), "network …");
        assert_eq!(first_columns("network changed", 0), "network changed");
    }

    #[test]
    fn the_templates_are_valid() {
        for rest in ["{wide_msg}", "[{bar:24}] {percent:>3}%"] {
            let template = format!("{{spinner}}      {{prefix:<{NAME_WIDTH}}} {{seconds}}  {rest}");
            assert!(ProgressStyle::with_template(&template).is_ok(), "{rest}");
        }
    }
}
