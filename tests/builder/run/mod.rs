//! `imgbuild run` as a whole, with a program that stands in for QEMU and plays the guest.

mod accelerator;
mod commands;
mod ended;
mod faults;
mod interrupted;
mod life;
mod script;
mod service;
mod waiting;

use crate::vm_folder::{CONFIGURED, LabFolder};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use testkit::{ends, has, wait_for};

const PANIC: &str = r#"
console '[    0.000000] Linux version 6.12' '[    1.0] Kernel panic - not syncing: VFS'
"#;

#[test]
fn a_configured_machine_goes_on_running() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", CONFIGURED);
    let done = lab.run(&["--forward", "tcp:127.0.0.1:2222-:22"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    // What run.sh found unsafe is no matter for its log alone.
    let warning = "imgbuild: warning: vm42 can reach what listens on this PC's 127.0.0.1: passt is \
                   not installed (Debian 13: sudo apt install passt)\n";
    has(&done.err, warning);
    let pid = imgbuild::qemu::running(&lab.path("vm42")).unwrap();
    assert_eq!(
        done.out,
        format!(
            "step      result         time\n\
             hostname  changed       0.2 s  vm42\n\
             network   unchanged     1.5 s\n\
             vm42 is running, as process {pid}\n  \
             log in:     ssh -p 2222 root@127.0.0.1\n  \
             shut down:  ssh -p 2222 root@127.0.0.1 poweroff\n  \
             console:    LAB/vm42/console.log\n\
             vm42 is configured\n"
        )
    );
    assert_eq!(lab.read("vm42/fake.log"), "started\n");
    // A second start of a running machine is none: its last word is shown, and run.sh refuses it.
    let again = lab.run(&[]);
    assert_eq!(
        (again.code, again.out, again.err.as_str()),
        (
            Some(0),
            format!("vm42 is running already, as process {pid}\nvm42 is configured\n"),
            ""
        )
    );
    let again = lab.run(&["--shutdown"]);
    assert_eq!(
        again.err,
        format!(
            "imgbuild: error: vm42 is running already, as process {pid}; --shutdown is for one that is \
             started here. To shut it down: imgbuild stop vm42\n"
        )
    );
    let again = lab.run_sh("vm42", &["--user-net"]);
    assert_eq!(
        (again.code, again.err),
        (
            Some(1),
            format!("vm42/run.sh: error: vm42 is running already, as process {pid}\n")
        )
    );
    let seed = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(
        seed.err,
        format!(
            "imgbuild: error: cannot seed vm42: it is running, as process {pid}. Shut it down first\n"
        )
    );
}

#[test]
fn json_passes_the_guests_events_on() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", CONFIGURED);
    let done = lab.run(&["--json"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let events: Vec<serde_json::Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let passed: Vec<_> = events
        .iter()
        .filter(|e| e["event"] == "firstboot")
        .collect();
    assert_eq!(passed.len(), 7);
    assert_eq!(passed[1]["status"]["step"], "hostname");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["configured"]),
        (&"verdict".into(), &true.into())
    );
}

#[test]
fn a_failed_step_is_told_and_the_machine_left_for_a_look() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded(
        "vm42",
        r#"
console 'firstboot: FAILED'
status '{"event":"stage","stage":"local","state":"started","name":"vm42"}'
status '{"event":"step","stage":"local","step":"network","result":"failed","seconds":0.1,"detail":"no card has 52:54"}'
status '{"event":"stage","stage":"local","state":"failed","name":"vm42"}'
status '{"event":"verdict","result":"failed","reason":"network: no card has 52:54"}'
"#,
    );
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(1));
    let error = done.error();
    assert_eq!(
        error,
        "vm42 is not configured: the step network failed: no card has 52:54\n\
         the last lines of the console, LAB/vm42/console.log:\n    \
         firstboot: FAILED\n"
    );
    assert!(imgbuild::qemu::running(&lab.path("vm42")).is_some());
}

