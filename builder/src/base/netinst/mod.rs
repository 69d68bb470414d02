//! The netinst source: the Debian installer, unattended, in a virtual machine.
//!
//! The installer finds its disc, sets up the network, partitions and installs the base system,
//! as ever. Its initrd has one more archive with answers, hooks and the payload; at its end the
//! hook runs the same provision and seal scripts as the mirror source.

mod answers;
mod cpio;
mod fetch;
mod installer_log;
mod iso;
mod machine;
mod measures;
mod question;
mod watch;

pub use answers::render;
pub use measures::Measure;

use super::explain;
use super::inputs::Inputs;
use super::manifest::IsoFacts;
use super::requirements::NO_SPACE;
use crate::cli::{Accelerator, BaseArgs};
use crate::qemu;
use crate::qemu::guest_console::SHOWN_LINES;
use crate::system::files;
use crate::system::interrupt::Interrupted;
use crate::system::text;
use crate::system::ui::Report;
use anyhow::{Context, Error, Result, anyhow};
use iso::Disc;
use machine::Files;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};
use watch::{End, Limits, Seen};

/// The installer's log, kept beside the results; [`CONSOLE_LOG`] is kept after a failure only.
pub const INSTALLER_LOG: &str = "base.installer.log";
/// What was on the installer's screen.
pub const CONSOLE_LOG: &str = "base.console.log";

/// The disc of an installation, before it begins.
pub fn disc(inputs: &Inputs, args: &BaseArgs, report: &Report) -> Result<Disc> {
    let (path, sha256) = fetch::obtain(args.iso.as_deref(), &inputs.definition, report)?;
    Disc::open(&path, sha256, &inputs.definition.release)
}

