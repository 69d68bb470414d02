//! The two units: the traps of a join under systemd stay avoided.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn template(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../templates/{name}.service"))
}

/// All words that a unit gives for a key, over several lines.
fn words(name: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(template(name)).unwrap();
    let values = text.lines().filter_map(|line| line.split_once('='));
    values
        .filter(|(k, _)| *k == key)
        .flat_map(|(_, value)| value.split_whitespace())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_join_only_wants_and_follows() {
    for key in ["Requires", "BindsTo", "Requisite", "PartOf", "Before"] {
        assert!(words("firstboot-join", key).is_empty(), "{key}=");
    }
    for unit in [
        "firstboot-local",
        "pve-cluster",
        "corosync",
        "pvedaemon",
        "pveproxy",
    ] {
        let unit = format!("{unit}.service");
        assert!(words("firstboot-join", "After").contains(&unit), "{unit}");
    }
    assert_eq!(words("firstboot-join", "WorkingDirectory"), ["/root"]);
    assert_eq!(words("firstboot-join", "WantedBy"), ["multi-user.target"]);
}

#[test]
fn the_local_stage_comes_before_whoever_reads_the_name() {
    assert_eq!(words("firstboot-local", "DefaultDependencies"), ["no"]);
    let before = words("firstboot-local", "Before");
    for unit in [
        "sysinit.target",
        "network-pre.target",
        "rrdcached.service",
        "pve-cluster.service",
        "ssh.service",
    ] {
        assert!(before.iter().any(|word| word == unit), "{unit}");
    }
    assert_eq!(words("firstboot-local", "WantedBy"), ["sysinit.target"]);
}

/// A join may have to wait for a night, and nothing waits for it; the first stage is waited for.
#[test]
fn the_join_is_in_the_background_and_the_local_stage_has_a_limit() {
    assert_eq!(words("firstboot-join", "Type"), ["exec"]);
    assert!(words("firstboot-join", "TimeoutStartSec").is_empty());
    assert!(words("firstboot-join", "RuntimeMaxSec").is_empty());
    assert_eq!(words("firstboot-join", "Restart"), ["on-abnormal"]);
    assert_eq!(words("firstboot-local", "Type"), ["oneshot"]);
    let limit = &words("firstboot-local", "TimeoutStartSec")[0];
    assert!(limit.parse::<u64>().unwrap() > 0);
}

#[test]
fn a_core_dump_of_either_is_never_written() {
    for unit in ["firstboot-local", "firstboot-join"] {
        assert_eq!(words(unit, "LimitCORE"), ["0"]);
    }
}

/// Says nothing where systemd is not installed; the check is systemd's own.
#[test]
fn systemd_accepts_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in ["firstboot-local", "firstboot-join"] {
        let text = fs::read_to_string(template(name)).unwrap();
        // The binary lies elsewhere on this machine.
        let text = text.replace("/usr/sbin/firstboot", env!("CARGO_BIN_EXE_firstboot"));
        let file = folder.path().join(format!("{name}.service"));
        fs::write(&file, text).unwrap();
        files.push(file);
    }
    let analyze = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(&files)
        .output();
    let Ok(output) = analyze else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("firstboot-"), "{said}");
}
