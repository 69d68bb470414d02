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

#[test]
fn both_have_a_finite_time_limit() {
    // The join's own waits: mount, way to a peer, attempts (the last may overrun by its
    // grace), settling. See `steps::join`.
    let own = 60 + 60 + 600 + 15 + 30;
    let limit = |name| words(name, "TimeoutStartSec")[0].parse::<u64>().unwrap();
    assert!(limit("firstboot-join") > own);
    assert!(limit("firstboot-local") > 0);
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
