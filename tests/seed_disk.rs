//! `imgbuild seed` as a whole: the disk, the script, and what it refuses.

#![allow(clippy::unwrap_used)]

mod vm_folder;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use vm_folder::LabFolder;

fn mode(lab: &LabFolder, name: &str) -> u32 {
    fs::metadata(lab.path(name)).unwrap().permissions().mode() & 0o7777
}

/// The same for every lab: no time, no folder and nothing random goes into it.
const INSTANCE: &str = "vm42-";

#[test]
fn makes_a_disk_that_the_guest_reads() {
    let lab = LabFolder::new(&["vm42"]);
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let (line, next) = done.out.split_once('\n').unwrap();
    let id = line
        .strip_prefix("vm42: made: vm42/seed.img (")
        .and_then(|rest| rest.strip_suffix("), vm42/run.sh"))
        .unwrap();
    assert!(
        id.starts_with(INSTANCE) && id.len() == INSTANCE.len() + 16,
        "{id}"
    );
    assert_eq!(
        next,
        "next: imgbuild run vm42 (or, on the PC that is to run it: vm42/run.sh)\n"
    );
    assert_eq!(mode(&lab, "vm42/seed.img"), 0o600);
    assert_eq!(mode(&lab, "vm42/run.sh"), 0o755);
    let image = fs::File::open(lab.path("vm42/seed.img")).unwrap();
    assert_eq!(image.metadata().unwrap().len(), 1024 * 1024);
    let seed = firstboot::media::read_fat(image, "seed.img".as_ref()).unwrap();
    assert_eq!(seed.meta_data.instance_id, id);
    assert_eq!(seed.hostname(), "vm42");
    // Nothing else is left behind.
    let mut left: Vec<_> = fs::read_dir(lab.path("vm42"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["run.sh", "seed.img"]);
    assert!(!fs::read_dir(lab.path("")).unwrap().any(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".seed")
    }));
}

#[test]
fn secrets_are_on_the_disk_alone() {
    let lab = LabFolder::new(&["vm42"]);
    let done = lab.imgbuild(&["seed", "vm42", "--json"]);
    for text in [&lab.read("vm42/run.sh"), &done.out, &done.err] {
        assert!(!text.contains("geheim") && !text.contains("$6$"), "{text}");
    }
    let disk = fs::read(lab.path("vm42/seed.img")).unwrap();
    let disk = String::from_utf8_lossy(&disk);
    assert!(disk.contains("$6$") && !disk.contains("geheim"));
}

#[test]
fn other_programs_know_the_disk() {
    let lab = LabFolder::new(&["vm42"]);
    lab.imgbuild(&["seed", "vm42"]);
    let image = lab.path("vm42/seed.img");
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .arg(&image)
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Those that are not installed are passed over.
    if let Some(words) = run("file", &["-b"]) {
        assert!(words.contains(r#"label: "CIDATA     ""#), "{words}");
    }
    if let Some(words) = run("mlabel", &["-s", "-i"]).filter(|words| !words.is_empty()) {
        assert!(words.contains("CIDATA"), "{words}");
    }
    if let Ok(output) = Command::new("fsck.fat").arg("-n").arg(&image).output() {
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_second_run_changes_nothing_and_a_new_password_does() {
    let lab = LabFolder::new(&["vm42"]);
    let first = lab.imgbuild(&["seed", "vm42"]);
    let times = || {
        ["vm42/seed.img", "vm42/run.sh"].map(|name| {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(lab.path(name)).unwrap().ino()
        })
    };
    let before = times();
    lab.write("vm42/vm42.qcow2", "a student's work");
    let second = lab.imgbuild(&["seed", "--all"]);
    assert_eq!(second.out, first.out.replace("made", "unchanged"));
    assert_eq!(times(), before);

    lab.write("root-password", "another\n");
    let third = lab.imgbuild(&["seed", "vm42"]);
    assert!(third.out.starts_with("vm42: made: "), "{}", third.out);
    assert_ne!(third.out, first.out);
    assert_eq!(lab.read("vm42/vm42.qcow2"), "a student's work");
}

#[test]
fn a_disk_that_others_could_read_is_made_again() {
    let lab = LabFolder::new(&["vm42"]);
    lab.imgbuild(&["seed", "vm42"]);
    let image = lab.path("vm42/seed.img");
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).unwrap();
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert!(done.out.starts_with("vm42: made: "), "{}", done.out);
    assert_eq!(mode(&lab, "vm42/seed.img"), 0o600);
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "077"] {
        let lab = LabFolder::new(&["vm42"]);
        let line = format!(
            "umask {umask}; exec '{}' seed vm42",
            env!("CARGO_BIN_EXE_imgbuild")
        );
        let output = lab
            .command("/bin/sh".as_ref(), &["-c", &line])
            .output()
            .unwrap();
        let done = lab.finished(output);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert_eq!(mode(&lab, "vm42/seed.img"), 0o600);
        assert_eq!(mode(&lab, "vm42/run.sh"), 0o755);
    }
}

#[test]
fn all_problems_at_once_and_nothing_half_made() {
    let lab = LabFolder::new(&["vm41", "vm42"]);
    let done = lab.imgbuild(&["seed", "vm41", "vm43", "nothing"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: 2 problems, nothing was changed:\n  \
         lab.yaml has no VM named `vm43`; the nearest: vm41, vm42\n  \
         lab.yaml has no VM named `nothing`; it has: vm41, vm42\n"
    );
    assert!(!lab.path("vm41").exists());
}

#[test]
fn a_disk_smaller_than_the_base_is_refused() {
    let lab = LabFolder::new(&["vm42"]);
    lab.write_manifest("this stands in for an image\n", 9 << 30);
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: cannot seed vm42: its disk has 8589934592 bytes, and the base \
         LAB/base.qcow2 already 9663676416. Make the disk larger in the lab file\n"
    );
}

#[test]
fn another_base_than_the_manifests_is_refused() {
    let lab = LabFolder::new(&["vm42"]);
    lab.write("base.qcow2", "short");
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: LAB/base.qcow2 is not the image that LAB/base.manifest.json describes: \
         found 5 bytes, expected 28. Copy both again, or make them with: imgbuild base\n"
    );
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(
        done.err,
        "imgbuild: error: the base image LAB/base.qcow2 is not there. Make it with: imgbuild base\n"
    );
}

#[test]
fn an_overlay_on_an_older_base_is_told() {
    let lab = LabFolder::new(&["vm42"]);
    fs::create_dir(lab.path("vm42")).unwrap();
    lab.write("vm42/vm42.qcow2.base", "0000\n");
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(0));
    assert_eq!(
        done.err,
        "imgbuild: warning: vm42/vm42.qcow2 was made on another base than LAB/base.qcow2, and \
         will not start on this one. To start afresh: rm vm42/vm42.qcow2 vm42/vm42.qcow2.base\n"
    );
}
