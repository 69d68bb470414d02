//! What a build needs of this machine, checked before any work.

use super::options::Source;
use crate::system::program;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that a build needs for the packed and the unpacked system, and the disk; without Proxmox
/// VE, and with it. The second number is an estimate: an installed node three times.
const SPACE_OUTPUT: [u64; 2] = [4 << 30, 12 << 30];
/// Bytes that mmdebstrap needs in its temporary folder: an installed node and its archives.
const SPACE_TEMPORARY: [u64; 2] = [2 << 30, 6 << 30];

/// The words of the kernel, and so of every program.
pub(crate) const NO_SPACE: &str = "No space left on device";

/// Checks every program and the user namespaces before any work.
pub(super) fn check_tools(source: Source) -> Result<()> {
    let mut needed = match source {
        Source::Netinst => vec!["qemu-system-x86_64", "qemu-img"],
        Source::Mirror => vec!["mmdebstrap", "qemu-img"],
    };
    // As root, mmdebstrap needs no user namespace.
    let namespace = source == Source::Mirror && !rustix::process::geteuid().is_root();
    if namespace {
        needed.extend(["newuidmap", "newgidmap"]);
    }
    let missing: Vec<&str> = needed
        .into_iter()
        .filter(|program| program::find(program).is_err())
        .collect();
    if !missing.is_empty() {
        let mut packages: Vec<&str> = missing
            .iter()
            .filter_map(|program| program::package_of(program))
            .collect();
        packages.dedup();
        bail!(
            "programs are missing: {}. On Debian: sudo apt install {}",
            missing.join(", "),
            packages.join(" ")
        );
    }
    if namespace {
        check_user_namespaces()
    } else {
        Ok(())
    }
}

/// Asks the kernel for a user namespace, and `/etc/subuid` for its numbers.
fn check_user_namespaces() -> Result<()> {
    check_switches(Path::new("/proc/sys"))?;
    if let Ok(mut unshare) = program::command("unshare") {
        program::output(unshare.args(["--user", "true"])).context(
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

/// The kernel's switches for user namespaces, below `/proc/sys`.
fn check_switches(sys: &Path) -> Result<()> {
    for (file, remedy) in [
        ("user/max_user_namespaces", "user.max_user_namespaces=15000"),
        (
            "kernel/unprivileged_userns_clone",
            "kernel.unprivileged_userns_clone=1",
        ),
    ] {
        let file = sys.join(file);
        if fs::read_to_string(&file).is_ok_and(|text| text.trim() == "0") {
            bail!(
                "user namespaces are switched off ({} is 0), and without root a base needs them. \
                 Switch them on: sudo sysctl {remedy}",
                file.display()
            );
        }
    }
    Ok(())
}

/// Refuses early when a build cannot fit.
pub(super) fn check_space(output: &Path, source: Source, proxmox: bool) -> Result<()> {
    let of = |[plain, with_proxmox]: [u64; 2]| if proxmox { with_proxmox } else { plain };
    let mut places = vec![(output.to_owned(), of(SPACE_OUTPUT))];
    if source == Source::Mirror {
        places.push((temporary(), of(SPACE_TEMPORARY)));
    }
    for (folder, needed) in places {
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
pub(crate) fn temporary() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switched_off_user_namespaces_are_named_with_the_switch() {
        let sys = tempfile::tempdir().unwrap();
        check_switches(sys.path()).unwrap();
        fs::create_dir(sys.path().join("user")).unwrap();
        let file = sys.path().join("user/max_user_namespaces");
        fs::write(&file, "96365\n").unwrap();
        check_switches(sys.path()).unwrap();
        fs::write(&file, "0\n").unwrap();
        assert_eq!(
            check_switches(sys.path()).unwrap_err().to_string(),
            format!(
                "user namespaces are switched off ({} is 0), and without root a base needs them. \
                 Switch them on: sudo sysctl user.max_user_namespaces=15000",
                file.display()
            )
        );
    }
}