impl Disc {
    /// What the manifest says about it.
    pub fn facts(&self) -> IsoFacts {
        IsoFacts {
            info: self.info.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

/// Installs on a raw disk in the work folder; returns the disk.
pub fn install(
    inputs: &Inputs,
    disc: &Disc,
    args: &BaseArgs,
    work: &Path,
    report: &Report,
) -> Result<PathBuf> {
    let answers = render(
        &inputs.definition,
        &inputs.sources,
        &inputs.root_uuid,
        &args.without,
    )?;
    let initrd = answers::initrd(&disc.initrd, &answers, inputs)?;
    let files = Files::new(work, &disc.kernel, &initrd)?;
    let mut seen = Seen::default();
    let result = run(inputs, disc, args, &files, report, &mut seen);
    let failed = result.as_ref().err();
    if failed.is_some_and(|error| error.is::<Interrupted>()) {
        return result.map(|()| files.disk());
    }
    let kept = keep_logs(&files, &args.output, failed.is_some())?;
    match result {
        Ok(()) => Ok(files.disk()),
        Err(error) => Err(with_log(&error, &seen, &kept)),
    }
}

/// Boots the installer, again without KVM where KVM runs no guest, and once more where emulation
/// had a bad day.
fn run(
    inputs: &Inputs,
    disc: &Disc,
    args: &BaseArgs,
    files: &Files,
    report: &Report,
    seen: &mut Seen,
) -> Result<()> {
    let (mut accelerator, why) = qemu::choose(args.accel, &args.kvm_device)?;
    if let Some(why) = why {
        report.warn(&format!("KVM is not usable: {why}"));
    }
    let mut limits = Limits {
        total: Duration::from_secs(args.timeout),
        silence: Duration::from_secs(args.silence),
        standstill: Duration::from_secs(args.standstill),
        firmware: Duration::from_secs(args.firmware),
        kvm_fallback: args.accel == Accelerator::Auto,
        second_try: true,
    };
    loop {
        if accelerator == Accelerator::Tcg {
            report.warn("software emulation: the installation takes a quarter of an hour or more");
        }
        *seen = Seen::default();
        let bytes = inputs.definition.disk;
        let mut machine = machine::start(files, &disc.path, bytes, accelerator, &args.without)?;
        let end = watch::watch(&mut machine, files, accelerator, &limits, report, seen)?;
        let words = match end {
            End::Exited(_) => machine.words(),
            _ => String::new(),
        };
        machine.end();
        match end {
            End::Installed => return Ok(()),
            End::KvmUnusable => {
                report.warn(
                    "KVM runs no guest on this PC: starting over with software emulation, until \
                     this PC is started again",
                );
                qemu::remember(report);
                accelerator = Accelerator::Tcg;
            }
            End::Stumbled => {
                report.warn("software emulation stumbled at the start of the kernel: once more");
                limits.second_try = false;
            }
            end => return Err(trouble(end, inputs, files, seen, &words)),
        }
    }
}

/// The error of an installation that came to no good end.
fn trouble(end: End, inputs: &Inputs, files: &Files, seen: &Seen, words: &str) -> Error {
    let stage = &seen.stage;
    let with_console = |what: String| {
        let from = seen.console.len().saturating_sub(SHOWN_LINES);
        let lines = seen.console[from..].iter().map(String::as_str);
        anyhow!(
            "{what}; the last lines of its console:{}",
            text::indented(lines)
        )
    };
    let error = match end {
        End::Failed(status) => anyhow!("the stage `{stage}` failed in the new system ({status})"),
        End::Question(lines) => anyhow!(
            "the installer stopped in the stage `{stage}` and asks:{}",
            text::indented(lines.iter().map(String::as_str))
        ),
        End::Fatal(fatal) => with_console(fatal.text().to_owned()),
        End::Silent(limit) => with_console(format!(
            "the machine said nothing for {} s in the stage `{stage}`",
            limit.as_secs()
        )),
        End::Standstill(limit) => anyhow!(
            "the installer did nothing for {} s in the stage `{stage}`",
            limit.as_secs()
        ),
        End::Late(limit) => anyhow!(
            "the installation was not done after {} s (--timeout), in the stage `{stage}`",
            limit.as_secs()
        ),
        End::NoSpace => {
            return anyhow!("{NO_SPACE}: {}", files.disk().display())
                .context("the disk of the work folder is full; QEMU has stopped the machine");
        }
        End::Exited(status) => anyhow!(
            "QEMU ended ({status}) in the stage `{stage}`, before the installation was done{}",
            text::indented(words.lines())
        ),
        // The loop above goes on with these.
        End::Installed | End::KvmUnusable | End::Stumbled => anyhow!("the installation ended"),
    };
    let log = fs::read(files.log()).unwrap_or_default();
    match explain::installer(&String::from_utf8_lossy(&log), stage, inputs) {
        Some(why) => error.context(why),
        None => error,
    }
}

/// Moves the logs out of the work folder; returns where the installer's is.
fn keep_logs(files: &Files, output: &Path, failed: bool) -> Result<PathBuf> {
    let log = output.join(INSTALLER_LOG);
    let console = output.join(CONSOLE_LOG);
    let keep = |from: &Path, to: &Path| -> Result<()> {
        let bytes = fs::read(from).unwrap_or_default();
        let all = String::from_utf8_lossy(&bytes);
        let lines = all
            .lines()
            .filter(|l| !matches!(installer_log::read(l), installer_log::Said::Alive(..)));
        let kept: String = lines.map(|l| format!("{}\n", text::plain(l))).collect();
        let new = from.with_extension("kept");
        fs::write(&new, kept).with_context(|| format!("cannot write {}", new.display()))?;
        files::move_into_place(&[(new, to.to_owned())])
    };
    let kept = keep(&files.log(), &log);
    if failed {
        // A full disk may be what the failure is about: that the logs do not fit must not hide it.
        let _ = keep(&files.console(), &console);
        return Ok(log);
    }
    kept?;
    files::remove_if_there(&console)?;
    Ok(log)
}

/// An installation that failed, with everything that is to be said about it. The guest's words
/// are in it: they say nothing about this machine.
#[derive(Debug)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// Adds the end of the log to an error.
fn with_log(error: &Error, seen: &Seen, log: &Path) -> Error {
    let said = match seen.log.is_empty() {
        true => "the installer had not begun its log".to_owned(),
        false => {
            let lines = text::indented(seen.log.iter().map(String::as_str));
            format!("the last lines of the installer's log:{lines}")
        }
    };
    let console = log.with_file_name(CONSOLE_LOG);
    let (log, console) = (log.display(), console.display());
    let text = format!("{error:#}\n{said}\nthe whole log: {log}; the console: {console}");
    Failed(text).into()
}
