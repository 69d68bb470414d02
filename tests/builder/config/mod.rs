//! lab.yaml and the image definition as a user meets them: `imgbuild init`, `imgbuild check`,
//! and the exact text of every refusal. `UPDATE_GOLDEN=1` rewrites the expected texts.
mod init;
mod inventory;
mod openvpn;

use clap::CommandFactory;
use imgbuild::config::lab::Lab;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;
use testkit::{begins, expect_file, house, set_mode};

/// What every secret of the cases holds; no output may ever show it.
const SECRET: &str = "hunter2";

fn imgbuild(folder: &Path, args: &[&str]) -> Output {
    let output = Command::new(crate::program())
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap();
    for text in [stdout(&output), stderr(&output)] {
        assert!(!text.contains(SECRET), "a secret is shown:\n{text}");
    }
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Copies a folder; git keeps no modes, so every file becomes 0600.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    testkit::tree::copy(from, to, Some(0o600));
}

/// A good case prints its table and exits 0, one with warnings adds these, a bad one prints
/// nothing but its problems and exits 1.
fn verdict(kind: &str, output: &Output) -> String {
    let (code, out, err) = (output.status.code(), stdout(output), stderr(output));
    match kind {
        "good" if code == Some(0) && err.is_empty() => out,
        "warned" if code == Some(0) && !err.is_empty() => format!("{out}\n{err}"),
        "bad" if code == Some(1) && out.is_empty() => err,
        _ => panic!("exit {code:?}\n{out}{err}"),
    }
}

/// The kind of a case is its folder's name.
fn kind(case: &Path) -> &str {
    case.parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
}

mod good_labs {
    testkit::cases!("lab/good/*/", super::lab_case);
}

mod labs_with_warnings {
    testkit::cases!("lab/warned/*/", super::lab_case);
}

mod bad_labs {
    testkit::cases!("lab/bad/*/", super::lab_case);
}

fn lab_case(case: &Path) {
    let folder = TempDir::new().unwrap();
    copy(case, folder.path());
    if let Ok(modes) = fs::read_to_string(case.join("modes")) {
        for line in modes.lines() {
            let (mode, file) = line.split_once(' ').unwrap();
            let mode = u32::from_str_radix(mode, 8).unwrap();
            set_mode(&folder.path().join(file), mode);
        }
    }
    let output = imgbuild(folder.path(), &["check"]);
    expect_file(&case.join("expected.txt"), &verdict(kind(case), &output));
}

mod good_definitions {
    testkit::cases!("definition/good/*.yaml", super::definition_case);
}

mod bad_definitions {
    testkit::cases!("definition/bad/*.yaml", super::definition_case);
}

fn definition_case(case: &Path) {
    let folder = TempDir::new().unwrap();
    let cases = house("tests/cases/definition");
    let file = case.strip_prefix(&cases).unwrap().to_str().unwrap();
    // The key files are beside the definition.
    let beside = folder.path().join(kind(case));
    copy(&cases.join("keys"), &beside.join("keys"));
    fs::copy(case, folder.path().join(file)).unwrap();
    fs::copy(cases.join("lab.yaml"), folder.path().join("lab.yaml")).unwrap();
    let output = imgbuild(folder.path(), &["check", "--definition", file]);
    expect_file(&case.with_extension("txt"), &verdict(kind(case), &output));
}

#[test]
fn warnings_are_events_for_programs() {
    let folder = TempDir::new().unwrap();
    copy(&house("tests/cases/lab/warned/clusters"), folder.path());
    let output = imgbuild(folder.path(), &["--json", "check"]);
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
    let events: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["check", "warning", "warning", "warning"]);
    let text = events[3]["text"].as_str().unwrap();
    begins(text, "the cluster of 10.120.0.1, 10.120.0.2: ");
}

