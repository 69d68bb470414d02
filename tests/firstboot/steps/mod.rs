//! The local stage on whole trees: `tests/cases/steps/NAME/{seed,before,after}`.
//!
//! The binary runs on a copy of `before`; the copy must then equal `after`. `modes` lists
//! permission bits (git keeps none): given to the copy first, and compared afterwards.
//! `outcome` holds each step's result and detail. `UPDATE_GOLDEN=1` rewrites `after` and
//! `outcome`.
mod openvpn;

use crate::contract::{
    Journal, LOCAL, Loaded, Reporter, Root, Source, Stage, StageRunner, State, StepRecord,
    read_folder,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use testkit::tree::{apply_modes, check_modes, copy, expect, snapshot};
use testkit::{Folder, both as text, expect_file, has, house, must, set_mode};

const JOURNAL: &str = "var/lib/firstboot/journal.json";

fn cases() -> PathBuf {
    house("tests/cases/steps")
}

fn firstboot(root: &Path, seed: &Path, command: &str) -> Output {
    Command::new(crate::program())
        .args(["--root".as_ref(), root.as_os_str()])
        .args(["--seed-dir".as_ref(), seed.as_os_str()])
        .arg(command)
        .output()
        .unwrap()
}

fn status(root: &Path) -> State {
    State::load(&Root::new(root)).unwrap()
}

/// Each step with its result and detail, one a line.
fn outcome(root: &Path) -> String {
    let line = |record: &StepRecord| {
        let detail = record.detail.as_deref().unwrap_or_default();
        let line = format!("{} {} {detail}", record.step, record.result.name());
        format!("{}\n", line.trim_end())
    };
    let steps = status(root).steps;
    steps.iter().map(|s| line(&s.record)).collect()
}

/// The halves of the host keys that the machines of all cases have, each with the line that stands for
/// it in their trees. Both halves are what ssh-keygen makes and takes for a key.
static HOST_KEYS: LazyLock<Vec<(String, Vec<u8>, String)>> = LazyLock::new(|| {
    let folder = Folder::new();
    let mut halves = Vec::new();
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let file = folder.path(kind);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", kind, "-N", "", "-C", "root@debian", "-f"]);
        must(command.arg(&file));
        for (half, end) in [("private", ""), ("public", ".pub")] {
            let key = fs::read(folder.path(&format!("{kind}{end}"))).unwrap();
            let line = format!("a {half} {kind} key stands here\n");
            halves.push((format!("etc/ssh/ssh_host_{kind}_key{end}"), key, line));
        }
    }
    halves
});

/// Wants a machine to have become what is in this tree.
fn expect_tree(expected: &Path, found: &Path) {
    let copied = tempfile::tempdir().unwrap();
    copy(found, copied.path(), None);
    for (file, key, line) in &*HOST_KEYS {
        let file = copied.path().join(file);
        if fs::read(&file).is_ok_and(|found| found == *key) {
            fs::write(&file, line).unwrap();
        }
    }
    expect(expected, copied.path());
}

/// A copy of a case's `before`.
fn begin(case: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&case.join("before"), folder.path(), None);
    for (file, key, line) in &*HOST_KEYS {
        let file = folder.path().join(file);
        if fs::read(&file).is_ok_and(|found| found == line.as_bytes()) {
            fs::write(&file, key).unwrap();
            let mode = if file.extension().is_some() {
                0o644
            } else {
                0o600
            };
            set_mode(&file, mode);
        }
    }
    apply_modes(&case.join("modes"), folder.path());
    folder
}

mod each_tree {
    testkit::cases!("steps/*/", super::becomes_what_it_should);
}

fn becomes_what_it_should(case: &Path) {
    let folder = begin(case);
    let output = firstboot(folder.path(), &case.join("seed"), "local");
    assert!(output.status.success(), "{}", text(&output));
    check_modes(&case.join("modes"), folder.path());
    expect_tree(&case.join("after"), folder.path());
    expect_file(&case.join("outcome"), &outcome(folder.path()));
}

mod a_second_run {
    testkit::cases!("steps/*/", super::touches_nothing);
}

fn touches_nothing(case: &Path) {
    let folder = begin(case);
    let seed = case.join("seed");
    firstboot(folder.path(), &seed, "local");
    let journal = fs::read(folder.path().join(JOURNAL)).unwrap();
    let before = snapshot(folder.path());

    let again = firstboot(folder.path(), &seed, "local");
    assert!(again.status.success());
    assert_eq!(text(&again), "");
    assert_eq!(fs::read(folder.path().join(JOURNAL)).unwrap(), journal);
    assert_eq!(snapshot(folder.path()), before);

    // Without its journal every step looks again, and finds all as it should be.
    fs::remove_file(folder.path().join(JOURNAL)).unwrap();
    let converging = firstboot(folder.path(), &seed, "local");
    assert!(converging.status.success(), "{}", text(&converging));
    let steps = outcome(folder.path());
    assert_eq!(steps.lines().count(), LOCAL.len());
    for step in steps.lines() {
        has(step, " unchanged");
    }
    assert_eq!(snapshot(folder.path()), before);
}