#[test]
fn a_panic_ends_the_machine_and_leaves_nothing_half_made() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", PANIC);
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(1));
    let (progress, error) = done.err.split_once("imgbuild: error: ").unwrap();
    assert_eq!(
        error,
        "vm42: the guest's kernel panicked\n\
         the last lines of the console, LAB/vm42/console.log:\n    \
         [    0.000000] Linux version 6.12\n    \
         [    1.0] Kernel panic - not syncing: VFS\n"
    );
    ends(
        progress,
        "imgbuild: warning: LAB/vm42/vm42.qcow2 was removed again: nothing was on it yet\n",
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
fn a_disk_on_which_firstboot_has_begun_is_kept() {
    let lab = LabFolder::new(&["vm42"]);
    let begun = r#"status '{"event":"stage","stage":"local","state":"started"}'"#;
    lab.seeded("vm42", &format!("{begun}\nsleep 1\n{PANIC}"));
    let done = lab.run(&[]);
    has(
        &done.err,
        "LAB/vm42/vm42.qcow2 is kept: firstboot had begun, and goes on where it stopped at \
             the next start\n",
    );
    assert!(lab.files("vm42").contains(&"vm42.qcow2".to_owned()));
}

#[test]
fn a_disk_of_an_earlier_run_is_kept() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", PANIC);
    lab.write("vm42/vm42.qcow2", "a student's work");
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(1));
    assert_eq!(lab.read("vm42/vm42.qcow2"), "a student's work");
}

#[test]
fn silence_is_told_with_the_last_words() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "console 'Loading Linux' 'Loading initial ramdisk'");
    let done = lab.run(&["--silence=2"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.error(),
        "vm42 is silent: no word on the console or from firstboot for 2 s\n\
         the last lines of the console, LAB/vm42/console.log:\n    \
         Loading Linux\n    Loading initial ramdisk\n"
    );
    assert_eq!(lab.read("vm42/fake.log"), "started\nended\n");
}

#[test]
fn a_silent_join_is_waited_for() {
    let lab = LabFolder::new(&["vm42"]);
    let verdict = r#"status '{"event":"verdict","result":"configured"}'"#;
    let join = r#"status '{"event":"stage","stage":"join","state":"started"}'"#;
    // The verdict comes when the test has seen the warning's cause: quiet seconds, of which not all count
    // on a busy PC.
    lab.seeded("vm42", &format!("{join}\nsleep 12\n{verdict}"));
    let done = lab.run(&["--silence=1"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.err
            .matches("vm42: no word for 1 s; the join may be waiting")
            .count(),
        1,
        "{}",
        done.err
    );
}

#[test]
fn no_verdict_in_time() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "console 'vm42 login:'");
    let done = lab.run(&["--timeout=2"]);
    // Where this PC is busy that is said, too.
    let (error, rest) = done.error().split_once(')').unwrap();
    let error = error.split("; this PC is busy").next().unwrap();
    assert_eq!(
        format!("{error}){rest}"),
        "vm42 gave no verdict within 2 s (--timeout gives it longer)\n\
         the last lines of the console, LAB/vm42/console.log:\n    vm42 login:\n"
    );
}

#[test]
fn a_machine_that_ends_by_itself() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded(
        "vm42",
        "console 'reboot: Power down'; sleep 1; echo 'qemu: bad day' >&2; rm qemu.pid; exit 3",
    );
    let done = lab.run(&[]);
    assert_eq!(
        done.error(),
        "vm42 ended before its verdict (exit status: 3)\n    \
         vm42/run.sh: warning: KVM is not usable: LAB/kvm is not there (virtualisation is switched \
         off in the firmware setup?)\n    \
         vm42/run.sh: warning: software emulation: about ten times slower, and one CPU only\n    \
         vm42/run.sh: checking ../base.qcow2, only this once\n    \
         vm42/run.sh: warning: vm42 can reach what listens on this PC's 127.0.0.1: passt is not \
         installed (Debian 13: sudo apt install passt)\n    \
         vm42/run.sh: the console goes to LAB/vm42/console.log\n    \
         qemu: bad day\n\
         the last lines of the console, LAB/vm42/console.log:\n    reboot: Power down\n"
    );
}

#[test]
fn a_machine_that_does_not_shut_down_keeps_its_verdict() {
    let lab = LabFolder::new(&["vm42"]);
    // Nobody listens on the control socket.
    lab.seeded("vm42", CONFIGURED);
    let done = lab.run(&["--shutdown"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.error(),
        "vm42 is configured, and its power was taken away before it had shut down: cannot shut vm42 \
         down: cannot reach QEMU's control socket LAB/vm42/qmp.sock: No such file or directory (os \
         error 2)\n"
    );
    assert_eq!(lab.read("vm42/fake.log"), "started\nended\n");
}

#[test]
fn a_guest_without_a_seed_has_booted_well() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded(
        "vm42",
        r#"status '{"event":"verdict","result":"unconfigured"}'"#,
    );
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(1));
    let (progress, error) = done.err.split_once("imgbuild: error: ").unwrap();
    assert!(
        progress.contains("\nok     vm42: boot ") && !progress.contains("FAILED"),
        "{progress}"
    );
    assert_eq!(
        error,
        "vm42 is not configured: firstboot found no seed disk\n\
         the console is empty: LAB/vm42/console.log\n"
    );
}

