//! `imgbuild run` under Ctrl-C: what is ended, what is kept, and what is said.

use crate::vm_folder::{CONFIGURED, Finished, LabFolder, RUN};
use rustix::process::Signal;
use std::fs;
use testkit::{ends, kill, wait_for};

/// `imgbuild run`, with Ctrl-C as soon as this file is there.
fn interrupted(lab: &LabFolder, what: &str, file: &str) -> Finished {
    let child = lab.command(&crate::program(), &RUN).spawn().unwrap();
    wait_for(what, || lab.path(file).exists());
    kill(child.id(), Signal::INT);
    lab.finished(child.wait_with_output().unwrap())
}

#[test]
fn ctrl_c_ends_the_machine_too() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "console 'Linux version'");
    let done = interrupted(&lab, "QEMU", "vm42/console.log");
    assert_eq!(done.code, Some(130), "{}", done.err);
    ends(
        &done.err,
        "imgbuild: error: interrupted; nothing half made was left behind\n",
    );
    assert_eq!(lab.read("vm42/fake.log"), "started\nended\n");
    assert_eq!(
        lab.files("vm42"),
        [
            "console.log",
            "run.log",
            "run.sh",
            "seed.img",
            "status.jsonl"
        ]
    );
}

#[test]
fn ctrl_c_names_the_disk_that_is_kept() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "console 'Linux version'");
    lab.write("vm42/vm42.qcow2", "a student's work");
    lab.write(
        "vm42/vm42.qcow2.base",
        testkit::sha256(b"this stands in for an image\n"),
    );
    let done = interrupted(&lab, "QEMU", "vm42/console.log");
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert!(
        done.err.ends_with(
            "imgbuild: error: interrupted; vm42 is off, and its disk LAB/vm42/vm42.qcow2 is kept\n"
        ) && !done.err.contains("FAILED"),
        "{}",
        done.err
    );
    assert_eq!(lab.read("vm42/vm42.qcow2"), "a student's work");
}

#[test]
fn ctrl_c_while_run_sh_checks_the_base_leaves_nothing() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", CONFIGURED);
    lab.program("sha256sum", "#!/bin/sh\n: >checking\nexec sleep 600\n");
    let done = interrupted(&lab, "the check", "vm42/checking");
    assert_eq!(done.code, Some(130), "{}", done.err);
    fs::remove_file(lab.path("vm42/checking")).unwrap();
    assert_eq!(lab.files("vm42"), ["run.log", "run.sh", "seed.img"]);
}
