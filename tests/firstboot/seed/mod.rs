//! The seed parser on whole seeds: `tests/cases/seed/good` and `tests/cases/seed/bad`.
//!
//! A case is a folder with the three documents and `expected.txt`: the parsed seed as
//! `Debug` prints it, or the exact text of the error. `UPDATE_GOLDEN=1` rewrites those.
mod limits;
mod written;

use crate::contract::{CONTRACT, PasswordKind, Seed, SeedError, parse, read_folder};
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::expect_file;

fn parse_case(case: &Path) -> Result<Seed, SeedError> {
    let read = |name: &str| fs::read_to_string(case.join(name));
    let network = read("network-config").ok();
    parse(
        &read("meta-data").unwrap(),
        &read("user-data").unwrap(),
        network.as_deref(),
    )
}

mod good_seeds {
    testkit::cases!("seed/good/*/", super::is_read);
}

fn is_read(case: &Path) {
    let seed = parse_case(case).unwrap_or_else(|e| panic!("{}:\n{e}", case.display()));
    let names = format!("hostname: {}\nfqdn: {:?}\n", seed.hostname(), seed.fqdn());
    expect_file(&case.join("expected.txt"), &format!("{names}{seed:#?}\n"));
    assert_eq!(read_folder(case).unwrap(), seed, "{}", case.display());
}

mod bad_seeds {
    testkit::cases!("seed/bad/*/", super::is_refused_with_every_problem);
}

fn is_refused_with_every_problem(case: &Path) {
    let error = match parse_case(case) {
        Ok(seed) => panic!("{} was accepted: {seed:#?}", case.display()),
        Err(error) => error,
    };
    assert!(!error.problems.is_empty());
    expect_file(&case.join("expected.txt"), &format!("{error}\n"));
}

/// A seed for a later firstboot is refused by the machine, which is left as it is.
#[test]
fn a_seed_for_a_later_firstboot_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/seed/bad/contract-newer");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/hostname"), "localhost\n").unwrap();
    let done = Command::new(crate::program())
        .arg("--root")
        .arg(&root)
        .arg("--seed-dir")
        .arg(&case)
        .arg("local")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    let words = format!(
        "meta-data line 3 column 11: contract: this seed needs contract 4294967295, and the firstboot \
         of this base knows contract {CONTRACT}; make the base again (imgbuild base), and this \
         machine's disk anew on it"
    );
    assert!(said.contains(&words), "{said}");
    assert!(!said.contains("not-known-yet"), "{said}");
    let name = fs::read_to_string(root.join("etc/hostname")).unwrap();
    assert_eq!(name, "localhost\n");
}

/// The golden files do not show passwords, so they are looked at here.
#[test]
fn passwords_are_read_in_every_spelling() {
    let cases = [
        ("password: pw:1", "pw:1", PasswordKind::Text),
        ("password: 0123", "0123", PasswordKind::Text),
        ("user: root\npassword: $6$s$h", "$6$s$h", PasswordKind::Hash),
        ("chpasswd: {list: 'root:pw:1'}", "pw:1", PasswordKind::Text),
        (
            "chpasswd: {list: ['a:b', 'root:$y$h']}",
            "$y$h",
            PasswordKind::Hash,
        ),
        (
            "chpasswd:\n  list: |\n    a:b\n    root:pw\npassword: other",
            "pw",
            PasswordKind::Text,
        ),
        (
            "chpasswd: {users: [{name: a, password: b}, {name: root, password: $6$s$h}]}",
            "$6$s$h",
            PasswordKind::Hash,
        ),
        (
            "chpasswd: {users: [{name: root, password: 1e3, type: text}]}",
            "1e3",
            PasswordKind::Text,
        ),
    ];
    for (text, password, kind) in cases {
        let document = format!("#cloud-config\nhostname: vm42\n{text}\n");
        let seed = parse("instance-id: i", &document, None).unwrap_or_else(|e| panic!("{e}"));
        let users = seed.user_data.chpasswd.unwrap().users;
        assert_eq!(users.len(), 1, "{text}");
        assert_eq!(users[0].name, "root");
        assert_eq!(users[0].password.reveal(), password, "{text}");
        assert_eq!(users[0].kind, kind, "{text}");
    }
}

/// A password for another user is none for root.
#[test]
fn passwords_of_others_are_left_out() {
    let document = "#cloud-config\nhostname: vm42\nuser: debian\npassword: pw\n";
    let seed = parse("instance-id: i", document, None).unwrap();
    assert_eq!(seed.user_data.chpasswd, None);
    assert_eq!(
        seed.ignored,
        [
            "user-data: user (only root is configured here)",
            "user-data: password (only root is configured here)"
        ]
    );
}

#[test]
fn an_openvpn_configuration_keeps_every_byte() {
    let document = "#cloud-config\nhostname: vm42\nopenvpn:\n  vpn: |\n    dev tap120\n    <ca>\n    x\n    </ca>\n";
    let seed = parse("instance-id: i", document, None).unwrap();
    assert_eq!(
        seed.user_data.openvpn["vpn"].config.reveal(),
        "dev tap120\n<ca>\nx\n</ca>\n"
    );
}

