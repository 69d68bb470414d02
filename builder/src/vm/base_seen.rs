//! Whether a base is still the image that its manifest tells of. Its digest takes seconds, so it is
//! compared again only where the file is not as it was then: by the rule of run.sh, for a VM's own base.

use super::base_image::{BaseImage, manifest_of};
use crate::system::digest::sha256_shown;
use crate::system::files::{move_into_place, private_folder, write_new};
use crate::system::given;
use crate::system::program::quote;
use crate::system::ui::Ui;
use crate::system::xdg;
use anyhow::{Context, Result, bail};
use std::fs::{self, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How many bases are known at most. Home folders are shared by many PCs.
const MOST: usize = 200;
/// The digest of so many bytes takes some time.
const SHOWN: u64 = 64 << 20;

/// Refuses a base that others may write to, and one whose bytes have another digest than its manifest says.
pub(crate) fn verify(base: &Path, image: &BaseImage, ui: &Ui) -> Result<()> {
    let found = fs::metadata(base).with_context(|| format!("cannot look at {}", base.display()))?;
    if others_may_write(&found) && has_modes(base) {
        bail!(
            "others than its owner may write to {0} (mode {1:o}), and with it to the disk of every \
             machine that stands on it. To go on: chmod go-w {2}",
            base.display(),
            found.mode() & 0o7777,
            quote(&base.to_string_lossy())
        );
    }
    let line = format!("{} {}", image.sha256, looks_of(&found));
    let seen = Seen::load();
    if seen.lines.contains(&line) {
        return Ok(());
    }
    let stage = (found.len() >= SHOWN).then(|| ui.stage("digest of the base"));
    let show = |part| {
        if let Some(stage) = &stage {
            stage.progress(part);
        }
    };
    let digest =
        sha256_shown(base, show).with_context(|| format!("cannot read {}", base.display()))?;
    if digest != image.sha256 {
        let manifest = manifest_of(base);
        bail!(
            "{} was changed: found SHA-256 {digest}, and {} says {}. Copy both again, or make them \
             with: imgbuild base",
            base.display(),
            manifest.display(),
            image.sha256
        );
    }
    if let Some(stage) = stage {
        stage.done("as its manifest says");
    }
    seen.add(line);
    Ok(())
}

/// What changes with a file's content, as run.sh's `looks_of` writes it.
fn looks_of(found: &Metadata) -> String {
    format!(
        "{} {} {}.{:09} {}.{:09}",
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec()
    )
}

/// As run.sh's `check_base_mode` has it: a user's own group has the number of the user, mostly.
fn others_may_write(found: &Metadata) -> bool {
    let mode = found.mode();
    mode & 0o002 != 0 || (mode & 0o020 != 0 && found.uid() != found.gid())
}

/// Whether a file that is made beside this one gets the mode that it is made with; on most sticks
/// (exFAT, NTFS) it does not. Where none can be made there are modes.
fn has_modes(beside: &Path) -> bool {
    let probe = beside.with_file_name(format!(".modes.{}", std::process::id()));
    let mut open = OpenOptions::new();
    let made = open.write(true).create_new(true).mode(0o600).open(&probe);
    let mode = made.and_then(|file| file.metadata()).map(|m| m.mode());
    let _ = fs::remove_file(&probe);
    mode.map_or(true, |mode| mode & 0o077 == 0)
}

/// The bases whose digest was compared, each with its digest and how it looked then.
struct Seen {
    file: Option<PathBuf>,
    lines: Vec<String>,
}

impl Seen {
    fn load() -> Self {
        let file = xdg::state().map(|folder| folder.join("bases-seen"));
        let text = file
            .as_deref()
            .and_then(|file| given::read_text(file, given::SMALL).ok());
        let lines = text.unwrap_or_default();
        Seen {
            file,
            lines: lines.lines().map(str::to_owned).collect(),
        }
    }

    /// That it cannot be kept costs the next seed the same seconds.
    fn add(mut self, line: String) {
        let Some(file) = self.file else {
            return;
        };
        self.lines.push(line);
        let from = self.lines.len().saturating_sub(MOST);
        let text = format!("{}\n", self.lines[from..].join("\n"));
        let new = file.with_extension(format!("new.{}", std::process::id()));
        let _ = file
            .parent()
            .map_or(Ok(()), private_folder)
            .and_then(|()| write_new(&new, text.as_bytes(), 0o600))
            .and_then(|()| move_into_place(&[(new.clone(), file)]))
            .inspect_err(|_| {
                let _ = fs::remove_file(&new);
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn a_base_looks_as_it_does_to_run_sh() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.qcow2");
        fs::write(&base, "12345").unwrap();
        let stat = Command::new("stat")
            .args(["-L", "-c", "%i %s %.9Y %.9Z"])
            .arg(&base)
            .output();
        let shown = String::from_utf8(stat.unwrap().stdout).unwrap();
        assert_eq!(looks_of(&fs::metadata(&base).unwrap()), shown.trim());
        assert!(has_modes(&base));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_base_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.qcow2");
        fs::write(&base, "12345").unwrap();
        for (mode, is_others) in [(0o644, false), (0o646, true), (0o600, false)] {
            fs::set_permissions(&base, fs::Permissions::from_mode(mode)).unwrap();
            let found = fs::metadata(&base).unwrap();
            assert_eq!(others_may_write(&found), is_others, "{mode:o}");
        }
    }
}
