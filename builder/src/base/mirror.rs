//! The mirror source: mmdebstrap and mke2fs in a user namespace; no root, no loop device, no VM.

use super::disk::RawDisk;
use super::explain;
use super::inputs::Inputs;
use super::payload;
use super::requirements::temporary;
use crate::system::program;
use crate::system::ui::Ui;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The keys of Debian's archives, in the package debian-archive-keyring: the file of Debian 13 and
/// later, and of those before.
const ARCHIVE_KEYS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// Makes the raw disk: mmdebstrap, packages, provision, seal, file system.
pub(super) fn make(inputs: &Inputs, work: &Path, ui: &Ui) -> Result<PathBuf> {
    let payload = write_payload(inputs, work)?;
    let disk = RawDisk::make(inputs, work)?;
    let mut mmdebstrap = program::ending_with_this("mmdebstrap")?;
    mmdebstrap
        // What is made is the disk, by the last hook: there is no tree to pack and to clean afterwards.
        .args(["--variant=apt", "--format=null", "--architectures=amd64"])
        .arg("--skip=cleanup")
        // As root this unshares the mounts only; else it is the user namespace.
        .arg("--mode=unshare")
        .arg("--aptopt=Acquire::Retries \"3\"")
        .arg("--aptopt=Acquire::Languages \"none\"")
        .arg(format!(
            "--customize-hook=copy-in {} /",
            shell_word(&payload)
        ))
        .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/packages.sh")
        .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/provision.sh")
        .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/seal.sh && rm -rf \"$1/imgbuild\"")
        .arg(format!("--customize-hook={}", disk.hook(inputs)?))
        .arg(&inputs.definition.release)
        .arg("/dev/null")
        .args(&inputs.sources)
        .env("TMPDIR", temporary())
        .env("LC_ALL", "C.UTF-8");
    if let Some(keyring) = ARCHIVE_KEYS.iter().find(|file| Path::new(file).exists()) {
        // Beside the keys that this PC's APT trusts: Ubuntu's does not trust Debian's.
        mmdebstrap.arg(format!("--keyring={keyring}"));
    }
    if let Some(proxy) = &inputs.definition.proxy {
        // Not by --aptopt: that stays in the image.
        mmdebstrap
            .env("http_proxy", proxy)
            .env("https_proxy", proxy);
    }
    let mut stage = Some(ui.stage("base system"));
    let mut log = String::new();
    let result = program::stream(&mut mmdebstrap, |line| {
        log.push_str(line);
        log.push('\n');
        if let Some(name) = line.strip_prefix("imgbuild-stage: ") {
            if let Some(stage) = stage.take() {
                stage.done("");
            }
            stage = Some(ui.stage(name));
        } else if let Some(stage) = &stage {
            stage.note(line);
        }
    });
    let log_file = work.join("mmdebstrap.log");
    fs::write(&log_file, &log).with_context(|| format!("cannot write {}", log_file.display()))?;
    match result {
        Ok(()) => {
            if let Some(stage) = stage.take() {
                stage.done("");
            }
            Ok(disk.finish())
        }
        Err(error) => Err(match explain::packages(&log, inputs) {
            Some(why) => error.context(why),
            None => error,
        }),
    }
}

/// The folder that is copied into the new root as `/imgbuild`.
fn write_payload(inputs: &Inputs, work: &Path) -> Result<PathBuf> {
    let payload = work.join("imgbuild");
    for (name, content) in payload::payload(inputs)? {
        let file = payload.join(name);
        let folder = file.parent().unwrap_or(&payload);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(payload)
}

/// What mmdebstrap's special hooks split their arguments by: shell words.
fn shell_word(path: &Path) -> String {
    program::quote(&path.to_string_lossy())
}
