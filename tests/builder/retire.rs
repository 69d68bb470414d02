//! `imgbuild lab retire`: what it prints, what it leaves, and what refuses the machine afterwards.

use crate::contract::{Proxmox, Seed};
use crate::vm_folder::{Finished, LabFolder};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use testkit::{begins, expect_file, has, house};

const RETIRE: [&str; 3] = ["lab", "retire", "vm42"];

fn lab() -> LabFolder {
    let lab = LabFolder::new(&["vm41", "vm42"]);
    lab.with_cluster("    votes: 0\n");
    lab
}

/// `imgbuild check`, with a definition whose disk is as small as these machines'.
fn check(lab: &LabFolder) -> Finished {
    lab.write("small.yaml", "release: trixie\ndisk: 4G\n");
    lab.imgbuild(&["check", "--definition", "small.yaml"])
}

fn seed(lab: &LabFolder) -> Seed {
    lab.seed_of("vm42")
}

/// Name, inode and mode of everything in the machine's folder.
fn files(lab: &LabFolder) -> BTreeMap<String, (u64, u32)> {
    let entries = fs::read_dir(lab.path("vm42")).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let data = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, (data.ino(), data.permissions().mode() & 0o7777))
        })
        .collect()
}

fn well(done: Finished) -> String {
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    done.out
}

fn refusal(done: Finished) -> String {
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    done.err
}

/// The output with words for what differs from run to run.
fn steady(out: &str, lab: &LabFolder) -> String {
    let id = seed(lab).meta_data.instance_id;
    let marker = lab.read("vm42/retired");
    let date = marker.lines().next().unwrap().strip_prefix("date: ");
    out.replace(&id, "INSTANCE").replace(date.unwrap(), "DATE")
}

#[test]
fn prints_the_commands_and_makes_a_seed_that_joins_nothing() {
    let lab = lab();
    well(lab.imgbuild(&["seed", "--all"]));
    let joining = seed(&lab);
    assert!(joining.user_data.proxmox.unwrap().cluster.is_some());

    let out = well(lab.imgbuild(&RETIRE));
    let expected = house("tests/cases/retire/vm42.txt");
    expect_file(&expected, &steady(&out, &lab));

    let retired = seed(&lab);
    let only = Proxmox {
        retired: true,
        ..Proxmox::default()
    };
    assert_eq!(retired.user_data.proxmox, Some(only));
    assert_ne!(retired.meta_data.instance_id, joining.meta_data.instance_id);
    assert_eq!(retired.network, joining.network);
    let disk = fs::read(lab.path("vm42/seed.img")).unwrap();
    let disk = String::from_utf8_lossy(&disk);
    assert!(!disk.contains("geheim") && !disk.contains("$6$"));
    let modes: Vec<_> = files(&lab)
        .into_iter()
        .map(|(name, (_, mode))| format!("{name} {mode:o}"))
        .collect();
    assert_eq!(modes, ["retired 644", "run.sh 755", "seed.img 600"]);
    assert_eq!(
        lab.read("vm42/retired").lines().nth(1).unwrap(),
        format!("instance-id: {}", retired.meta_data.instance_id)
    );

    // The other one joins as before.
    assert!(!lab.path("vm41/retired").exists());
    let out = well(check(&lab));
    let last_words: Vec<_> = out
        .lines()
        .filter_map(|l| l.split_whitespace().last())
        .collect();
    assert_eq!(last_words[last_words.len() - 2..], ["yes", "retired"]);
}

#[test]
fn a_second_time_prints_the_same_and_changes_nothing() {
    let lab = lab();
    let first = steady(&well(lab.imgbuild(&RETIRE)), &lab);
    let before = files(&lab);
    // Not even when the lab says something else by now.
    let text = lab
        .read("lab.yaml")
        .replace("disk: 8G", "disk: 8G\n  timezone: Europe/Paris");
    lab.write("lab.yaml", &text);
    let second = steady(&well(lab.imgbuild(&RETIRE)), &lab);
    assert_eq!(files(&lab), before);
    let (line, steps) = first.split_once('\n').unwrap();
    begins(
        line,
        "vm42: retired: vm42/retired, vm42/seed.img (INSTANCE). ",
    );
    assert_eq!(
        second.split_once('\n').unwrap(),
        ("vm42: retired on DATE: left as it is", steps)
    );
}