#[test]
fn shutdown_presses_the_power_button() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", CONFIGURED);
    let listener = UnixListener::bind(lab.path("vm42/qmp.sock")).unwrap();
    let off = lab.path("vm42/off");
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        writeln!(reader.get_mut(), r#"{{"QMP": {{}}}}"#).unwrap();
        let mut orders = Vec::new();
        for _ in 0..2 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            orders.push(line.trim().to_owned());
            writeln!(reader.get_mut(), r#"{{"return": {{}}}}"#).unwrap();
        }
        fs::write(off, "").unwrap();
        orders
    });
    let done = lab.run(&["--shutdown"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.ends_with("vm42 is configured\n") && !done.out.contains("is running"));
    let orders = heard.join().unwrap();
    assert_eq!(
        orders,
        [
            r#"{"execute":"qmp_capabilities"}"#,
            r#"{"execute":"system_powerdown"}"#
        ]
    );
}

#[test]
fn what_is_missing_is_said_before_anything_starts() {
    let lab = LabFolder::new(&["vm42"]);
    let done = lab.run(&[]);
    assert_eq!(
        (done.code, done.err.as_str()),
        (
            Some(1),
            "imgbuild: error: vm42 has no seed: LAB/vm42/seed.img is not there. Make it with: \
             imgbuild seed vm42\n"
        )
    );
    let done = lab.imgbuild(&["run", "vm43"]);
    assert_eq!(
        done.err,
        "imgbuild: error: lab.yaml has no VM named `vm43`; the nearest: vm42\n"
    );
    lab.seeded("vm42", CONFIGURED);
    let qemu = lab.read("bin/qemu-system-x86_64");
    lab.without("qemu-system-x86_64");
    let done = lab.run(&[]);
    assert_eq!(
        done.err,
        "imgbuild: error: qemu-system-x86_64 is not installed. On Debian: sudo apt install \
         qemu-system-x86\n"
    );
    lab.program("qemu-system-x86_64", &qemu);
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    let done = lab.run(&[]);
    assert_eq!(
        done.error(),
        "vm42 did not start\n    \
         vm42/run.sh: error: neither ../bases/150420fa0d378a51b3f978f67595a0f0db1ec86d4f39650dd66bae72d7e70df1.qcow2 \
         nor ../base.qcow2 is there, and vm42.qcow2 is nothing without it. \
         Copy it there, or make it with: imgbuild base\n"
    );
}

/// `log in:` is said only where it can be true.
#[test]
fn a_machine_that_nobody_can_log_in_to_is_told() {
    let lab = LabFolder::new(&["vm42"]);
    let text = lab.read("lab.yaml");
    for (without, warning) in [
        (
            "  ssh_password: true\n",
            "imgbuild: warning: only the console opens vm42: root has a password and no ssh key, \
             and ssh takes no password\n  right: `ssh_key_files` or `ssh_keys`; or \
             `ssh_password: true`\n",
        ),
        (
            "  root_password_file: root-password\n",
            "imgbuild: warning: nobody can log in to vm42: no ssh key, no root password\n  right: \
             `ssh_key_files: [~/.ssh/id_ed25519.pub]` (ssh-keygen makes the file), or `ssh_keys`, \
             or `root_password_file`\n",
        ),
    ] {
        lab.write("lab.yaml", text.replace(without, ""));
        let seeded = lab.imgbuild(&["seed", "vm42"]);
        ends(&seeded.err, warning);
        lab.seeded("vm42", CONFIGURED);
        let done = lab.run(&["--forward", "tcp::2222-:22"]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        ends(&done.err, warning);
        assert!(!done.out.contains("log in:"), "{}", done.out);
        has(&done.out, "\n  shut down:  imgbuild stop vm42\n");
        lab.write("vm42/off", "");
        wait_for("its end", || {
            imgbuild::qemu::running(&lab.path("vm42")).is_none()
        });
        std::fs::remove_file(lab.path("vm42/off")).unwrap();
    }
}