/// What the power leaves of a ticket that is being overwritten is a seed, and no ticket.
#[test]
fn a_ticket_that_is_gone_or_torn_is_no_error() {
    let fingerprint = ["AB"; 32].join(":");
    let with = |ticket: &str| {
        let user = format!(
            "#cloud-config\nhostname: vm42\nproxmox: {{cluster: {{peers: [{{address: a, \
             fingerprint: \"{fingerprint}\"}}], ticket: '{ticket}'}}}}\n"
        );
        parse("instance-id: i", &user, None)
    };
    let credential = |ticket: &str| {
        let seed = with(ticket).unwrap_or_else(|e| panic!("{ticket}: {e}"));
        seed.cluster().unwrap().credential.clone()
    };
    let whole = credential("PVE:root@pam:6B0844C3::rZ9");
    assert!(whole.ticket().is_some() && !whole.is_removed());
    for torn in [
        "PVE:rxxx@pam:6B0844C3::rZ9",
        "PVE:root@pam:6Bxxxxxxxxxxx",
        "xVE:root@pam:6B0844C3::xxx",
    ] {
        let torn = credential(torn);
        assert!(torn.ticket().is_none() && !torn.is_removed());
    }
    assert!(credential("xxxxxxxxxxxxxxxxxxxxxxxxxx").is_removed());
    assert!(with("PVE:admin@pve:6B0844C3::rZ9").is_err());
}

/// A password in the wrong place is refused without being shown.
#[test]
fn no_error_shows_a_secret() {
    const SECRET: &str = "hunter2-topsecret";
    let shapes = [
        "S",
        "[S]",
        "{a: S}",
        "\"S\\n\"",
        "!!int S",
        "!S x",
        "&S [x]",
        "'S",
        "- S",
        "S: S: S",
        "*S",
        "{password:S}",
        "{password:S: x}",
        "{password S: x}",
        "{S: 1, S: 2}",
        "{S: {S: {S: x}}}",
        "[{password:S}]",
        "[{name: root, S: x}]",
    ];
    let keys = [
        "hostname",
        "fqdn",
        "timezone",
        "disable_root",
        "ssh_authorized_keys",
        "password",
        "chpasswd",
        "chpasswd: {expire",
        "chpasswd: {list",
        "chpasswd: {users",
        "chpasswd: {users: [{name: root, type",
        "chpasswd: {users: [{name: root, password",
        "users",
        "users: [{name: root, ssh_authorized_keys",
        "openvpn",
        "openvpn: {vpn",
        "openvpn: {vpn: {config",
        "openvpn: {vpn: {user_pass",
        "openvpn: {vpn: {shared",
        "ssh_pwauth",
        "ntp",
        "ntp: {servers",
        "proxmox",
        "proxmox: {cluster",
        "proxmox: {cluster: {password",
        "proxmox: {cluster: {ticket",
        "proxmox: {cluster: {link0",
        "proxmox: {cluster: {links",
        "proxmox: {cluster: {links: {1",
        "proxmox: {cluster: {lab",
        "proxmox: {cluster: {votes",
        "proxmox: {cluster: {retry",
        "proxmox: {cluster: {retry: {first",
        "proxmox: {storage",
        "proxmox: {storage: [{content",
        "proxmox: {storage: [{options",
        "proxmox: {ha",
        "proxmox: {ha: {rules",
        "proxmox: {ha: {rules: [{priority",
        "proxmox: {retired",
        "proxmox: {cluster: {peers",
        "proxmox: {cluster: {peers: [{address",
        "proxmox: {cluster: {peers: [{fingerprint",
    ];
    let mut refused = 0;
    for key in keys {
        for shape in shapes {
            let closing: String = key
                .chars()
                .rev()
                .filter_map(|c| match c {
                    '{' => Some('}'),
                    '[' => Some(']'),
                    _ => None,
                })
                .collect();
            let value = shape.replace('S', SECRET);
            let user = format!("#cloud-config\n{key}: {value}{closing}\n");
            let meta = "instance-id: i\nlocal-hostname: vm42\n";
            match parse(meta, &user, None) {
                Ok(seed) => assert!(
                    !format!("{seed:?}").contains(SECRET) || is_a_name(key, shape),
                    "{user}"
                ),
                Err(error) => {
                    refused += 1;
                    let told = format!("{error}\n{error:?}");
                    assert!(
                        !told.contains(SECRET) || is_a_name(key, shape),
                        "{user}\n{told}"
                    );
                }
            }
        }
    }
    assert!(refused > 150, "only {refused} documents were refused");
}

/// Names and time zones may look like that, and are no secrets.
fn is_a_name(key: &str, shape: &str) -> bool {
    let names = [
        "hostname",
        "fqdn",
        "timezone",
        "ntp: {servers",
        "proxmox: {ha: {rules",
    ];
    // A word as a key is shown where no secret is written; that of an OpenVPN instance is its name.
    let secrets = ["chpasswd", "users", "openvpn: {", "cluster"];
    let is_key = shape.contains("{S:") || shape.contains(", S: x");
    let is_word = is_key && !secrets.iter().any(|secret| key.contains(secret));
    (names.contains(&key) && !shape.contains("password")) || is_word
}
