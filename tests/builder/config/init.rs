//! `imgbuild init`, and that what it writes is good.

use super::{SECRET, imgbuild, stderr, stdout};
use std::fs;
use tempfile::TempDir;
use testkit::{house, mode, names, set_mode};

#[test]
fn what_init_writes_checks_clean() {
    let folder = TempDir::new().unwrap();
    let output = imgbuild(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        stdout(&output).lines().take(2).collect::<Vec<_>>(),
        [
            "wrote lab.yaml, images/base.yaml, secrets/README",
            "nobody could log in to a VM yet: there is no ssh key of yours in ~/.ssh. Make one \
             with `ssh-keygen`, and name its .pub file in lab.yaml (ssh_key_files)",
        ]
    );
    assert_eq!(mode(&folder.path().join("secrets")), 0o700);
    assert_eq!(mode(&folder.path().join("secrets/README")), 0o600);
    assert_eq!(names(folder.path()), ["images", "lab.yaml", "secrets"]);
    let output = imgbuild(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("\nvm42  -     192.168.122.42  -"));
    // It is said again, where it would be seen too late.
    let warning = "imgbuild: warning: nobody can log in to vm42: no ssh key, no root password\n";
    assert!(stderr(&output).starts_with(warning), "{}", stderr(&output));
}

#[test]
fn init_offers_the_users_own_public_keys() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join(".ssh")).unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    fs::write(folder.path().join(".ssh/id_ed25519"), SECRET).unwrap();
    let public = folder.path().join(".ssh/id_ed25519.pub");
    fs::write(public, format!("{key} me: at # home\n")).unwrap();
    // A copy of it, which a lab would refuse as the same key.
    let copy = folder.path().join(".ssh/work.pub");
    fs::write(copy, format!("{key} work\n")).unwrap();
    let output = imgbuild(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = "\nyour ssh key opens the VMs: ~/.ssh/id_ed25519.pub\n";
    assert!(stdout(&output).contains(said), "{}", stdout(&output));
    let output = imgbuild(folder.path(), &["check"]);
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
    let lab = imgbuild::config::lab::Lab::load(&folder.path().join("lab.yaml")).unwrap();
    assert_eq!(
        lab.vms[0].ssh_keys,
        [format!("{key} me: at # home").as_str()]
    );
}

/// Every commented key of the template is one that the reader knows: uncommented, with the
/// example keys and secrets filled in, the lab is good too.
#[test]
fn the_commented_parts_of_the_template_are_good() {
    let folder = TempDir::new().unwrap();
    imgbuild(folder.path(), &["init", "my lab"]);
    let lab = folder.path().join("my lab/lab.yaml");
    let text = fs::read_to_string(&lab).unwrap();
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let fingerprint = vec!["AB"; 32].join(":");
    let text: Vec<String> = text
        .lines()
        .filter(|line| !line.contains("none of the default") && !line.contains("ssh_key_files"))
        .map(|line| match line.split_once("# ") {
            // Comments that read as YAML: a lower-case key with a colon, or a list item.
            Some((indent, rest)) if indent.trim().is_empty() && is_yaml(rest) => {
                format!("{indent}{rest}")
            }
            _ => line.to_owned(),
        })
        .map(|line| line.replace("AAAA...", key))
        .map(|line| line.replace("AA:BB:...32 pairs...:FF", &fingerprint))
        .collect();
    let text = text.join("\n");
    for key in [
        "vmbr120:",
        "timezone:",
        "ssh_keys:",
        "ssh_password:",
        "openvpn:",
        "cluster:",
        "join:",
        "ntp:",
        "votes:",
        "give_up:",
        "storage:",
        "options:",
        "ha:",
        "rules:",
        "host:",
        "state:",
        "mac:",
        "plugin:",
        "pcs:",
        "start_at_boot:",
    ] {
        let there = text.lines().any(|line| line.trim_start().starts_with(key));
        assert!(there, "{key} is not in the template");
    }
    // Nobody has two links who did not ask for them.
    assert!(
        !text
            .lines()
            .any(|line| line.trim_start().starts_with("links:"))
    );
    fs::write(&lab, text).unwrap();
    let secrets = folder.path().join("my lab/secrets");
    fs::create_dir(secrets.join("vpn")).unwrap();
    let good = house("tests/cases/openvpn/01-bridged-inline.conf");
    fs::copy(good, secrets.join("vpn/vm42.ovpn")).unwrap();
    set_mode(&secrets.join("vpn/vm42.ovpn"), 0o600);
    for file in ["root-password", "cluster-password"] {
        fs::write(secrets.join(file), SECRET).unwrap();
        set_mode(&secrets.join(file), 0o600);
    }
    let output = imgbuild(folder.path(), &["check", "--lab", "my lab/lab.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = "vm42  pc-07  192.168.122.42  10.120.0.42  52:54:00:12:34:56  vpn-interco  yes";
    assert!(stdout(&output).contains(line), "{}", stdout(&output));
}

fn is_yaml(comment: &str) -> bool {
    let text = comment.trim_start().trim_start_matches("- ");
    let word = text.split(':').next().unwrap();
    let key = !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || "-_120".contains(c));
    (key && text.len() > word.len()) || text.starts_with("ssh-ed25519")
}

#[test]
fn init_writes_over_nothing() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("images")).unwrap();
    fs::write(folder.path().join("images/base.yaml"), "mine").unwrap();
    let output = imgbuild(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "imgbuild: error: nothing was written: images/base.yaml is there already and stays as it \
         is\n  right: another folder, imgbuild init FOLDER, or move what is there out of the way\n"
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("images/base.yaml")).unwrap(),
        "mine"
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "something was written"
    );
    // The same definition is no obstacle: init works in the project's own checkout.
    let built_in = imgbuild::config::definition::BUILT_IN;
    fs::write(folder.path().join("images/base.yaml"), built_in).unwrap();
    let output = imgbuild(folder.path(), &["init"]);
    assert!(stdout(&output).starts_with("wrote lab.yaml, secrets/README\n"));
    let output = imgbuild(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nothing was written: lab.yaml is there already"));
}

#[test]
fn init_takes_back_what_it_made_when_it_fails() {
    let folder = TempDir::new().unwrap();
    // A file where the folder must be.
    fs::write(folder.path().join("secrets"), "").unwrap();
    let output = imgbuild(folder.path(), &["init"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "imgbuild: error: cannot write a lab into .: cannot make the folder \
         ./secrets: ./secrets is there and is no folder; move it out of the way, or choose another \
         folder\n"
    );
    assert_eq!(names(folder.path()), ["secrets"]);
}
