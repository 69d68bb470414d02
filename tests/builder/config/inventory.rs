//! `imgbuild lab inventory`: the lab as Ansible gets it.

use super::{copy, imgbuild, stderr, stdout};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use testkit::{expect_file, house};

fn lab(case: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    copy(&house("tests/cases/lab/good").join(case), folder.path());
    folder
}

fn json_of(folder: &Path, args: &[&str]) -> Value {
    let output = imgbuild(folder, &[&["lab", "inventory"], args].concat());
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn rooms_and_states_are_groups_and_pcs_have_their_vms() {
    let folder = lab("rooms");
    let output = imgbuild(folder.path(), &["lab", "inventory", "--list"]);
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""));
    let place = folder.path().canonicalize().unwrap();
    let text = stdout(&output).replace(place.to_str().unwrap(), "/LAB");
    expect_file(&house("tests/cases/lab/good/rooms/inventory.json"), &text);
    // One event for programs, and a file of another name.
    fs::rename(
        folder.path().join("lab.yaml"),
        folder.path().join("room.yaml"),
    )
    .unwrap();
    let list = ["--list", "--lab", "room.yaml"];
    let whole = json_of(folder.path(), &list);
    let args = [&["--json", "lab", "inventory"][..], &list].concat();
    let line = stdout(&imgbuild(folder.path(), &args));
    assert_eq!(line.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), whole);
}

#[test]
fn a_base_and_a_retired_machine_are_told() {
    let folder = lab("rooms");
    let manifest = json!({
        "image": {"sha256": "ab".repeat(32), "bytes": 5, "virtual_bytes": 9}, "firstboot": {},
    });
    fs::write(folder.path().join("base.qcow2"), "12345").unwrap();
    fs::write(
        folder.path().join("base.manifest.json"),
        manifest.to_string(),
    )
    .unwrap();
    fs::create_dir(folder.path().join("vm7")).unwrap();
    fs::write(folder.path().join("vm7/retired"), "").unwrap();
    let name = "pc-a-1.lab.example.org";
    let pc = json_of(folder.path(), &["--host", name]);
    assert_eq!(pc["imgbuild_base_sha256"], "ab".repeat(32));
    assert_eq!(pc["imgbuild_base_bytes"], 5);
    assert_eq!(pc["imgbuild_vms"][2]["state"], "retired");
    let all = json_of(folder.path(), &["--list"]);
    assert_eq!(all["imgbuild_retired"]["hosts"], json!([name]));
    assert_eq!(all["imgbuild_stopped"]["hosts"], json!([]));
    assert_eq!(all["_meta"]["hostvars"][name], pc);
    // A base whose manifest is gone is no missing base.
    fs::remove_file(folder.path().join("base.manifest.json")).unwrap();
    let output = imgbuild(folder.path(), &["lab", "inventory", "--list"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn no_secret_is_needed_and_without_rooms_the_pcs_are_those_of_the_vms() {
    let folder = lab("full");
    fs::remove_dir_all(folder.path().join("secrets")).unwrap();
    let all = json_of(folder.path(), &["--list"]);
    let hosts = &all["ungrouped"]["hosts"];
    assert_eq!(hosts, &all["imgbuild_started"]["hosts"]);
    let first = hosts[0].as_str().unwrap();
    let pc = &all["_meta"]["hostvars"][first];
    assert_eq!(pc["imgbuild_room"], Value::Null);
    assert_eq!(pc["imgbuild_folder"], "/var/tmp/imgbuild-{user}");
}

#[test]
fn a_pc_that_is_not_there_is_refused() {
    let folder = lab("rooms");
    for name in ["pc-a-1", "-x"] {
        let host = format!("--host={name}");
        let output = imgbuild(folder.path(), &["lab", "inventory", &host]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            stderr(&output),
            format!(
                "imgbuild: error: the lab has no PC named `{name}`\n  right: a full name out of: \
                 imgbuild lab inventory --list\n"
            )
        );
    }
    for args in [&["lab", "inventory"][..], &["lab", "inventory", "--host"]] {
        assert_eq!(imgbuild(folder.path(), args).status.code(), Some(2));
    }
}