/// However a lab is cut or damaged, reading it ends with an answer that has a place and
/// shows no secret.
#[test]
fn damaged_labs_are_refused_with_a_place() {
    let folder = TempDir::new().unwrap();
    copy(&house("tests/cases/lab/good/full"), folder.path());
    let file = folder.path().join("lab.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace(
        "  memory: 4GiB\n",
        "  password: \"hunter2\"\n  memory: 4GiB\n",
    );
    // Every seventh character: 7 divides no common indentation, so all kinds of places come up.
    let mut refused = 0;
    let mut load = |damaged: String| {
        fs::write(&file, &damaged).unwrap();
        let Err(error) = Lab::load(&file) else {
            return;
        };
        refused += 1;
        let error = format!("{error:#}");
        assert!(error.contains("lab.yaml:"), "no place:\n{damaged}\n{error}");
        assert!(
            !error.contains(SECRET),
            "a secret is shown:\n{damaged}\n{error}"
        );
    };
    for (at, c) in text.char_indices().step_by(7) {
        load(text[..at].to_owned());
        let rest = &text[at + c.len_utf8()..];
        // Nothing, and what means something to YAML, in place of each character; not inside
        // the password's own line, where the key would become another.
        let line = text[..at].matches('\n').count();
        if text.lines().nth(line).is_none_or(|l| l.contains(SECRET)) {
            continue;
        }
        for new in ["", ":", "\t", "\"", "{", "é"] {
            load(format!("{}{new}{rest}", &text[..at]));
        }
    }
    assert!(
        refused > 500,
        "only {refused} of the damaged labs were refused"
    );
}

#[test]
fn the_command_line_is_sound() {
    imgbuild::cli::Cli::command().debug_assert();
}

#[test]
fn a_wrong_command_line_exits_2() {
    let folder = TempDir::new().unwrap();
    for args in [
        &["chekc"][..],
        &[],
        &["check", "--lba", "x"],
        &["seed"],
        &["init", "a", "b"],
    ] {
        let output = imgbuild(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stdout(&output).is_empty(), "{args:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_missing_lab_says_how_to_make_one() {
    let folder = TempDir::new().unwrap();
    let output = imgbuild(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "imgbuild: error: there is no lab.yaml here; make one with: imgbuild init\n"
    );
    let output = imgbuild(folder.path(), &["check", "--definition", "none.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "imgbuild: error: cannot read the image definition none.yaml: \
         No such file or directory (os error 2)\n\n\
         there is no lab.yaml here; make one with: imgbuild init\n"
    );
}

#[test]
fn problems_are_events_for_programs() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("lab.yaml"),
        "domain: x\nvms: [{name: VM1}]\n",
    )
    .unwrap();
    let output = imgbuild(folder.path(), &["--json", "check"]);
    assert_eq!(output.status.code(), Some(1));
    let out = stdout(&output);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(
        first,
        serde_json::json!({
            "event": "problem", "file": "lab.yaml", "line": 2, "column": 14,
            "message": "`VM1` has upper-case letters",
            "right": "name: a host name, lower-case letters, digits and hyphens, such as vm42",
        })
    );
    fs::write(
        folder.path().join("lab.yaml"),
        "domain: x\nvms: [{name: vm1}]\n",
    )
    .unwrap();
    let output = imgbuild(folder.path(), &["--json", "check"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "vm1 would have the gateway's address"
    );
    fs::write(
        folder.path().join("lab.yaml"),
        "domain: x\nvms: [{name: vm2}]\n",
    )
    .unwrap();
    let output = imgbuild(folder.path(), &["--json", "check"]);
    let events = stdout(&output);
    let mut events = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let event = events.next().unwrap();
    assert_eq!(events.next().unwrap()["event"], "warning");
    assert_eq!(event["vms"][0]["address"], "192.168.122.2");
    assert_eq!(event["definition"]["release"], "trixie");
    assert_eq!(
        event["always_installed"][3],
        serde_json::json!({"package": "grub-pc", "reason": "the boot loader"})
    );
}
