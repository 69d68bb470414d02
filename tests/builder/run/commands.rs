//! `imgbuild list`, `stop`, `logs`, `rm`, and `run` of what runs or of all.

use crate::terminal::Session;
use crate::vm_folder::{CONFIGURED, LabFolder, QMP};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use testkit::{ends, has, kill, wait_for};

fn started(names: &[&str], scenario: &str) -> LabFolder {
    let lab = LabFolder::new(names);
    for name in names {
        lab.seeded(name, &format!("{QMP}{scenario}"));
    }
    let done = lab.run_sh("vm42", &["start", "--user-net"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    if scenario.contains("status '") {
        wait_for("the guest's words", || {
            lab.path("vm42/status.jsonl").exists()
        });
    }
    lab
}

fn pid(lab: &LabFolder) -> u32 {
    imgbuild::qemu::running(&lab.path("vm42")).unwrap()
}

const WAITS: &str = r#"
status '{"event":"waiting","stage":"join","step":"join","attempt":4,"seconds":180.0,"reason":"no quorum","uptime":1}'
"#;

/// Lines without the time of day.
fn rows(text: &str) -> Vec<String> {
    let words = |line: &str| {
        let words = line.split_whitespace();
        let words =
            words.filter(|word| !word.starts_with("20") && !word.contains(':') && *word != "UTC");
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(words).collect()
}

#[test]
fn the_list_shows_what_runs_and_needs_no_secret() {
    let lab = started(&["vm42", "vm43", "vm44"], CONFIGURED);
    fs::remove_file(lab.path("root-password")).unwrap();
    lab.write("vm43/retired", "");
    fs::remove_file(lab.path("vm44/seed.img")).unwrap();
    let digest = lab.read("vm42/vm42.qcow2.base");
    wait_for("the verdict", || {
        lab.read("vm42/status.jsonl").contains("\"configured\"")
    });
    let done = lab.imgbuild(&["list"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let first = format!("vm42 running {} {} configured", pid(&lab), &digest[..12]);
    assert_eq!(
        rows(&done.out),
        [
            "vm state since pid base last word",
            &first,
            "vm43 retired - - -",
            "vm44 no seed - - -",
        ]
    );
    lab.write("vm42/state", "io-error\n");
    let done = lab.imgbuild(&["list", "--json"]);
    let first: serde_json::Value = serde_json::from_str(done.out.lines().next().unwrap()).unwrap();
    let why = "QEMU could not write to a disk of it (is this PC's disk full, or your quota?)";
    for (key, expected) in [
        ("event", json!("vm")),
        ("vm", json!("vm42")),
        ("state", json!("paused")),
        ("pid", json!(pid(&lab))),
        ("why", json!(why)),
        ("base", json!(digest.trim())),
    ] {
        assert_eq!(first[key], expected, "{key}");
    }
    lab.secret("root-password", "geheim geheim\n");
    let done = lab.run(&[]);
    assert_eq!(
        done.err,
        format!(
            "imgbuild: error: vm42 was started already, as process {}, and is paused: {why}\n",
            pid(&lab)
        )
    );
}

#[test]
fn stop_shuts_them_down_and_one_that_is_off_is_well() {
    let lab = started(&["vm42", "vm43"], "");
    let done = lab.imgbuild(&["stop", "vm42", "vm43"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    testkit::begins(
        &done.out,
        "vm43: unchanged: it is off\nvm42: shut down, after ",
    );
    assert_eq!(imgbuild::qemu::running(&lab.path("vm42")), None);
    let done = lab.imgbuild(&["stop", "--all"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(0), "no VM of this lab is running here\n")
    );
    lab.write("vm42/deaf", "");
    assert_eq!(lab.run_sh("vm42", &["start", "--user-net"]).code, Some(0));
    let done = lab.imgbuild(&["stop", "--all", "--limit=1"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (
            Some(0),
            "vm42: its power was taken away: it had not shut down within 1 s\n"
        )
    );
}

#[test]
fn a_script_of_before_is_named() {
    let lab = started(&["vm42"], "");
    lab.replace("vm42", "attach_console() {", "old() {");
    for words in [["stop", "vm42"], ["console", "vm42"]] {
        let done = lab.imgbuild(&words);
        assert_eq!(
            done.err,
            "imgbuild: error: LAB/vm42/run.sh is from an earlier imgbuild, which started vm42 without a \
             console to attach to, and cannot stop it. poweroff in vm42 shuts it down; then: imgbuild \
             seed vm42\n"
        );
    }
}

#[test]
fn logs_are_shown_and_followed_over_a_restart() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "");
    let done = lab.imgbuild(&["logs", "vm42"]);
    assert_eq!(
        done.err,
        "imgbuild: error: vm42 has no log yet: LAB/vm42/console.log is not there. imgbuild run vm42 \
         starts it\n"
    );
    lab.write("vm42/console.log", "\u{1b}[32mok\u{1b}[0m\r\nvm42 login: ");
    lab.write(
        "vm42/status.jsonl",
        format!(
            "{}\n",
            WAITS
                .trim()
                .trim_start_matches("status '")
                .trim_end_matches('\'')
        ),
    );
    assert_eq!(lab.imgbuild(&["logs", "vm42"]).out, "ok\nvm42 login:\n");
    assert_eq!(
        lab.imgbuild(&["logs", "--status", "vm42"]).out,
        "joining, attempt 4, next in 3 min, because no quorum\n"
    );
    let mut command = lab.command(&crate::program(), &["logs", "-f", "vm42"]);
    let child = command
        .stdout(fs::File::create(lab.path("told")).unwrap())
        .spawn()
        .unwrap();
    wait_for("the first lines", || lab.read("told").contains("ok\n"));
    lab.write("vm42/console.log", "two\n");
    wait_for("the restart", || lab.read("told").contains("two\n"));
    kill(child.id(), Signal::INT);
    let done = lab.finished(child.wait_with_output().unwrap());
    assert_eq!(
        (done.code, done.err.as_str()),
        (Some(0), "imgbuild: warning: vm42 was started again\n")
    );
    assert_eq!(lab.read("told"), "ok\nvm42 login:\ntwo\n");
}

#[test]
fn rm_asks_and_takes_no_machine_that_is_needed() {
    let lab = started(&["vm42"], "");
    let done = lab.imgbuild(&["rm", "--yes", "vm42"]);
    assert_eq!(
        done.err,
        format!(
            "imgbuild: error: cannot remove vm42: it is running, as process {}. First: imgbuild stop \
             vm42\n",
            pid(&lab)
        )
    );
    assert_eq!(lab.run_sh("vm42", &["stop"]).code, Some(0));
    let done = lab.imgbuild(&["rm", "vm42"]);
    assert_eq!(
        done.err,
        "imgbuild: error: nothing was removed: nobody can be asked here. imgbuild rm --yes vm42 does \
         it\n"
    );
    let question = "remove the disk of vm42 (0 MB) with all that is on it, and its logs? [y/N] ";
    let session = Session::start(&lab, &["rm", "vm42"]);
    wait_for("the question", || lab.read("err") == question);
    session.types("n\n");
    assert_eq!(session.end().out, "nothing was removed\n");
    assert!(lab.path("vm42/vm42.qcow2").exists());
    lab.write("vm42/retired", "");
    has(
        &lab.imgbuild(&["rm", "--yes", "vm42"]).err,
        "cannot remove vm42: it was retired: ",
    );
    fs::remove_file(lab.path("vm42/retired")).unwrap();
    let done = lab.imgbuild(&["rm", "--yes", "vm42"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (
            Some(0),
            "vm42: its disk and its logs were removed. seed.img and run.sh stay: imgbuild run vm42 begins \
             anew. Once it had joined a cluster, its seed has no password any more: first imgbuild seed \
             vm42; it is then taken in again, under its own name and address\n"
        )
    );
    let left = lab.files("vm42");
    assert!(
        !left
            .iter()
            .any(|name| name.contains("qcow2") || name.ends_with(".log") && name != "qmp.log"),
        "{left:?}"
    );
    let done = lab.imgbuild(&["rm", "--yes", "vm42"]);
    assert_eq!(done.out, "vm42: unchanged: it has no disk and no logs\n");
}

/// What is printed for a machine on an old base, run as it is printed.
#[test]
fn the_remedies_for_an_old_base_lead_to_a_new_disk() {
    let lab = started(&["vm42"], CONFIGURED);
    assert_eq!(lab.run_sh("vm42", &["stop"]).code, Some(0));
    let old = lab.read("vm42/vm42.qcow2.base").trim().to_owned();
    // Another file takes its place: bases/ has the old one under a second name.
    let bytes = lab.read("base.qcow2").len();
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    lab.write("base.qcow2", "a newer base\n");
    lab.write_manifest("a newer base\n", 1 << 30);
    let new = testkit::sha256(b"a newer base\n");
    let run = |line: &str, more: &[&str]| {
        let words: Vec<&str> = line.strip_prefix("imgbuild ").unwrap().split(' ').collect();
        let done = lab.imgbuild(&[&words, more].concat());
        assert_eq!(done.code, Some(0), "{line}: {}{}", done.out, done.err);
        done
    };
    let done = run("imgbuild seed vm42", &[]);
    let hint = ". For a new disk on LAB/base.qcow2: ";
    let (_, remedy) = done.err.trim_end().split_once(hint).unwrap();
    assert_eq!(remedy, "imgbuild rm vm42");
    run(remedy, &["--yes"]);
    lab.seeded("vm42", &format!("{QMP}{CONFIGURED}"));
    run("imgbuild run vm42", &["--user-net"]);
    assert_eq!(lab.read("vm42/vm42.qcow2.base").trim(), new);

    // Once more, where the old base is too old for the seed.
    assert_eq!(lab.run_sh("vm42", &["stop"]).code, Some(0));
    lab.write("vm42/vm42.qcow2.base", format!("{old}\n"));
    let manifest = format!(
        r#"{{"image": {{"sha256": "{old}", "bytes": {bytes}, "virtual_bytes": 1}}, "firstboot": {{"contract": 1}}}}"#
    );
    lab.write(&format!("bases/{old}.manifest.json"), manifest);
    lab.with_cluster("    votes: 0\n");
    let done = lab.imgbuild(&["seed", "vm42"]);
    let hint = " is needed. For a new disk on the new base: ";
    let (_, remedies) = done.err.trim_end().split_once(hint).unwrap();
    for line in remedies.split(", ") {
        let more: &[&str] = match line {
            "imgbuild rm vm42" => &["--yes"],
            "imgbuild run vm42" => &["--user-net"],
            _ => &[],
        };
        run(line, more);
    }
    assert_eq!(lab.read("vm42/vm42.qcow2.base").trim(), new);
}

/// What looks at a machine or ends it reads no secret of the lab.
#[test]
fn a_lab_without_its_password_file_is_still_looked_at_and_stopped() {
    let lab = started(&["vm42"], CONFIGURED);
    fs::remove_file(lab.path("root-password")).unwrap();
    wait_for("the verdict", || {
        lab.read("vm42/status.jsonl").contains("\"configured\"")
    });
    for (words, expected) in [
        (&["run", "vm42", "--user-net"][..], "vm42 is configured\n"),
        (&["list"], "  configured\n"),
        (&["logs", "vm42"], "Linux version 6.12\n"),
        (&["logs", "--status", "vm42"], "\nconfigured\n"),
        (&["stop", "vm42"], " s\n"),
        (&["rm", "--yes", "vm42"], " own name and address\n"),
        (&["run", "--all", "--user-net"], "vm42  configured\n"),
        (&["stop", "--all"], " s\n"),
    ] {
        let done = lab.imgbuild(words);
        assert_eq!(done.code, Some(0), "{words:?}: {}", done.err);
        ends(&done.out, expected);
    }
    let done = lab.imgbuild(&["console", "vm42"]);
    assert_eq!(
        done.err,
        "imgbuild: error: vm42 is off; its last words are in LAB/vm42/console.log\n"
    );
    // A seed is made of it.
    let done = lab.imgbuild(&["seed", "vm42"]);
    has(&done.err, "cannot read root-password: No such file");
}

#[test]
fn run_of_a_machine_that_waits_says_so() {
    let lab = started(&["vm42"], WAITS);
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: vm42 is up and goes on joining its cluster by itself: attempt 4, because no \
         quorum; see firstboot status\n"
    );
}

#[test]
fn all_are_run_one_after_the_other_as_far_as_memory_goes() {
    let lab = LabFolder::new(&["vm42", "vm43", "vm44", "vm45"]);
    let text = lab.read("lab.yaml");
    let text = text
        .replace("  - name: vm44\n", "  - name: vm44\n    memory: 1T\n")
        .replace(
            "  - name: vm45\n",
            "  - name: vm45\n    host: pc-of-somebody-else\n",
        );
    lab.write(
        "lab.yaml",
        text.replace("defaults:\n", "defaults:\n  memory: 512M\n"),
    );
    lab.seeded("vm42", CONFIGURED);
    lab.seeded(
        "vm43",
        r#"status '{"event":"verdict","result":"failed","reason":"network: no card"}'"#,
    );
    let done = lab.imgbuild(&["run", "--all", "--user-net"]);
    assert_eq!(done.code, Some(1));
    has(&done.err, "1 VMs are of other PCs than this one (");
    has(
        &done.out,
        "vm42  configured\nvm43  vm43 is not configured: network: no card\nvm44  vm44 was not started: it \
         takes ",
    );
    ends(
        &done.err,
        "imgbuild: error: 2 of 3 VMs are not configured: vm43, vm44\n",
    );
}