#[test]
fn a_cut_after_any_step_is_made_good() {
    for name in ["fresh-clone", "renamed-node"] {
        let case = cases().join(name);
        let seed = read_folder(&case.join("seed")).unwrap();
        for cut in 0..=LOCAL.len() {
            let folder = begin(&case);
            let root = Root::new(folder.path());
            let mut reporter = Reporter::new(&root, Stage::Local);
            let loaded = Journal::load(&root).unwrap();
            let mut work =
                StageRunner::begin(&root, &Source::Disk, &seed, &loaded, &mut reporter).unwrap();
            work.steps(Stage::Local, &LOCAL[..cut]).unwrap();
            // A step's work may be on disk without its record.
            if let Some(step) = LOCAL.get(cut) {
                let journal = fs::read(folder.path().join(JOURNAL)).unwrap();
                work.steps(Stage::Local, &[*step]).unwrap();
                fs::write(folder.path().join(JOURNAL), journal).unwrap();
            }
            let output = firstboot(folder.path(), &case.join("seed"), "local");
            assert!(output.status.success(), "{name} {cut}: {}", text(&output));
            println!("{name}, cut after {cut} steps");
            expect_tree(&case.join("after"), folder.path());
        }
    }
}

#[test]
fn an_unfinished_instance_hands_its_old_names_on() {
    let case = cases().join("renamed-node");
    let folder = begin(&case);
    let root = Root::new(folder.path());
    let mut other = read_folder(&case.join("seed")).unwrap();
    other.meta_data.instance_id = "iid-vm40-1".to_owned();
    other.user_data.hostname = Some("vm40".parse().unwrap());
    other.user_data.fqdn = Some("vm40.lab.example".parse().unwrap());
    let mut reporter = Reporter::new(&root, Stage::Local);
    let loaded = Journal::load(&root).unwrap();
    let mut work =
        StageRunner::begin(&root, &Source::Disk, &other, &loaded, &mut reporter).unwrap();
    // Cut before the statistics were renamed.
    work.steps(Stage::Local, &LOCAL[..4]).unwrap();
    let output = firstboot(folder.path(), &case.join("seed"), "local");
    assert!(output.status.success(), "{}", text(&output));
    expect_tree(&case.join("after"), folder.path());
}

#[test]
fn a_damaged_journal_is_reported_and_all_steps_run() {
    let case = cases().join("fresh-clone");
    let folder = begin(&case);
    let seed = case.join("seed");
    firstboot(folder.path(), &seed, "local");
    let journal = folder.path().join(JOURNAL);
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() / 2]).unwrap();
    let output = firstboot(folder.path(), &seed, "local");
    assert!(output.status.success());
    let words = text(&output);
    has(&words, "journal.json is not a journal");
    has(&words, "all steps run again");
    let loaded = Journal::load(&Root::new(folder.path())).unwrap();
    assert!(matches!(loaded, Loaded::Found(journal) if journal.local.finished));
}

/// A file that this seed does not write, of a write that was cut under another one.
#[test]
fn what_a_cut_write_has_left_is_removed_at_each_boot() {
    let case = cases().join("smallest-seed");
    let folder = begin(&case);
    let left = folder
        .path()
        .join("etc/openvpn/.vpn-interco.conf.firstboot");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    for _ in 0..2 {
        fs::write(&left, "half a key").unwrap();
        let output = firstboot(folder.path(), &case.join("seed"), "local");
        assert!(output.status.success(), "{}", text(&output));
        assert!(!left.exists());
    }
}

#[test]
fn a_failed_step_stops_the_stage_and_the_join_says_so() {
    let case = cases().join("fresh-clone");
    let folder = begin(&case);
    let seed = case.join("seed");
    let unit = "usr/lib/systemd/system/openvpn@.service";
    fs::remove_file(folder.path().join(unit)).unwrap();
    let reason =
        format!("step openvpn: cannot enable OpenVPN: it is not installed (/{unit} is missing)");
    let output = firstboot(folder.path(), &seed, "local");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("FAILED"), "{}", text(&output));
    let state = status(folder.path());
    assert_eq!(state.state.name(), "failed");
    assert_eq!(state.reason.unwrap(), reason);
    let steps: Vec<&str> = state.steps.iter().map(|s| s.record.step.as_str()).collect();
    assert_eq!(steps.last(), Some(&"openvpn"));

    let output = firstboot(folder.path(), &seed, "join");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        status(folder.path()).reason.unwrap(),
        format!("the join does not run because the local stage failed: {reason}")
    );

    // The cause removed, it goes on where it stopped.
    fs::write(folder.path().join(unit), "[Unit]\n").unwrap();
    let output = firstboot(folder.path(), &seed, "local");
    assert!(output.status.success());
    let words = text(&output);
    assert!(!words.contains("hostname "), "{words}");
    has(&words, "openvpn ");
}