#[test]
fn what_a_power_cut_left_is_completed() {
    let lab = lab();
    well(lab.imgbuild(&["seed", "vm42"]));
    // The marker is the first of the files that are put into place.
    lab.write(
        "vm42/retired",
        "date: 2026-11-22T22:39:51Z\ninstance-id: vm42-0\n",
    );
    well(lab.imgbuild(&RETIRE));
    assert!(seed(&lab).user_data.proxmox.unwrap().retired);
    assert!(
        lab.read("vm42/retired")
            .contains(&seed(&lab).meta_data.instance_id)
    );
    fs::remove_file(lab.path("vm42/seed.img")).unwrap();
    well(lab.imgbuild(&RETIRE));
    assert!(seed(&lab).user_data.proxmox.unwrap().retired);
}

#[test]
fn needs_neither_secrets_nor_the_base() {
    let lab = lab();
    let text = lab.read("lab.yaml").replace(
        "  disk: 8G\n",
        "  disk: 8G\n  openvpn: {config: 'vpn/{name}.ovpn'}\n",
    );
    lab.write(
        "lab.yaml",
        text.replace("defaults:", "vmbr120: {range: 10.120.0.0/24}\ndefaults:"),
    );
    for name in ["root-password", "cluster-password", "base.qcow2"] {
        fs::remove_file(lab.path(name)).unwrap();
    }
    let out = well(lab.imgbuild(&RETIRE));
    has(&out, "\n   Its OpenVPN certificate is good until ");
    let seed = seed(&lab);
    assert!(seed.user_data.openvpn.is_empty());
    assert!(seed.network.unwrap().bridges.contains_key("vmbr120"));
    let names: Vec<_> = files(&lab).into_keys().collect();
    assert_eq!(names, ["retired", "seed.img"]);
    // What is missing of the other machine is said, and of this one no longer.
    let done = lab.imgbuild(&["check"]);
    has(&done.err, "vpn/vm41.ovpn");
    assert!(!done.err.contains("vpn/vm42.ovpn"), "{}", done.err);
}

#[test]
fn a_script_that_knows_no_retired_machine_is_told_or_made_again() {
    let lab = lab();
    well(lab.imgbuild(&["seed", "vm42"]));
    let old = lab.read("vm42/run.sh").replace("check_not_retired\n", "");
    lab.write("vm42/run.sh", &old);
    let base = lab.read("base.qcow2");
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    let done = lab.imgbuild(&RETIRE);
    assert_eq!(
        (done.code, done.err.as_str()),
        (
            Some(0),
            "imgbuild: warning: vm42/run.sh is from an earlier imgbuild and would still start vm42, \
             and without the base image it cannot be made again: rm vm42/run.sh\n"
        )
    );
    fs::remove_file(lab.path("vm42/retired")).unwrap();
    lab.write("base.qcow2", &base);
    well(lab.imgbuild(&RETIRE));
    assert!(lab.read("vm42/run.sh").contains("\ncheck_not_retired\n"));
}

#[test]
fn a_retired_machine_is_neither_seeded_nor_run() {
    let lab = lab();
    well(lab.imgbuild(&["seed", "--all"]));
    well(lab.imgbuild(&RETIRE));
    let before = files(&lab);
    let marker = lab.read("vm42/retired");
    let date = &marker["date: ".len()..marker.find('\n').unwrap()];
    let why = format!(
        "was retired on {date}: a node that was taken out of its cluster must never come back with \
         its old disk. To make a new machine of this name: pvecm delnode vm42 (imgbuild lab retire \
         vm42 shows every step), then remove the folder vm42 with its disk, and seed again\n"
    );
    assert_eq!(
        refusal(lab.imgbuild(&["seed", "vm42"])),
        format!("imgbuild: error: cannot seed vm42: it {why}")
    );
    assert_eq!(
        refusal(lab.imgbuild(&["run", "vm42"])),
        format!("imgbuild: error: vm42 {why}")
    );
    let out = well(lab.imgbuild(&["seed", "--all"]));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("vm42: retired on ") || lines[1].starts_with("vm41: unchanged"));
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines.contains(&format!("vm42: retired on {date}: left as it is").as_str()));
    assert_eq!(
        lines[2],
        "next: imgbuild run vm41 (or, on the PC that is to run it: vm41/run.sh)"
    );
    let out = well(lab.imgbuild(&["seed", "--all", "--json"]));
    assert!(
        out.contains(r#"{"event":"seed","state":"retired","vm":"vm42"}"#),
        "{out}"
    );
    assert_eq!(files(&lab), before);

    // Nor without the marker, as long as the old disk is there.
    fs::remove_file(lab.path("vm42/retired")).unwrap();
    lab.write("vm42/vm42.qcow2", "the disk of a node that was removed");
    let why = why.replace(&format!(" on {date}"), "");
    assert_eq!(
        refusal(lab.imgbuild(&["seed", "vm42"])),
        format!("imgbuild: error: cannot seed vm42: it {why}")
    );
    let out = well(lab.imgbuild(&["seed", "--all"]));
    has(&out, "vm42: retired: left as it is\n");

    // The remedy.
    fs::remove_dir_all(lab.path("vm42")).unwrap();
    well(lab.imgbuild(&["seed", "vm42"]));
    assert!(seed(&lab).user_data.proxmox.unwrap().cluster.is_some());
}

