//! run.sh's words for a machine that runs: start, stop, status, console; and a start in the background.

use crate::terminal::Session;
use crate::vm_folder::{CONFIGURED, LabFolder, QMP, niceness, oom_score};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use testkit::{ends, has, kill, wait_for};

const START: [&str; 2] = ["start", "--user-net"];

fn lab(scenario: &str) -> LabFolder {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", &format!("{QMP}{scenario}"));
    lab
}

fn pid(lab: &LabFolder) -> u32 {
    imgbuild::qemu::running(&lab.path("vm42")).unwrap()
}

/// What the machine was told, without the questions for its state.
fn orders(lab: &LabFolder) -> Vec<String> {
    let text = lab.read("vm42/qmp.log");
    let orders = text.lines().filter(|order| *order != "query-status");
    orders.map(str::to_owned).collect()
}

#[test]
fn start_returns_when_qemu_answers_and_stop_presses_the_power_button() {
    let lab = lab(CONFIGURED);
    let done = lab.run_sh("vm42", &START);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.out,
        format!("vm42: started, as process {}\n", pid(&lab))
    );
    ends(
        &done.err,
        "vm42/run.sh: run.sh console attaches to its console, of which console.log has a copy\n",
    );
    let again = lab.run_sh("vm42", &START);
    assert_eq!(
        (again.code, again.out, again.err.as_str()),
        (
            Some(0),
            format!("vm42: unchanged: running, as process {}\n", pid(&lab)),
            ""
        )
    );
    let stopped = lab.run_sh("vm42", &["stop"]);
    assert_eq!((stopped.code, stopped.err.as_str()), (Some(0), ""));
    assert!(
        stopped.out.starts_with("vm42: shut down, after ") && stopped.out.ends_with(" s\n"),
        "{}",
        stopped.out
    );
    assert_eq!(orders(&lab), ["system_powerdown"]);
    assert_eq!(imgbuild::qemu::running(&lab.path("vm42")), None);
    let again = lab.run_sh("vm42", &["stop"]);
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(0), "vm42: unchanged: it is off\n")
    );
}

/// Only root may lower its own niceness, so run.sh never tries.
#[test]
fn a_machine_steps_back_and_never_forward() {
    let own = std::process::id();
    let (own_nice, own_score) = (niceness(own), oom_score(own));
    for (nice, score) in [(0, 0), (19, 1000)] {
        let lab = lab(CONFIGURED);
        let options = [format!("--nice={nice}"), format!("--oom-score={score}")];
        let words: Vec<&str> = START
            .into_iter()
            .chain(options.iter().map(|o| &**o))
            .collect();
        let done = lab.run_sh("vm42", &words);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert_eq!(niceness(pid(&lab)), nice.max(own_nice));
        assert_eq!(oom_score(pid(&lab)), score.max(own_score));
        assert_eq!(lab.run_sh("vm42", &["stop"]).code, Some(0));
    }
}

#[test]
fn a_guest_that_does_not_listen_loses_its_power() {
    let lab = lab("");
    lab.write("vm42/deaf", "");
    assert_eq!(lab.run_sh("vm42", &START).code, Some(0));
    let done = lab.run_sh("vm42", &["stop", "--limit", "2"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (
            Some(0),
            "vm42: its power was taken away: it had not shut down within 2 s\n"
        )
    );
    assert_eq!(orders(&lab), ["system_powerdown", "quit"]);
}

#[test]
fn a_machine_on_a_full_disk_says_so() {
    let lab = lab("");
    assert_eq!(lab.run_sh("vm42", &START).code, Some(0));
    lab.write("vm42/state", "io-error\n");
    let why = "QEMU could not write to a disk of it (is this PC's disk full, or your quota?)";
    let done = lab.run_sh("vm42", &["status"]);
    testkit::begins(
        &done.out,
        &format!("vm42 is paused: {why} (process {})\n", pid(&lab)),
    );
    let json: serde_json::Value =
        serde_json::from_str(&lab.run_sh("vm42", &["status", "--json"]).out).unwrap();
    assert_eq!(
        (&json["state"], &json["why"], &json["pid"]),
        (&json!("paused"), &json!("io-error"), &json!(pid(&lab)))
    );
    let done = lab.run_sh("vm42", &["stop", "--limit=1"]);
    assert_eq!(
        done.err,
        format!(
            "vm42/run.sh: warning: vm42 is paused and cannot shut down: {why}. It is let go on every \
             10 s; after 1 s its power is taken away\n"
        )
    );
    assert_eq!(orders(&lab), ["cont", "system_powerdown", "quit"]);
}

/// By a terminal or a signal.
#[test]
fn a_process_that_is_stopped_does_not_count_as_going_on() {
    let lab = lab("");
    assert_eq!(lab.run_sh("vm42", &START).code, Some(0));
    let pid = pid(&lab);
    kill(pid, Signal::STOP);
    wait_for("its stop", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") T ")
    });
    let done = lab.run_sh("vm42", &["status"]);
    testkit::begins(
        &done.out,
        &format!(
            "vm42 is paused: the process is stopped: kill -CONT {pid} lets it go on (process {pid})\n"
        ),
    );
    let done = lab.run_sh("vm42", &START);
    assert_eq!(
        (done.code, done.err),
        (
            Some(1),
            format!(
                "vm42/run.sh: error: vm42 was started already, as process {pid}, and is stopped: by its \
                 terminal, or by a signal. To let it go on: kill -CONT {pid}. To end it: vm42/run.sh stop\n"
            )
        )
    );
    let done = lab.run_sh("vm42", &["stop"]);
    testkit::begins(&done.out, "vm42: shut down, after ");
}

