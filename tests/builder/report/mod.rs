//! `imgbuild lab report`: the table, the JSON, what cannot be read, and the page in a real browser.

mod browser;
mod page;

use crate::vm_folder::{Finished, LabFolder};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use testkit::{expect_file, has, house, mode, set_mode, sha256};

/// The moment of the reports.
const NOW: u64 = 1_795_700_000;
/// When the PCs were asked.
const ASKED: u64 = NOW - 180;

const STARTED: &str = r#"{"event":"stage","stage":"local","state":"started","name":"vm","instance":"i","version":"0","uptime":6.5}
{"event":"step","stage":"local","step":"hostname","result":"changed","seconds":0.25,"detail":"localhost -> vm","uptime":7.0}
{"event":"step","stage":"local","step":"network","result":"unchanged","seconds":1.5,"uptime":9.0}
{"event":"stage","stage":"local","state":"finished","name":"vm","instance":"i","version":"0","uptime":9.5}
{"event":"stage","stage":"join","state":"started","name":"vm","instance":"i","version":"0","uptime":21.0}
"#;
const CONFIGURED: &str =
    r#"{"event":"verdict","result":"configured","name":"vm","instance":"i","uptime":54.5}"#;
const FAILED: &str = r#"{"event":"verdict","result":"failed","reason":"step network: cannot write\ncaused by: no space left","uptime":9.5}"#;

/// A line of a join that has to wait.
fn waiting(reason: &str) -> String {
    let line = json!({"event": "waiting", "stage": "join", "step": "join", "attempt": 4,
        "seconds": 180.0, "reason": reason, "uptime": 30.0});
    format!("{STARTED}{line}")
}

/// What run.sh says of a VM.
fn vm(name: &str, state: &str, status: &str, console: &str) -> Value {
    json!({
        "name": name, "state": state, "why": "", "pid": 4711, "last_sign": ASKED - 60,
        "overlay_bytes": 25_600_000, "log_bytes": 41_000, "overlay_base": lab_base(),
        "retired": false, "service": "systemd",
        "status_base64": Base64::encode_string(format!("{status}\n").as_bytes()),
        "console_base64": Base64::encode_string(console.as_bytes()),
    })
}

fn with(mut value: Value, key: &str, other: Value) -> Value {
    value[key] = other;
    value
}

/// The digest of the base that a [`LabFolder`] has.
fn lab_base() -> String {
    sha256(b"this stands in for an image\n")
}

/// A lab, and what was collected of it in `status`.
struct Lab(LabFolder);

testkit::is_a!(Lab, LabFolder);

impl Lab {
    /// `vms` are the entries of lab.yaml.
    fn new(vms: &str) -> Lab {
        let lab = Lab(LabFolder::new(&[]));
        lab.write(
            "lab.yaml",
            format!(
                "domain: example.org\nnetwork: {{range: 10.99.0.0/16}}\ndefaults: {{disk: 8G}}\n{vms}"
            ),
        );
        lab.folders(&["status"]);
        lab
    }

    /// The answer of a PC.
    fn answer(&self, pc: &str, vms: &[Value]) {
        self.answer_at(ASKED, pc, vms);
    }

    fn answer_at(&self, time: u64, pc: &str, vms: &[Value]) {
        let room = pc.split('-').nth(1).map(|letter| format!("room-{letter}"));
        let answer = json!({"host": pc, "room": room, "time": time, "reachable": true,
            "error": null, "vms": vms});
        self.collected(pc, answer.to_string());
    }

    fn collected(&self, pc: &str, text: impl AsRef<[u8]>) {
        self.write(&format!("status/{pc}.json"), text);
    }

    fn report(&self, words: &[&str]) -> Finished {
        let now = NOW.to_string();
        let all = [&["lab", "report", "status", "--now", &now][..], words].concat();
        self.imgbuild(&all)
    }
}