#[test]
fn a_lab_of_retired_machines_seeds_none() {
    let lab = LabFolder::new(&["vm42"]);
    lab.with_cluster("");
    well(lab.imgbuild(&RETIRE));
    let out = well(lab.imgbuild(&["seed", "--all"]));
    assert!(
        out.ends_with(": left as it is\n") && out.lines().count() == 1,
        "{out}"
    );
    // Its vote would be as many as the one peer's; a second VM's would be more.
    let text = lab.read("lab.yaml");
    lab.write("lab.yaml", format!("{text}  - name: vm43\n"));
    well(check(&lab));
    fs::remove_file(lab.path("vm42/retired")).unwrap();
    let done = check(&lab);
    has(&done.err, " (vm42, vm43), more than ");
}

#[test]
fn refuses_what_is_no_member_or_is_running() {
    let alone = LabFolder::new(&["vm42"]);
    assert_eq!(
        refusal(alone.imgbuild(&RETIRE)),
        "imgbuild: error: vm42 joins no cluster, says lab.yaml: there is nothing to remove it from. \
         Its folder vm42 can be removed as it is\n"
    );
    assert!(!alone.path("vm42").exists());

    let lab = lab();
    lab.seeded("vm42", "exec 2>/dev/null");
    let before = files(&lab);
    lab.symlink_as_qemu("sleep");
    let mut running = Command::new(lab.path("bin/qemu-system-x86_64"))
        .arg("60")
        .current_dir(lab.path("vm42"))
        .spawn()
        .unwrap();
    let pid = running.id();
    lab.write("vm42/qemu.pid", format!("{pid}\n"));
    let done = refusal(lab.imgbuild(&RETIRE));
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(
        done,
        format!(
            "imgbuild: error: cannot retire vm42: it is running, as process {pid}. Shut it down \
             first\n"
        )
    );
    fs::remove_file(lab.path("vm42/qemu.pid")).unwrap();
    assert_eq!(files(&lab), before);
    assert_eq!(
        refusal(lab.imgbuild(&["lab", "retire", "vm43"])),
        "imgbuild: error: lab.yaml has no VM named `vm43`; the nearest: vm41, vm42\n"
    );
}

#[test]
fn programs_get_the_steps_as_one_event() {
    let lab = lab();
    let out = well(lab.imgbuild(&["--json", "lab", "retire", "vm42"]));
    let event: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&event["event"], &event["state"]),
        (&"retire".into(), &"retired".into())
    );
    assert_eq!(event["members"], serde_json::json!(["10.120.0.1"]));
    let commands = event["steps"].as_array().unwrap().iter();
    let commands: Vec<&str> = commands
        .flat_map(|step| step["commands"].as_array().unwrap())
        .map(|command| command.as_str().unwrap())
        .collect();
    let delnode = commands
        .iter()
        .position(|c| *c == "pvecm delnode vm42")
        .unwrap();
    let folder = commands
        .iter()
        .position(|c| *c == "rm -r /etc/pve/nodes/vm42")
        .unwrap();
    assert!(delnode < folder, "{commands:?}");
}
