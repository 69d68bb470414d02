//! The mirror source: mmdebstrap in a user namespace; no root, no loop device, no VM.

use super::inputs::Inputs;
use super::provision;
use crate::command;
use crate::report::Report;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes that a build needs for the unpacked system, the disk and the image.
const SPACE_OUTPUT: u64 = 4 << 30;
/// Bytes that mmdebstrap needs in its temporary folder.
const SPACE_TEMPORARY: u64 = 2 << 30;

/// Whether this process is root: mmdebstrap then needs no user namespace, mke2fs no fakeroot.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Checks every program and the user namespaces before any work.
pub fn check_tools() -> Result<()> {
    let mut needed = vec!["mmdebstrap", "tar", "mke2fs", "qemu-img"];
    if !is_root() {
        needed.extend(["fakeroot", "newuidmap", "newgidmap"]);
    }
    let missing: Vec<&str> = needed
        .into_iter()
        .filter(|program| command::find(program).is_err())
        .collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing
            .iter()
            .filter_map(|program| command::package_of(program))
            .collect();
        bail!(
            "programs are missing: {}. On Debian: sudo apt install {}",
            missing.join(", "),
            packages.join(" ")
        );
    }
    if is_root() {
        Ok(())
    } else {
        check_user_namespaces()
    }
}

/// Asks the kernel for a user namespace, and `/etc/subuid` for its numbers.
fn check_user_namespaces() -> Result<()> {
    for (file, off, remedy) in [
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "sudo sysctl user.max_user_namespaces=15000",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sudo sysctl kernel.unprivileged_userns_clone=1",
        ),
    ] {
        if fs::read_to_string(file).is_ok_and(|text| text.trim() == off) {
            bail!(
                "user namespaces are switched off ({file} is {off}), and without root a base \
                 needs them. Switch them on: {remedy}"
            );
        }
    }
    if let Ok(unshare) = command::find("unshare") {
        command::output(Command::new(unshare).args(["--user", "true"])).context(
            "this system gives no user namespace, and without root a base needs one. On Ubuntu: \
             sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )?;
    }
    let uid = rustix::process::getuid().as_raw().to_string();
    let name = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_default();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let has_range = fs::read_to_string(file)
            .unwrap_or_default()
            .lines()
            .any(|line| {
                let owner = line.split(':').next().unwrap_or_default();
                owner == uid || (!name.is_empty() && owner == name)
            });
        if !has_range {
            bail!(
                "{file} has no range for this user, and a user namespace needs one. Add it: \
                 sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}",
                if name.is_empty() { &uid } else { &name }
            );
        }
    }
    Ok(())
}

/// Refuses early when a build cannot fit.
pub fn check_space(output: &Path, _packages: usize) -> Result<()> {
    for (folder, needed) in [
        (output.to_owned(), SPACE_OUTPUT),
        (temporary(), SPACE_TEMPORARY),
    ] {
        let stat = rustix::fs::statvfs(&folder)
            .with_context(|| format!("cannot look at the folder {}", folder.display()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < needed {
            bail!(
                "not enough space in {}: {} MB are free and a base needs about {} MB there while it is made",
                folder.display(),
                free / 1_000_000,
                needed / 1_000_000
            );
        }
    }
    Ok(())
}

/// Where mmdebstrap unpacks: `/var/tmp`, because `/tmp` is often memory.
fn temporary() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// The new system's APT lines: those of `chosen`, else of this host's own mirror, else none
/// (mmdebstrap's default). Security updates come from where this host gets them.
pub fn sources(release: &str, chosen: Option<&str>) -> Result<Vec<String>> {
    let (host_mirror, host_security) = host_mirrors();
    let Some(mirror) = chosen.map(str::to_owned).or(host_mirror) else {
        return Ok(Vec::new());
    };
    let mirror = mirror.trim_end_matches('/');
    if !["http://", "https://"]
        .iter()
        .any(|scheme| mirror.starts_with(scheme))
    {
        bail!("the mirror `{mirror}` is not a http:// or https:// URL");
    }
    let mut lines = vec![
        format!("deb {mirror} {release} main"),
        format!("deb {mirror} {release}-updates main"),
    ];
    // Another mirror may have its security archive anywhere; this host's is known to work.
    if let Some(security) = host_security {
        let security = security.trim_end_matches('/');
        lines.push(format!("deb {security} {release}-security main"));
    }
    Ok(lines)
}

/// Debian's archive and its security archive in this host's APT sources.
fn host_mirrors() -> (Option<String>, Option<String>) {
    let Ok(apt_get) = command::find("apt-get") else {
        return (None, None);
    };
    // Unlike `indextargets`, this needs no package lists: a fresh machine has none.
    let listed = command::output(Command::new(apt_get).args(["--print-uris", "update"]));
    let listed = listed.unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed);
    // 'http://HOST/debian/dists/trixie/InRelease' FILE SIZE
    let archives: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix('\'')?.split_once("/dists/"))
        .map(|(archive, _)| archive)
        .collect();
    let ending = |end: &str| {
        archives
            .iter()
            .find(|archive| archive.starts_with("http") && archive.ends_with(end))
            .map(|archive| (*archive).to_owned())
    };
    (ending("/debian"), ending("/debian-security"))
}

/// Makes the root file system as a tar archive: mmdebstrap, provision, seal.
pub fn debootstrap(inputs: &Inputs, work: &Path, report: &Report) -> Result<PathBuf> {
    let payload = write_payload(inputs, work)?;
    let tar = work.join("root.tar");
    let mut mmdebstrap = Command::new(command::find("mmdebstrap")?);
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
    if log.contains("No space left on device") {
        return Some(format!(
            "no space left on the disk of {} or of the output folder",
            temporary().display()
        ));
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