/// One of each state, and what an admin should know beside it.
fn every_state() -> Lab {
    let hosts = [
        "pc-b-01", "pc-b-02", "pc-b-03", "pc-b-04", "pc-b-05", "pc-c-01", "pc-c-02",
    ];
    let mut vms: String = hosts
        .iter()
        .enumerate()
        .map(|(n, host)| format!("- {{name: vm{}, host: {host}.example.org}}\n", 101 + n))
        .collect();
    vms += "- {name: vm108, host: pc-c-02.example.org}\n- {name: vm109, host: pc-c-03.example.org}\n\
            - {name: vm110, host: pc-c-04.example.org}\n- {name: vm111}\n";
    // In the room that the lab names first, though its name is the later one.
    let rooms = "hosts:\n  room-c:\n    pcs: ['pc-c-[01:04].example.org']\n  room-b:\n    \
                 pcs: ['pc-b-[01:06].example.org']\n";
    let vms = vms.replace(
        "{name: vm105, host: pc-b-05",
        "{name: vm105, state: stopped, host: pc-b-05",
    );
    let lab = Lab::new(&format!("{rooms}vms:\n{vms}"));
    let configured = format!("{STARTED}{CONFIGURED}");
    let mute = "cannot connect to qmp.sock";
    let pc = |n: usize| format!("{}.example.org", hosts[n - 1]);
    lab.answer(&pc(1), &[vm("vm101", "running", &configured, "login: ")]);
    let no_quorum = waiting("the cluster of 10.120.0.1 has no quorum");
    lab.answer(&pc(2), &[vm("vm102", "running", &no_quorum, "")]);
    lab.answer(
        &pc(3),
        &[vm("vm103", "running", &format!("{STARTED}{FAILED}"), "")],
    );
    let full = with(
        vm("vm104", "paused", &configured, ""),
        "why",
        "io-error".into(),
    );
    lab.answer(&pc(4), &[full]);
    let silent = with(
        vm("vm105", "running", STARTED, ""),
        "last_sign",
        (ASKED - 1500).into(),
    );
    lab.answer(&pc(5), &[silent]);
    // Left out when the others were asked.
    let old = with(
        vm("vm106", "stopped", CONFIGURED, ""),
        "overlay_base",
        "ab".repeat(32).into(),
    );
    let old = with(old, "last_sign", (ASKED - 7320).into());
    lab.answer_at(ASKED - 7200, &pc(6), &[with(old, "pid", Value::Null)]);
    let retired = with(vm("vm108", "stopped", "", ""), "retired", true.into());
    let stray = with(vm("vm101", "running", &configured, ""), "why", mute.into());
    lab.answer(&pc(7), &[retired, stray, vm("guest", "stopped", "", "")]);
    let silence = json!({"host": "pc-c-03.example.org", "room": "room-c", "time": ASKED,
        "reachable": false, "error": "ssh: connect to host pc-c-03 port 22:\n No route to host",
        "answered": NOW - 200_000, "vms": []});
    lab.collected("pc-c-03.example.org", silence.to_string());
    lab.collected(
        "probe",
        r#"{"pc-b-05.example.org": {"able": false, "missing": ["KVM is not usable"], "x": 1},
            "pc-b-01.example.org": {"able": true, "missing": []}}"#,
    );
    lab
}

