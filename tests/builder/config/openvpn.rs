//! Each kind of OpenVPN configuration that people have, and what `imgbuild check` says of it.

use super::{copy, imgbuild, stderr, stdout};
use crate::contract::{UserData, parse};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;
use testkit::{expect_file, has, house, mode, set_mode};

/// Somebody can log in, so that nothing is said of that.
const KEY: &str = "ssh-ed25519 \
                   AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example.org";

fn cases(name: &str) -> PathBuf {
    house("tests/cases/openvpn").join(name)
}

/// A lab whose VMs are named, with these keys in `openvpn`.
fn lab(folder: &Path, vms: &[&str], keys: &str) {
    let vms: String = vms.iter().map(|name| format!("- name: {name}\n")).collect();
    fs::write(
        folder.join("lab.yaml"),
        format!(
            "domain: example.org\nvmbr120: {{range: 10.120.0.0/24}}\n\
             defaults: {{ssh_keys: [{KEY}], openvpn: {{{keys}}}}}\nvms:\n{vms}"
        ),
    )
    .unwrap();
}

/// What is said, without the table of a lab that is good.
fn words(output: &Output) -> String {
    match output.status.code() {
        Some(0) if stderr(output).is_empty() => "good\n".to_owned(),
        Some(0) => format!("good\n{}", stderr(output)),
        _ => {
            assert!(stdout(output).is_empty());
            stderr(output)
        }
    }
}

mod kinds {
    testkit::cases!("openvpn/*.conf", super::kind_of_configuration);
}

fn kind_of_configuration(case: &Path) {
    let folder = with_config(case.file_name().unwrap().to_str().unwrap());
    set_mode(&folder.path().join("files/open.key"), 0o644);
    set_mode(&folder.path().join("files/ca.crt"), 0o644);
    let keys = fs::read_to_string(case.with_extension("keys")).unwrap_or_default();
    let keys = match keys.trim() {
        "" => "config: vm42.ovpn".to_owned(),
        keys => format!("config: vm42.ovpn, {keys}"),
    };
    lab(folder.path(), &["vm42"], &keys);
    let said = words(&imgbuild(folder.path(), &["check"]));
    expect_file(&case.with_extension("txt"), &said);
}

/// One of them, in a folder that can be seeded from.
fn with_config(name: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    copy(&cases("files"), &folder.path().join("files"));
    let config = folder.path().join("vm42.ovpn");
    fs::copy(cases(name), &config).unwrap();
    set_mode(&config, 0o600);
    folder
}

#[test]
fn one_certificate_for_all_has_to_be_meant() {
    let folder = with_config("01-bridged-inline.conf");
    let vms = ["vm42", "vm43", "vm44"];
    lab(folder.path(), &vms, "config: vm42.ovpn");
    let output = imgbuild(folder.path(), &["check"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    has(
        &said,
        "vm43 and vm42 have one OpenVPN identity: the server would throw one of them out",
    );
    has(&said, "or `shared: true` in `openvpn`");
    lab(folder.path(), &vms, "config: vm42.ovpn, shared: true");
    let output = imgbuild(folder.path(), &["check"]);
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
    // One login for all is one identity, too.
    let folder = with_config("08-login-given.conf");
    lab(
        folder.path(),
        &vms,
        "config: vm42.ovpn, user_pass_file: files/login",
    );
    let output = imgbuild(folder.path(), &["check"]);
    assert!(
        stderr(&output).contains("one OpenVPN identity"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_instance_may_be_a_key_of_its_own() {
    let folder = with_config("05-files-taken-in.conf");
    let named = "campus: {file: vm42.ovpn, inline: true}";
    lab(folder.path(), &["vm42"], named);
    let output = imgbuild(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains(" campus "), "{}", stdout(&output));
    let lab_file = imgbuild::config::lab::Lab::load(&folder.path().join("lab.yaml")).unwrap();
    let openvpn = lab_file.vms[0].openvpn.as_ref().unwrap();
    let text = openvpn.read(true).unwrap();
    assert_eq!(
        text.config.reveal().lines().take(4).collect::<Vec<_>>(),
        ["client", "dev tap", "remote vpn.example.org 1194", "<ca>"]
    );
    let end = "key-direction 1\n<tls-auth>\n-----BEGIN OpenVPN Static key V1-----\nhunter2\n\
               -----END OpenVPN Static key V1-----\n</tls-auth>\n";
    assert!(text.config.reveal().ends_with(end));
    lab(folder.path(), &["vm42"], "campus: {inline: true}");
    let said = stderr(&imgbuild(folder.path(), &["check"]));
    has(&said, "the key `file` is missing");
}

#[test]
fn a_machine_without_the_bridge_may_have_a_routed_tunnel() {
    let folder = with_config("09-routed.conf");
    lab(folder.path(), &["vm42"], "config: vm42.ovpn");
    let file = folder.path().join("lab.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "  vmbr120: none\n").unwrap();
    let output = imgbuild(folder.path(), &["check"]);
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
}

#[test]
fn a_tap_for_the_bridge_on_a_machine_without_it_is_told() {
    let folder = with_config("01-bridged-inline.conf");
    lab(folder.path(), &["vm42"], "config: vm42.ovpn");
    let file = folder.path().join("lab.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "  vmbr120: none\n").unwrap();
    let output = imgbuild(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stderr(&output);
    let words = ": `dev tap120` is the port of the bridge vmbr120, and this machine has no vmbr120: \
                 what comes through the tunnel reaches no bridge\n  right: a `vmbr120` in lab.yaml, \
                 or `openvpn: none` for this VM\n";
    assert!(
        text.starts_with("imgbuild: warning: vm42.ovpn:") && text.ends_with(words),
        "{text}"
    );
}

/// Line ends of Windows, a byte order mark and a login reach the guest as they are.
#[test]
fn the_guest_reads_what_the_lab_has() {
    for (case, keys) in [
        ("02-windows-editor.conf", "config: vm42.ovpn"),
        (
            "08-login-given.conf",
            "config: vm42.ovpn, user_pass_file: files/login, shared: true",
        ),
    ] {
        let folder = with_config(case);
        lab(folder.path(), &["vm42"], keys);
        let lab = imgbuild::config::lab::Lab::load(&folder.path().join("lab.yaml")).unwrap();
        let instance = lab.vms[0].openvpn.as_ref().unwrap().read(true).unwrap();
        let text = fs::read_to_string(cases(case)).unwrap();
        assert_eq!(instance.config.reveal(), text);
        let login = instance.user_pass.as_ref().map(|login| login.reveal());
        let is_given = keys.contains("login");
        assert_eq!(login, is_given.then_some("vm42\nhunter2"));
        let mut user_data = UserData::default();
        user_data
            .openvpn
            .insert("vpn".parse().unwrap(), instance.clone());
        let document = user_data.to_document().unwrap();
        let seed = parse("instance-id: i\n", &document, None).unwrap();
        assert_eq!(seed.user_data.openvpn["vpn"], instance);
    }
}

#[test]
fn problems_of_a_configuration_are_events_with_its_name() {
    let folder = with_config("09-routed.conf");
    lab(folder.path(), &["vm42"], "config: vm42.ovpn");
    let output = imgbuild(folder.path(), &["--json", "check"]);
    let out = stdout(&output);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["file"], &first["line"], &first["column"]),
        (&"vm42.ovpn".into(), &2.into(), &5.into())
    );
    assert_eq!(mode(&folder.path().join("vm42.ovpn")), 0o600);
}
