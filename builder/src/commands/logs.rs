//! The recipe of `imgbuild logs`: what a VM has said, on its console or by firstboot.

use crate::config::lab::Lab;
use crate::system::interrupt;
use crate::system::tail::{Lines, Tail};
use crate::system::text::plain;
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::status;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the file is looked at.
const POLL: Duration = Duration::from_millis(200);

/// How often more is read at once, 1 MiB each time: more than a log has.
const AT_ONCE: usize = 16;

/// What is shown; the help of `imgbuild logs` says what each of these is.
#[derive(Debug)]
pub struct Options {
    pub(crate) name: String,
    pub(crate) lab: PathBuf,
    pub(crate) follow: bool,
    pub(crate) status: bool,
}

/// Followed, it goes on over the VM's starts, each of which begins the log anew, until Ctrl-C.
pub fn logs(options: &Options, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(&options.lab)?;
    let folder = VmFolder::of(&lab, lab.vm(&options.name)?);
    let file = folder.file(match options.status {
        true => "status.jsonl",
        false => "console.log",
    });
    if !options.follow && !file.exists() {
        bail!(
            "{0} has no log yet: {1} is not there. imgbuild run {0} starts it",
            options.name,
            file.display()
        );
    }
    let mut log = Log::new(&file, options.status);
    log.show(ui)?;
    if options.follow {
        while !interrupt::requested() {
            if log.tail.was_replaced() {
                log.show_rest(ui);
                ui.warn(&format!("{} was started again", options.name));
                log = Log::new(&file, options.status);
            }
            log.show(ui)?;
            std::thread::sleep(POLL);
        }
    }
    log.show_rest(ui);
    Ok(())
}

struct Log {
    tail: Tail,
    lines: Lines,
    is_status: bool,
}

impl Log {
    fn new(file: &Path, is_status: bool) -> Self {
        Log {
            tail: Tail::new(file.to_owned()),
            lines: Lines::default(),
            is_status,
        }
    }

    /// The lines that have become whole.
    fn show(&mut self, ui: &Ui) -> Result<()> {
        // A guest may write faster than this is read.
        for _ in 0..AT_ONCE {
            let bytes = self.tail.new_bytes()?;
            if bytes.is_empty() || interrupt::requested() {
                return Ok(());
            }
            for line in self.lines.feed(&bytes) {
                self.show_line(&line, ui);
            }
        }
        Ok(())
    }

    /// The last line, which has no end: a login prompt, most often.
    fn show_rest(&mut self, ui: &Ui) {
        for line in self.lines.feed(b"\n") {
            if !line.is_empty() {
                self.show_line(&line, ui);
            }
        }
    }

    /// As a terminal can be trusted with it.
    fn show_line(&self, line: &[u8], ui: &Ui) {
        if !self.is_status {
            ui.line(&plain(&String::from_utf8_lossy(line)));
            return;
        }
        if let Ok(value) = serde_json::from_slice(line) {
            let words = status::words(&status::event(&value));
            if !words.is_empty() {
                ui.line(&words);
            }
        }
    }
}