#[test]
fn a_line_for_each_vm_and_one_for_all() {
    let done = every_state().report(&[]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    expect_file(&house("tests/cases/report/table.txt"), &done.out);
}

#[test]
fn programs_get_an_object_for_each_vm() {
    let done = every_state().report(&["--json"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    expect_file(&house("tests/cases/report/table.jsonl"), &done.out);
}

/// Each is told, and none breaks the rest.
#[test]
fn what_cannot_be_read_is_told() {
    let lab = Lab::new(
        "vms:\n- {name: vm101, host: pc-b-01}\n- {name: vm102, host: pc-b-02}\n- {name: vm103, host: pc-b-03}\n\
         - {name: vm104, host: pc-b-04}\n- {name: vm105, host: pc-b-05}\n- {name: vm106, host: pc-b-06}\n\
         - {name: vm107, host: pc-b-07}\n- {name: vm108, host: pc-b-08}\n- {name: vm109, host: pc-b-09}\n- {name: vm110, host: pc-b-10}\n",
    );
    lab.collected("pc-b-01", "<html>");
    lab.collected("pc-b-02", r#"{"host":"pc-b-02","time":17"#);
    lab.collected("pc-b-03", vec![b' '; (16 << 20) + 1]);
    lab.collected("pc-b-04", r#"{"version": 2, "machines": []}"#);
    lab.collected(
        "pc-b-05",
        r#"{"host":"pc-b-05","time":-1,"reachable":true}"#,
    );
    lab.collected("pc-b-06", "[".repeat(100_000));
    lab.folders(&["status/pc-b-07.json"]);
    let good = vm("vm109", "running", CONFIGURED, "");
    let bad = with(vm("vm108", "flying\u{1b}[2J", "", ""), "pid", 1.into());
    lab.answer("pc-b-08", &[bad, json!(17), good.clone()]);
    lab.answer("pc-b-09", &vec![good; 130]);
    lab.collected("probe", "[]");
    // Another one of the same PC, an older one; and one whose VM could not tell.
    let twice = json!({"host": "pc-b-09", "time": 1, "reachable": true, "vms": []});
    lab.collected("pc-b-09 ", twice.to_string());
    let broken = json!({"host": "pc-b-10", "time": ASKED, "reachable": true,
        "error": "vm110: run.sh: Permission denied", "vms": []});
    lab.collected("pc-b-10", broken.to_string());
    // Neither of them is a PC's.
    lab.write("status/.pc-b-01.json.part", "x");
    lab.write("status/notes.txt", "x");
    let done = lab.report(&[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    expect_file(
        &house("tests/cases/report/unreadable.txt"),
        &format!("{}\n{}", done.out, done.err),
    );
    has(&lab.read("status/lab.html"), "its report cannot be read");
}

#[test]
fn a_folder_that_cannot_be_read_is_refused() {
    let lab = every_state();
    let refused = |folder: &str| {
        let done = lab.imgbuild(&["lab", "report", folder]);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
        done.error().to_owned()
    };
    assert_eq!(
        refused("nowhere"),
        "there is no folder nowhere. This collects what the PCs say, and makes it: \
         ansible-playbook -i lab.yaml imgbuild.lab.status\n"
    );
    assert_eq!(
        refused("lab.yaml"),
        "lab.yaml is no folder: the argument is the one into which imgbuild.lab.status collects\n"
    );
}

/// As somebody to whom the folder does not belong.
#[test]
fn a_folder_that_is_another_users_is_refused() {
    let lab = every_state();
    let stranger = |words: &[&str]| {
        let mut command = lab.command(&crate::program(), words);
        if rustix::process::getuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        command.stdin(Stdio::null());
        lab.finished(command.output().unwrap())
    };
    for folder in ["", "bin"] {
        set_mode(&lab.path(folder), 0o755);
    }
    set_mode(&lab.path("status"), 0o555);
    let done = stranger(&["lab", "report", "status"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert_eq!(
        done.error(),
        "cannot write status/lab.html: the page is made beside what was collected, in a folder that \
         you may write to: ls -ld status: cannot make the work folder status/.imgbuild-report: \
         Permission denied (os error 13)\n"
    );
    set_mode(&lab.path("status"), 0o000);
    let done = stranger(&["lab", "report", "status"]);
    assert_eq!(
        done.error(),
        "cannot read the folder status; it belongs to who ran imgbuild.lab.status: ls -ld status: \
         Permission denied (os error 13)\n"
    );
    set_mode(&lab.path("status"), 0o755);
}

#[test]
fn the_page_is_written_whole_and_keeps_the_mode_that_it_has() {
    let lab = every_state();
    assert_eq!(lab.report(&[]).code, Some(0));
    let page = lab.path("status/lab.html");
    assert_eq!(mode(&page), 0o600);
    let before = lab.read("status/lab.html");
    set_mode(&page, 0o644);
    assert_eq!(lab.report(&[]).code, Some(0));
    assert_eq!(
        (mode(&page), lab.read("status/lab.html")),
        (0o644, before.clone())
    );
    // What a killed one left is no matter, and nothing of this one is left.
    assert!(
        lab.names("status")
            .iter()
            .all(|name| !name.starts_with('.'))
    );
    // A folder in its place is not replaced.
    fs::remove_file(&page).unwrap();
    lab.folders(&["status/lab.html"]);
    let done = lab.report(&[]);
    assert_eq!(done.code, Some(1));
    has(done.error(), "cannot write status/lab.html: ");
    assert!(Path::new(&page).is_dir());
    assert!(
        lab.names("status")
            .iter()
            .all(|name| !name.starts_with('.'))
    );
}
