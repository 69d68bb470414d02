//! What QEMU itself makes of the words that run.sh hands to it about a disk and its base. No guest is
//! booted: the processor stands still.

use super::super::super::vm_folder::LabFolder;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use testkit::{must, sha256, wait_for};

/// A lab whose base is an empty disk, with the real programs; `None` where they are not installed.
fn lab() -> Option<LabFolder> {
    let (qemu_img, qemu) = ("/usr/bin/qemu-img", "/usr/bin/qemu-system-x86_64");
    if !Path::new(qemu_img).is_file() || !Path::new(qemu).is_file() {
        return None;
    }
    let lab = LabFolder::new(&["vm42"]);
    lab.without("qemu-img");
    symlink(qemu_img, lab.path("bin/qemu-img")).unwrap();
    lab.program(
        "qemu-system-x86_64",
        &format!("#!/bin/sh\nexec {qemu} \"$@\" -S\n"),
    );
    make_base(&lab, "4G");
    lab.seeded("vm42", "");
    Some(lab)
}

/// An empty disk in the place of the base, by rename.
fn make_base(lab: &LabFolder, size: &str) {
    let new = lab.path("new.qcow2");
    must(
        Command::new("/usr/bin/qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&new)
            .arg(size),
    );
    let bytes = fs::read(&new).unwrap();
    fs::rename(new, lab.path("base.qcow2")).unwrap();
    lab.write_manifest_of(&bytes, 4 << 30);
}

/// A machine that was started.
struct Machine<'a> {
    lab: &'a LabFolder,
    qemu: Child,
    qmp: BufReader<UnixStream>,
}

impl Machine<'_> {
    fn start(lab: &LabFolder) -> Machine<'_> {
        let words = ["--user-net", "--accel=tcg"];
        let qemu = lab
            .command(&lab.path("vm42/run.sh"), &words)
            .spawn()
            .unwrap();
        let socket = lab.path("vm42/qmp.sock");
        let mut stream = None;
        wait_for("the control socket", || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let mut machine = Machine {
            lab,
            qemu,
            qmp: BufReader::new(stream.unwrap()),
        };
        machine.line();
        machine.ask("qmp_capabilities");
        machine
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.qmp.read_line(&mut line).unwrap();
        line
    }

    fn ask(&mut self, command: &str) -> serde_json::Value {
        writeln!(self.qmp.get_mut(), r#"{{"execute": "{command}"}}"#).unwrap();
        loop {
            let answer: serde_json::Value = serde_json::from_str(&self.line()).unwrap();
            if let Some(value) = answer.get("return") {
                return value.clone();
            }
            assert!(answer.get("event").is_some(), "{answer}");
        }
    }

    /// What the first disk stands on.
    fn backing(&mut self) -> String {
        let disks = self.ask("query-block");
        disks[0]["inserted"]["image"]["backing-image"]["filename"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn end(mut self) {
        self.ask("quit");
        assert!(self.qemu.wait().unwrap().success());
        assert!(!self.lab.path("vm42/qemu.pid").exists());
    }
}

#[test]
fn a_new_base_is_no_concern_of_a_running_vm_nor_of_its_next_start() {
    let Some(lab) = lab() else { return };
    let kept = format!(
        "../bases/{}.qcow2",
        sha256(&fs::read(lab.path("base.qcow2")).unwrap())
    );
    let mut machine = Machine::start(&lab);
    assert_eq!(machine.backing(), kept);
    make_base(&lab, "5G");
    assert_eq!(machine.ask("query-status")["status"], "prelaunch");
    assert_eq!(machine.backing(), kept);
    machine.end();
    // A disk of before names the base itself in its header, and that is another one by now.
    must(
        Command::new("/usr/bin/qemu-img")
            .args([
                "rebase",
                "-u",
                "-F",
                "qcow2",
                "-b",
                "../base.qcow2",
                "vm42.qcow2",
            ])
            .current_dir(lab.path("vm42")),
    );
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    let mut machine = Machine::start(&lab);
    assert_eq!(machine.backing(), kept);
    machine.end();
}