#[test]
fn without_a_cluster_the_join_ends_configured() {
    let case = cases().join("dhcp");
    let folder = begin(&case);
    let seed = case.join("seed");
    assert!(firstboot(folder.path(), &seed, "local").status.success());
    let show = |arguments: &[&str]| {
        Command::new(crate::program())
            .args(["--root".as_ref(), folder.path().as_os_str()])
            .arg("status")
            .args(arguments)
            .output()
            .unwrap()
    };
    assert_eq!(show(&["--wait", "0"]).status.code(), Some(3));
    let output = firstboot(folder.path(), &seed, "join");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).ends_with("firstboot: vm42 is configured\n"));
    let shown = show(&["--wait"]);
    assert_eq!(shown.status.code(), Some(0));
    assert!(text(&shown).starts_with("vm42 (instance iid-vm42-1): configured\n"));
    // Configured before: the port hears it, the console does not.
    let again = firstboot(folder.path(), &seed, "join");
    assert_eq!(text(&again), "");
    let port = fs::read_to_string(folder.path().join("run/firstboot/port.pending")).unwrap();
    let last: serde_json::Value = serde_json::from_str(port.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "verdict");
    assert_eq!(last["result"], "configured");
}

#[test]
fn no_secret_is_told() {
    let case = cases().join("fresh-clone");
    let folder = begin(&case);
    let output = firstboot(folder.path(), &case.join("seed"), "local");
    let mut told = text(&output);
    for file in [
        JOURNAL,
        "run/firstboot/status.json",
        "run/firstboot/port.pending",
    ] {
        told.push_str(&fs::read_to_string(folder.path().join(file)).unwrap());
    }
    for secret in ["example-secret", "notarealhash", "remote vpn.lab.example"] {
        assert!(!told.contains(secret), "{secret} was told");
    }
}

#[test]
fn missing_host_keys_are_made_once() {
    let case = cases().join("smallest-seed");
    let folder = begin(&case);
    for file in [
        "ssh_host_rsa_key",
        "ssh_host_rsa_key.pub",
        "ssh_host_ecdsa_key",
    ] {
        fs::remove_file(folder.path().join("etc/ssh").join(file)).unwrap();
    }
    let output = firstboot(folder.path(), &case.join("seed"), "local");
    assert!(output.status.success(), "{}", text(&output));
    let rsa = fs::read_to_string(folder.path().join("etc/ssh/ssh_host_rsa_key.pub")).unwrap();
    assert!(rsa.starts_with("ssh-rsa AAAA"));
    for (file, key, _) in HOST_KEYS
        .iter()
        .filter(|(file, ..)| file.contains("ed25519"))
    {
        assert!(
            fs::read(folder.path().join(file)).unwrap() == *key,
            "{file}"
        );
    }

    // Only the public half lost.
    fs::remove_file(folder.path().join("etc/ssh/ssh_host_rsa_key.pub")).unwrap();
    fs::remove_file(folder.path().join(JOURNAL)).unwrap();
    let output = firstboot(folder.path(), &case.join("seed"), "local");
    assert!(output.status.success(), "{}", text(&output));
    let again = fs::read_to_string(folder.path().join("etc/ssh/ssh_host_rsa_key.pub")).unwrap();
    let blob = |text: &str| text.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(blob(&again), blob(&rsa));
}

/// Where a unit makes it: not in the first stage, which is done without it, but by the unit's command.
#[test]
fn the_rsa_host_key_is_left_to_its_unit() {
    let case = cases().join("smallest-seed");
    let folder = begin(&case);
    let file = |name: &str| folder.path().join(name);
    let units = file("etc/systemd/system");
    fs::create_dir_all(&units).unwrap();
    let unit = "firstboot-rsa-key.service";
    fs::copy(house("templates").join(unit), units.join(unit)).unwrap();
    for half in ["etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub"] {
        fs::remove_file(file(half)).unwrap();
    }
    let seed = case.join("seed");
    let output = firstboot(folder.path(), &seed, "local");
    assert!(output.status.success(), "{}", text(&output));
    has(
        &outcome(folder.path()),
        "ssh-host-keys changed rsa is made in the background\n",
    );
    assert!(!file("etc/ssh/ssh_host_rsa_key").exists());
    // What the unit's condition asks for, before and after.
    let due = file("var/lib/firstboot/rsa-key-due");
    assert!(due.exists());
    for _ in 0..2 {
        let output = firstboot(folder.path(), &seed, "rsa-key");
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(text(&output), "");
        assert!(!due.exists());
    }
    let public = fs::read_to_string(file("etc/ssh/ssh_host_rsa_key.pub")).unwrap();
    assert!(public.starts_with("ssh-rsa AAAA") && public.ends_with(" root@vm42\n"));
}

#[test]
fn wrong_command_lines_end_with_2() {
    for arguments in [&[][..], &["lokal"], &["--root", "/nowhere", "local"]] {
        let output = Command::new(crate::program())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let version = Command::new(crate::program())
        .arg("--version")
        .output()
        .unwrap();
    // `imgbuild base` takes the contract's number from this line.
    let contract = crate::contract::CONTRACT;
    let expected = format!(
        "firstboot {} (contract {contract})\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(text(&version), expected);
}
