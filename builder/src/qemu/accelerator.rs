//! What runs a guest's processor, and whether KVM runs guests on this PC. A `/dev/kvm` that opens is no proof: on some machines a
//! stock kernel hangs right after the firmware. What was seen is remembered for this boot of
//! the PC, and run.sh reads it too.

use crate::system::ui::Ui;
use crate::system::xdg;
use anyhow::{Context, Result, bail};
use rustix::fs::{Access, access};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// What runs a guest's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accelerator {
    /// KVM where it works, else software emulation with a warning.
    Auto,
    /// KVM, else an error.
    Kvm,
    /// Software emulation: works everywhere, about ten times slower.
    Tcg,
}

impl Accelerator {
    /// As run.sh takes it after `--accel=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Accelerator::Auto => "auto",
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        }
    }
}

/// The file in which the kernel has a number of its own for each boot of the PC.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How many boots the no-kvm file remembers. Home folders are shared by many PCs.
const REMEMBERED_BOOTS: usize = 1000;

/// What is tried first, `kvm` or `tcg`, and for `tcg` why it is not KVM. run.sh decides in the
/// same way.
pub(crate) fn choose(asked: Accelerator, device: &Path) -> Result<(Accelerator, Option<String>)> {
    if asked == Accelerator::Tcg {
        return Ok((Accelerator::Tcg, None));
    }
    let kvm = device.display();
    let why = if !device.exists() {
        Some(format!(
            "{kvm} is not there (virtualisation is switched off in the firmware setup?)"
        ))
    } else if access(device, Access::READ_OK | Access::WRITE_OK).is_err() {
        Some(format!(
            "no permission for {kvm} (sudo adduser $USER kvm, then log in again)"
        ))
    } else {
        None
    };
    match (asked, why) {
        (Accelerator::Kvm, Some(why)) => bail!("KVM is not usable: {why}"),
        (Accelerator::Auto, None) if refused_before() => Ok((
            Accelerator::Tcg,
            Some("no guest ran under it since this PC was started".to_owned()),
        )),
        (_, None) => Ok((Accelerator::Kvm, None)),
        (_, why) => Ok((Accelerator::Tcg, why)),
    }
}

/// The file with the boots of PCs on which KVM ran no guest; run.sh reads it.
fn no_kvm_file() -> Option<PathBuf> {
    Some(xdg::state()?.join("no-kvm"))
}

fn refused_before() -> bool {
    let known = no_kvm_file().and_then(|file| fs::read_to_string(file).ok());
    let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
    !boot.trim().is_empty() && known.is_some_and(|text| text.lines().any(|l| l == boot.trim()))
}

/// Whether QEMU's end, with these words, is KVM's fault when no kernel has spoken: it died of a signal (a register
/// that the host's KVM does not take ends it by an assertion), or says so.
pub(super) fn kvm_broke(status: ExitStatus, words: &str) -> bool {
    status.signal().is_some() || words.contains("failed to initialize kvm")
}

/// Remembers until the next boot of this PC that KVM runs no guest: only a convenience for the next
/// start, so that it fails is worth a warning.
pub(super) fn remember_no_kvm(ui: &Ui) {
    let Some(file) = no_kvm_file() else {
        return;
    };
    if let Err(error) = add_this_boot(&file) {
        ui.warn(&format!("the next start tries KVM again: {error:#}"));
    }
}

fn add_this_boot(file: &Path) -> Result<()> {
    let remember = || -> std::io::Result<()> {
        let boot = fs::read_to_string(BOOT_ID)?;
        let known = fs::read_to_string(file).unwrap_or_default();
        let mut lines: Vec<&str> = known.lines().collect();
        lines.push(boot.trim());
        let from = lines.len().saturating_sub(REMEMBERED_BOOTS);
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = file.with_extension(format!("new.{}", std::process::id()));
        let mut out = File::create(&new)?;
        writeln!(out, "{}", lines[from..].join("\n"))?;
        out.sync_all()?;
        fs::rename(&new, file)?;
        File::open(folder)?.sync_all()
    };
    remember().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("kvm");
        let (chosen, why) = choose(Accelerator::Auto, &device).unwrap();
        assert_eq!(chosen, Accelerator::Tcg);
        let expected = format!("{} is not there", device.display());
        assert!(why.unwrap().starts_with(&expected));
        let error = choose(Accelerator::Kvm, &device).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("KVM is not usable: {expected}")),
            "{error}"
        );
        assert_eq!(
            choose(Accelerator::Tcg, &device).unwrap(),
            (Accelerator::Tcg, None)
        );
        fs::write(&device, "").unwrap();
        let (chosen, _) = choose(Accelerator::Kvm, &device).unwrap();
        assert_eq!(chosen, Accelerator::Kvm);
    }

    #[test]
    fn boots_without_kvm_are_added_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/imgbuild/no-kvm");
        add_this_boot(&file).unwrap();
        let boot = fs::read_to_string(BOOT_ID).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), boot);
        let many = "other\n".repeat(REMEMBERED_BOOTS);
        fs::write(&file, many).unwrap();
        add_this_boot(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), REMEMBERED_BOOTS);
        assert_eq!(text.lines().last(), Some(boot.trim()));
    }
}
