//! The units: the traps of a join under systemd stay avoided.
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use testkit::{has, house};

const UNITS: [&str; 5] = [
    "firstboot-local",
    "firstboot-join",
    "firstboot-rsa-key",
    "firstboot-guard",
    "firstboot-watch",
];

fn template(name: &str) -> PathBuf {
    house(&format!("templates/{name}.service"))
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
    let after = words("firstboot-join", "After");
    for unit in ["firstboot-local", "pve-cluster", "corosync"] {
        assert!(after.contains(&format!("{unit}.service")), "{unit}");
    }
    // Without quorum it takes 80 s to start, and a repair would begin that much later.
    assert!(!after.contains(&"pveproxy.service".to_owned()));
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

/// Debian's openvpn@.service as far as it is ordered (openvpn 2.6.14-1+deb13u3).
const OPENVPN: &str = "[Unit]
PartOf=openvpn.service
Before=systemd-user-sessions.service
After=network-online.target
Wants=network-online.target
[Service]
Type=notify
ExecStart=/bin/true
Restart=on-failure
[Install]
WantedBy=multi-user.target
";

fn drop_in() -> String {
    fs::read_to_string(house("templates/openvpn-instance.conf")).unwrap()
}

/// What a tunnel carries begins after it and ends before it; no login prompt waits for it.
#[test]
fn a_tunnel_is_there_before_what_it_carries_and_nothing_waits_for_it() {
    let text = drop_in();
    let words = |key: &str| -> Vec<String> {
        let values = text.lines().filter_map(|line| line.split_once('='));
        let own = values.filter(|(k, _)| *k == key);
        own.flat_map(|(_, value)| value.split_whitespace().map(str::to_owned))
            .collect()
    };
    let carried = [
        "remote-fs-pre.target",
        "corosync.service",
        "pve-guests.service",
    ];
    assert_eq!(words("Before"), carried);
    // A target that nobody wants orders nothing.
    assert_eq!(words("Wants"), ["remote-fs-pre.target"]);
    assert_eq!(words("Type"), ["exec"]);
    assert_eq!(words("NotifyAccess"), ["main"]);
    assert_eq!(
        words("InaccessiblePaths"),
        ["-/usr/bin/systemd-ask-password"]
    );
}

/// Says nothing where systemd is not installed. The folder is ordered as a boot is, and with one
/// more line systemd finds the cycle that is not there without it.
#[test]
fn a_tunnel_makes_no_cycle() {
    let folder = tempfile::tempdir().unwrap();
    let instance = folder.path().join("openvpn@vpn.service.d");
    let wants = folder.path().join("multi-user.target.wants");
    for new in [&instance, &wants] {
        fs::create_dir(new).unwrap();
    }
    let unit = folder.path().join("openvpn@.service");
    fs::write(&unit, OPENVPN).unwrap();
    std::os::unix::fs::symlink(&unit, wants.join("openvpn@vpn.service")).unwrap();
    for (name, order) in [
        (
            "corosync",
            "Requires=network-online.target\nAfter=network-online.target",
        ),
        (
            "pve-guests",
            "Wants=remote-fs.target\nAfter=remote-fs.target corosync.service",
        ),
    ] {
        let text = format!("[Unit]\n{order}\n[Service]\nExecStart=/bin/true\n");
        let file = folder.path().join(format!("{name}.service"));
        fs::write(&file, text).unwrap();
        std::os::unix::fs::symlink(&file, wants.join(format!("{name}.service"))).unwrap();
    }
    let verify = |more: &str| {
        fs::write(instance.join("firstboot.conf"), drop_in() + more).unwrap();
        Command::new("systemd-analyze")
            .args(["verify", "--man=no", "multi-user.target"])
            .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
            .output()
            .map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let Ok(said) = verify("") else { return };
    assert!(
        !said.contains("cycle") && !said.contains("firstboot.conf"),
        "{said}"
    );
    let said = verify("[Unit]\nAfter=remote-fs-pre.target\n").unwrap();
    has(&said, "Found ordering cycle");
}

#[test]
fn a_core_dump_of_either_is_never_written() {
    for unit in UNITS {
        assert_eq!(words(unit, "LimitCORE"), ["0"]);
    }
}

/// corosync waits for the guard, so it has a limit; nothing else depends on it.
#[test]
fn the_guard_is_between_pmxcfs_and_corosync() {
    let guard = |key| words("firstboot-guard", key);
    assert_eq!(guard("Before"), ["corosync.service"]);
    assert!(guard("After").contains(&"pve-cluster.service".to_owned()));
    assert_eq!(guard("Type"), ["oneshot"]);
    assert!(guard("TimeoutStartSec")[0].parse::<u64>().unwrap() > 0);
    assert_eq!(guard("ConditionPathExists"), ["/etc/corosync/authkey"]);
    for key in ["Requires", "BindsTo", "RequiredBy"] {
        assert!(guard(key).is_empty(), "{key}=");
    }
}

/// Nothing waits for the RSA key but pveproxy, and that only where provision.sh makes it a oneshot; what
/// failed to be made does not hold that one up.
#[test]
fn the_rsa_key_is_made_beside_the_boot() {
    let unit = |key| words("firstboot-rsa-key", key);
    assert_eq!(unit("Type"), ["exec"]);
    assert_eq!(unit("Before"), ["pveproxy.service"]);
    assert_eq!(unit("After"), ["firstboot-local.service"]);
    assert_eq!(unit("Nice"), ["19"]);
    assert!(unit("TimeoutStartSec")[0].parse::<u64>().unwrap() > 0);
    for key in ["Requires", "BindsTo", "RequiredBy", "Restart"] {
        assert!(unit(key).is_empty(), "{key}=");
    }
}

/// Whatever ends it, it comes back; and what a killed firstboot leaves running does not keep the next
/// one waiting for a minute and a half.
#[test]
fn the_watcher_stays_and_a_killed_join_is_soon_back() {
    assert_eq!(words("firstboot-watch", "Restart"), ["always"]);
    for unit in ["firstboot-watch", "firstboot-join"] {
        let seconds = |key| words(unit, key)[0].parse::<u64>().unwrap();
        assert!(
            seconds("TimeoutStopSec") + seconds("RestartSec") <= 15,
            "{unit}"
        );
    }
}

/// pmxcfs mounts /etc/pve again while the join runs, and NFS storages are mounted by it: what is
/// behind a mount namespace would not see the one, and hide the other.
#[test]
fn no_limit_makes_a_mount_namespace() {
    for unit in UNITS {
        for key in [
            "ProtectSystem",
            "ProtectHome",
            "ProtectProc",
            "ProtectControlGroups",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "PrivateDevices",
            "PrivateMounts",
            "PrivateTmp",
            "PrivateUsers",
            "ProcSubset",
            "ReadOnlyPaths",
            "ReadWritePaths",
            "InaccessiblePaths",
            "TemporaryFileSystem",
            "BindPaths",
            "RootDirectory",
            "DynamicUser",
            "MountFlags",
        ] {
            assert!(words(unit, key).is_empty(), "{unit}: {key}=");
        }
        // A program that is refused something says so.
        assert_eq!(words(unit, "SystemCallErrorNumber"), ["EPERM"], "{unit}");
    }
}

/// From 0 (closed) to 10 (open), as systemd counts it; says nothing where systemd is missing or
/// cannot tell it for a file.
#[test]
fn all_are_limited() {
    for unit in UNITS {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(template(unit))
            .output();
        let Ok(output) = output else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        let Some((_, level)) = said.split_once("Overall exposure level for ") else {
            return;
        };
        let level = level.split_whitespace().nth(1).unwrap();
        assert!(level.parse::<f32>().unwrap() <= 6.0, "{unit}: {level}");
    }
}

/// Says nothing where systemd is not installed; the check is systemd's own.
#[test]
fn systemd_accepts_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in UNITS {
        let text = fs::read_to_string(template(name)).unwrap();
        // The binary lies elsewhere on this machine.
        let text = text.replace("/usr/sbin/firstboot", crate::program().to_str().unwrap());
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