#[test]
fn a_start_that_fails_shows_what_qemu_says() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded(
        "vm42",
        "echo 'qemu: no such device' >&2; rm -f qemu.pid; exit 1",
    );
    let done = lab.run_sh("vm42", &START);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    ends(
        &done.err,
        "qemu: no such device\nvm42/run.sh: error: vm42 did not start\n",
    );
}

#[test]
fn the_status_of_a_machine_that_never_ran_and_of_one_that_did() {
    let lab = lab(CONFIGURED);
    let done = lab.run_sh("vm42", &["status", "--json"]);
    assert_eq!(
        done.out,
        "{\"name\":\"vm42\",\"state\":\"stopped\",\"why\":\"\",\"pid\":null,\"last_sign\":null,\
         \"overlay_bytes\":null,\"log_bytes\":null,\"overlay_base\":null,\"retired\":false,\
         \"service\":\"none\",\"status_base64\":\"\",\"console_base64\":\"\"}\n"
    );
    assert_eq!(lab.run_sh("vm42", &START).code, Some(0));
    lab.write("vm42/retired", "");
    let done = lab.run_sh("vm42", &["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let digest = lab.read("vm42/vm42.qcow2.base");
    for (key, expected) in [
        ("state", json!("running")),
        ("retired", json!(true)),
        ("overlay_base", json!(digest.trim())),
        (
            "console_base64",
            json!("WyAgICAwLjAwMDAwMF0gTGludXggdmVyc2lvbiA2LjEyDQo="),
        ),
    ] {
        assert_eq!(json[key], expected, "{key}");
    }
    for key in ["last_sign", "overlay_bytes", "log_bytes", "pid"] {
        assert!(json[key].is_u64(), "{key}");
    }
    assert!(json["status_base64"].as_str().unwrap().len() > 100);
}

#[test]
fn refuses_wrong_words() {
    let lab = lab("");
    let cases: [(&[&str], &str); 8] = [
        (&["stop", "--limit"], "--limit needs a value"),
        (&["stop", "--limit=soon"], "--limit takes seconds: soon"),
        (&["status", "now"], "unknown argument: now"),
        (&["console", "now"], "unknown argument: now"),
        (&["service"], "service takes install or remove"),
        (
            &["start", "--console=terminal"],
            "start has no terminal: leave out --console",
        ),
        (
            &["start", "--nice=20"],
            "--nice does not take this value: 20",
        ),
        (
            &["start", "--oom-score=1001"],
            "--oom-score does not take this value: 1001",
        ),
    ];
    for (words, message) in cases {
        let done = lab.run_sh("vm42", words);
        assert_eq!(done.code, Some(2));
        assert_eq!(
            done.err.lines().next().unwrap(),
            format!("vm42/run.sh: error: {message}")
        );
    }
    let done = lab.run_sh("vm42", &["console"]);
    assert_eq!(
        (done.code, done.err.as_str()),
        (
            Some(1),
            "vm42/run.sh: error: vm42 is off; its last words are in LAB/vm42/console.log\n"
        )
    );
}

/// The terminal stops whoever sets it from its background (SIGTTOU), and a stopped QEMU boots nothing.
#[test]
fn in_the_background_of_a_terminal_it_leaves_that_alone() {
    let lab = lab(CONFIGURED);
    let line = format!(
        "set -m; '{0}' --console terminal & wait; '{0}' --user-net & wait",
        lab.path("vm42/run.sh").display()
    );
    let session = Session::of(&lab, "/bin/sh".as_ref(), &["-c", &line]);
    wait_for("the start", || lab.path("vm42/qmp.sock").exists());
    let words = lab.read("vm42/qemu.args").replace('\n', " ");
    has(&words, " -chardev socket,id=console,path=console.sock,");
    assert_eq!(lab.run_sh("vm42", &["stop"]).code, Some(0));
    let done = session.end();
    testkit::begins(
        &done.err,
        "vm42/run.sh: error: a console on the terminal needs the foreground. In the background: \
         vm42/run.sh start\n",
    );
    has(
        &done.err,
        "vm42/run.sh: the console goes to LAB/vm42/console.log\n\
         vm42/run.sh: (in the background of a terminal; run.sh console attaches to it)\n",
    );
}

#[test]
fn the_console_takes_every_key_but_one() {
    let lab = lab(CONFIGURED);
    assert_eq!(lab.run_sh("vm42", &START).code, Some(0));
    let done = lab.run_sh("vm42", &["console"]);
    assert_eq!(
        done.err,
        "vm42/run.sh: error: the console needs a terminal. To read it only: \
         LAB/vm42/console.log\n"
    );
    for by_imgbuild in [false, true] {
        let _ = fs::remove_file(lab.path("vm42/console.sock"));
        let listener = UnixListener::bind(lab.path("vm42/console.sock")).unwrap();
        let guest = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut heard = Vec::new();
            reader.read_until(b'\r', &mut heard).unwrap();
            stream.write_all(b"vm42 login: ").unwrap();
            reader.read_to_end(&mut heard).unwrap();
            heard
        });
        let session = match by_imgbuild {
            false => Session::on_screen(&lab, &lab.path("vm42/run.sh"), &["console"]),
            true => Session::on_screen(&lab, &crate::program(), &["console", "vm42"]),
        };
        wait_for("the console", || !session.echoes());
        // Ctrl-C and Ctrl-Z are the guest's.
        session.types("ro\u{3}\u{1a}ot\r");
        wait_for("the prompt", || session.shown().contains("vm42 login: "));
        session.types("\u{1d}");
        let done = session.end();
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert_eq!(
            done.err,
            "vm42/run.sh: at the console of vm42; Ctrl-] leaves it, Enter brings a prompt\n\n\
             vm42/run.sh: left; it goes on\n"
        );
        assert_eq!(guest.join().unwrap(), b"ro\x03\x1aot\r");
    }
}
