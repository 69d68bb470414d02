//! The netinst source: the Debian installer, unattended, in a virtual machine.
//!
//! The installer finds its disc, sets up the network, partitions and installs the base system,
//! as ever. Its initrd has one more archive with answers, hooks and the payload; at its end the
//! hook runs the same provision and seal scripts as the mirror source.

mod cpio;
pub(crate) mod fetch;
mod initrd;
pub(crate) mod installer_log;
pub(crate) mod iso;
mod machine;
pub(crate) mod question;
mod watch;

use super::explain;
use super::inputs::Inputs;
use super::manifest::IsoFacts;
use super::options::Options;
use super::preseed;
use super::requirements::NO_SPACE;
use crate::qemu::{self, Accelerator, End, GuestConsole};
use crate::system::files;
use crate::system::interrupt::Interrupted;
use crate::system::text;
use crate::system::ui::Ui;
use anyhow::{Context, Error, Result, anyhow};
use iso::Disc;
use machine::{Files, Hardware};
use std::path::{Path, PathBuf};
use std::{fmt, fs};
use watch::{Installer, Verdict};

/// The installer's log, kept beside the results; [`CONSOLE_LOG`] is kept after a failure only.
pub(crate) const INSTALLER_LOG: &str = "base.installer.log";
/// What was on the installer's screen.
pub(crate) const CONSOLE_LOG: &str = "base.console.log";

/// The disc of an installation, before it begins.
pub(super) fn disc(inputs: &Inputs, options: &Options, ui: &Ui) -> Result<Disc> {
    let (path, sha256) = fetch::obtain(options.iso.as_deref(), &inputs.definition, ui)?;
    Disc::open(&path, sha256, &inputs.definition.release)
}

impl Disc {
    /// What the manifest says about it.
    pub(super) fn facts(&self) -> IsoFacts {
        IsoFacts {
            info: self.info.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

/// Installs on a raw disk in the work folder; returns the disk.
pub(super) fn install(
    inputs: &Inputs,
    disc: &Disc,
    options: &Options,
    work: &Path,
    ui: &Ui,
) -> Result<PathBuf> {
    let answers = preseed::render(
        &inputs.definition,
        &inputs.sources,
        &inputs.root_uuid,
        &options.without,
    )?;
    let initrd = initrd::with_answers(&disc.initrd, &answers, inputs)?;
    let files = Files::new(work, &disc.kernel, &initrd)?;
    let hardware = Hardware {
        iso: &disc.path,
        disk_bytes: inputs.definition.disk,
        without: &options.without,
    };
    let mut installer = Installer::new(&files, hardware, options.standstill, ui);
    let result = boot_installer(&mut installer, inputs, options, ui);
    let failed = result.as_ref().err();
    if failed.is_some_and(|error| error.is::<Interrupted>()) {
        return result.map(|()| files.disk());
    }
    let kept = keep_logs(&files, &options.output, failed.is_some())?;
    match result {
        Ok(()) => Ok(files.disk()),
        Err(error) => Err(with_log(&error, &installer, &kept)),
    }
}

/// Boots the installer and watches it until everything is on the disk.
fn boot_installer(
    installer: &mut Installer<'_>,
    inputs: &Inputs,
    options: &Options,
    ui: &Ui,
) -> Result<()> {
    let (accelerator, why) = qemu::choose(options.accelerator, &options.kvm_device)?;
    if let Some(why) = why {
        ui.warn(&format!("KVM is not usable: {why}"));
    }
    let may_fall_back = options.accelerator == Accelerator::Auto;
    let watched = qemu::boot(installer, accelerator, may_fall_back, &options.limits, ui)?;
    let mut machine = watched.machine;
    machine.end();
    match watched.end {
        End::Verdict(Verdict::Installed) => Ok(()),
        end => Err(trouble(
            end,
            inputs,
            installer,
            &watched.console,
            &machine.words(),
        )),
    }
}

/// The error of an installation that came to no good end. `words` are QEMU's.
fn trouble(
    end: End<Verdict>,
    inputs: &Inputs,
    installer: &Installer<'_>,
    console: &GuestConsole,
    words: &str,
) -> Error {
    let (stage, files) = (&installer.stage, installer.files);
    let with_console = |what: String| {
        let lines = text::indented(console.last_lines());
        anyhow!("{what}; the last lines of its console:{lines}")
    };
    let error = match end {
        End::Verdict(Verdict::Failed(status)) => {
            anyhow!("the stage `{stage}` failed in the new system ({status})")
        }
        End::Verdict(Verdict::Question(lines)) => anyhow!(
            "the installer stopped in the stage `{stage}` and asks:{}",
            text::indented(&lines)
        ),
        End::Verdict(Verdict::Standstill(limit)) => anyhow!(
            "the installer did nothing for {} s in the stage `{stage}`",
            limit.as_secs()
        ),
        End::Verdict(Verdict::NoSpace) => {
            return anyhow!("{NO_SPACE}: {}", files.disk().display())
                .context("the disk of the work folder is full; QEMU has stopped the machine");
        }
        End::Verdict(Verdict::Installed) => anyhow!("the installation ended"),
        End::Fatal(fatal) => with_console(fatal.text().to_owned()),
        End::Silent(limit) => with_console(format!(
            "the machine said nothing for {} s in the stage `{stage}`",
            limit.as_secs()
        )),
        End::Late(limit, passed) => anyhow!(
            "the installation was not done after {} s (--timeout{}), in the stage `{stage}`",
            limit.as_secs(),
            qemu::busy(limit, passed)
        ),
        End::Held(why) => anyhow!(
            "the installation was not done in time (--timeout), because the machine was held: {why}"
        ),
        End::Exited(status) => anyhow!(
            "QEMU ended ({status}) in the stage `{stage}`, before the installation was done{}",
            text::indented(words.lines())
        ),
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
            .filter(|l| !matches!(installer_log::classify(l), installer_log::Said::Alive(..)));
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
pub(crate) struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// Adds the end of the log to an error.
fn with_log(error: &Error, installer: &Installer<'_>, log: &Path) -> Error {
    let said = match installer.log.is_empty() {
        true => "the installer had not begun its log".to_owned(),
        false => {
            let lines = text::indented(&installer.log);
            format!("the last lines of the installer's log:{lines}")
        }
    };
    let console = log.with_file_name(CONSOLE_LOG);
    let (log, console) = (log.display(), console.display());
    let text = format!("{error:#}\n{said}\nthe whole log: {log}; the console: {console}");
    Failed(text).into()
}
