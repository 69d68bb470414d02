//! `imgbuild lab clean`, and what `imgbuild check` says of the base itself.

use crate::vm_folder::LabFolder;
use std::fs;
use testkit::sha256;

/// A lab with a disk on its base, one on an old base, and an image that nobody needs.
fn lab() -> (LabFolder, [String; 3]) {
    let lab = LabFolder::new(&["vm41", "vm42"]);
    let digests = [
        sha256(b"this stands in for an image\n"),
        "ab".repeat(32),
        "cd".repeat(32),
    ];
    for digest in &digests {
        lab.write(&format!("bases/{digest}.qcow2"), vec![0; 3_000_000]);
        lab.write(&format!("bases/{digest}.manifest.json"), "{}");
    }
    for (vm, digest) in [("vm41", &digests[0]), ("vm42", &digests[1])] {
        lab.write(&format!("{vm}/{vm}.qcow2"), "a disk");
        lab.write(&format!("{vm}/{vm}.qcow2.base"), format!("{digest}\n"));
    }
    lab.write("vm42/retired", "");
    (lab, digests)
}

#[test]
fn clean_shows_who_needs_what_and_removes_the_rest() {
    let (lab, [current, old, unneeded]) = lab();
    // Of a start whose process is no more (4194304 is beyond the kernel's largest), and of one that
    // is at work.
    let cut = format!(".{old}.4194304");
    let at_work = format!(".{old}.{}", std::process::id());
    lab.write(&format!("bases/{cut}"), "half");
    lab.write(&format!("bases/{at_work}"), "half");
    let table = format!(
        "LAB/bases/{current}.qcow2      3 MB  the lab's base; vm41\n\
         LAB/bases/{old}.qcow2      3 MB  vm42 (retired)\n\
         LAB/bases/{unneeded}.qcow2      3 MB  no disk stands on it\n\
         LAB/bases/{cut}: left by a start or a build that was cut off\n"
    );
    let done = lab.imgbuild(&["lab", "clean"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert_eq!(
        done.out,
        format!("{table}nothing was removed: imgbuild lab clean --yes does it\n")
    );
    assert_eq!(lab.names("bases").len(), 8);
    let done = lab.imgbuild(&["lab", "clean", "--yes"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert_eq!(
        done.out,
        format!("{table}LAB/bases/{unneeded}.qcow2 was removed\nLAB/bases/{cut} was removed\n")
    );
    let mut left = vec![at_work];
    for digest in [&current, &old] {
        left.push(format!("{digest}.manifest.json"));
        left.push(format!("{digest}.qcow2"));
    }
    left.sort();
    assert_eq!(lab.names("bases"), left);
    let done = lab.imgbuild(&["lab", "clean", "--yes"]);
    assert!(
        done.out.ends_with("there is nothing to remove\n"),
        "{}",
        done.out
    );
}

#[test]
fn while_a_disk_says_nothing_of_its_base_every_base_is_kept() {
    let (lab, _) = lab();
    fs::remove_file(lab.path("vm42/vm42.qcow2.base")).unwrap();
    let done = lab.imgbuild(&["lab", "clean", "--yes"]);
    assert_eq!(done.code, Some(0));
    assert_eq!(
        done.err,
        "imgbuild: warning: nothing says on which base vm42/vm42.qcow2 stands \
         (vm42/vm42.qcow2.base is not there), so every base is kept\n"
    );
    assert!(
        done.out.ends_with("there is nothing to remove\n"),
        "{}",
        done.out
    );
    assert_eq!(lab.names("bases").len(), 6);
}

#[test]
fn check_says_that_there_is_no_base_or_an_old_one() {
    let lab = LabFolder::new(&["vm42"]);
    lab.write(
        "images/base.yaml",
        "release: trixie\ndisk: 4G\nproxmox: false\n",
    );
    let state = |lab: &LabFolder| {
        let done = lab.imgbuild(&["--json", "check"]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let event: serde_json::Value =
            serde_json::from_str(done.out.lines().next().unwrap()).unwrap();
        event["base"].clone()
    };
    assert_eq!(state(&lab), serde_json::json!({"state": "there"}));
    // As an `imgbuild base` of another definition, and of another firstboot, wrote it.
    lab.write(
        "base.manifest.json",
        r#"{"imgbuild": "0", "image": {"sha256": "x", "bytes": 28, "virtual_bytes": 5},
            "firstboot": {"version": "0", "contract": 2, "sha256": "x"}, "source": "mirror",
            "release": "trixie", "sources": [], "packages": {},
            "inputs": {"definition": "x", "key of lab": "x", "sources": "x", "iso": "x"}}"#,
    );
    let done = lab.imgbuild(&["check"]);
    assert_eq!(done.code, Some(0));
    let warning = done.err.lines().next().unwrap();
    let changed = warning
        .strip_prefix(
            "imgbuild: warning: base.qcow2 is older than what it is made of; changed since: ",
        )
        .expect(warning);
    let changed: Vec<&str> = changed.split(", ").collect();
    for name in ["definition", "key of lab", "provision.sh", "seal.sh"] {
        assert!(changed.contains(&name), "{name} in {changed:?}");
    }
    assert!(!changed.contains(&"sources") && !changed.contains(&"iso"));
    assert_eq!(
        done.err.lines().nth(1).unwrap(),
        "  right: `imgbuild base` makes it anew, and VMs that have a disk stay on the one that they \
         have"
    );
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    assert_eq!(state(&lab), serde_json::json!({"state": "missing"}));
    let done = lab.imgbuild(&["check"]);
    assert!(
        done.out
            .contains("\n      not made yet: base.qcow2 (imgbuild base makes it)\n"),
        "{}",
        done.out
    );
}

#[test]
fn a_file_in_the_place_of_the_bases_is_told_with_the_remedy() {
    let lab = LabFolder::new(&["vm42"]);
    lab.write("bases", "");
    let done = lab.imgbuild(&["lab", "clean", "--yes"]);
    let place = lab.hide(&lab.path("bases").display().to_string(), "LAB");
    assert_eq!(
        done.error(),
        format!(
            "{place} is no folder, and the bases that disks stand on are kept in one of that name. Move it \
             elsewhere: mv '{place}' '{place}'.away\n"
        )
    );
    let done = lab.imgbuild(&["fetch", "http://127.0.0.1:1/", "--output", "bases"]);
    assert_eq!(
        done.error(),
        "bases is no folder, and what is made goes into one: name a folder, or move the file out of the way\n"
    );
}
