//! The mirror source: mmdebstrap in a user namespace; no root, no loop device, no VM.

use super::inputs::Inputs;
use super::provision;
use super::requirements::{NO_SPACE, temporary};
use crate::command;
use crate::report::Report;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Makes the root file system as a tar archive: mmdebstrap, provision, seal.
pub fn debootstrap(inputs: &Inputs, work: &Path, report: &Report) -> Result<PathBuf> {
    let payload = write_payload(inputs, work)?;
    let tar = work.join("root.tar");
    let mut mmdebstrap = command::ending_with_this("mmdebstrap")?;
    mmdebstrap
        .args(["--variant=apt", "--format=tar", "--architectures=amd64"])
        // As root this unshares the mounts only; else it is the user namespace.
        .arg("--mode=unshare")
        .arg("--aptopt=Acquire::Retries \"3\"")
        .arg("--aptopt=Acquire::Languages \"none\"")
        // Nodes of the file system's own kind are made by devtmpfs at boot.
        .arg("--skip=output/dev")
        .arg(format!(
            "--customize-hook=copy-in {} /",
            shell_word(&payload)
        ))
        .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/provision.sh")
        .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/seal.sh && rm -rf \"$1/imgbuild\"")
        .arg(&inputs.definition.release)
        .arg(&tar)
        .args(&inputs.sources)
        .env("TMPDIR", temporary())
        .env("LC_ALL", "C.UTF-8");
    if let Some(proxy) = &inputs.definition.proxy {
        // Not by --aptopt: that stays in the image.
        mmdebstrap
            .env("http_proxy", proxy)
            .env("https_proxy", proxy);
    }
    let mut stage = Some(report.stage("base system"));
    let mut log = String::new();
    let result = command::stream(&mut mmdebstrap, |line| {
        log.push_str(line);
        log.push('\n');
        if let Some(name) = line.strip_prefix("imgbuild-stage: ") {
            if let Some(stage) = stage.take() {
                stage.done("");
            }
            stage = Some(report.stage(name));
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
            Ok(tar)
        }
        Err(error) => Err(match explain(&log, inputs) {
            Some(why) => error.context(why),
            None => error,
        }),
    }
}

/// The folder that is copied into the new root as `/imgbuild`.
fn write_payload(inputs: &Inputs, work: &Path) -> Result<PathBuf> {
    let payload = work.join("imgbuild");
    let keys = payload.join("keys");
    fs::create_dir_all(&keys).with_context(|| format!("cannot make {}", keys.display()))?;
    let write = |name: &str, text: &str| {
        let file = payload.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    write("provision.sh", &inputs.provision)?;
    write("seal.sh", provision::SEAL)?;
    write("firstboot-local.service", provision::LOCAL_UNIT)?;
    write("firstboot-join.service", provision::JOIN_UNIT)?;
    let copy = |from: &Path, to: PathBuf| {
        fs::copy(from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
    };
    copy(&inputs.firstboot, payload.join("firstboot"))?;
    for repository in &inputs.definition.repositories {
        copy(
            &repository.key,
            keys.join(format!("{}.gpg", repository.name)),
        )?;
    }
    Ok(payload)
}

/// What mmdebstrap's special hooks split their arguments by: shell words.
fn shell_word(path: &Path) -> String {
    command::quote(&path.to_string_lossy())
}

/// The cause in plain words, where the program's own words are known.
fn explain(log: &str, inputs: &Inputs) -> Option<String> {
    let package = log.lines().find_map(|line| {
        let rest = line
            .split_once("Unable to locate package ")
            .map(|(_, name)| name);
        rest.or_else(|| {
            line.strip_prefix("E: Package '")
                .and_then(|rest| rest.split_once("' has no installation candidate"))
                .map(|(name, _)| name)
        })
    });
    if let Some(package) = package {
        return Some(format!(
            "the package `{}` was not found in {} or in the definition's repositories; \
             correct `packages` in the image definition",
            package.trim(),
            inputs.definition.release
        ));
    }
    // The line may be far above the last ones; all that fails after it is its consequence.
    if log.contains(NO_SPACE) {
        return Some(NO_SPACE.to_owned());
    }
    let unreachable = [
        "Could not connect to",
        "Could not resolve",
        "Temporary failure resolving",
        "Connection failed",
        "Unable to connect to",
        "Connection timed out",
        "Failed to fetch",
        "Connection refused",
    ];
    if unreachable.iter().any(|words| log.contains(words)) {
        let hosts = match inputs.sources.first() {
            Some(line) => line.split(' ').nth(1).unwrap_or_default().to_owned(),
            None => "Debian's default mirror".to_owned(),
        };
        return Some(format!(
            "the mirror {hosts} or a repository of the definition cannot be reached; \
             look at the network, or choose another with --mirror"
        ));
    }
    if log.contains("NO_PUBKEY")
        || log.contains("is not signed")
        || log.contains("Sub-process /usr/bin/sqv")
    {
        return Some(
            "a repository is not signed by the key that is pinned for it; nothing was installed from it".to_owned(),
        );
    }
    None
}
