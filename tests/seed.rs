//! The seed parser on whole seeds: `tests/cases/seed/good` and `tests/cases/seed/bad`.
//!
//! A case is a folder with the three documents and `expected.txt`: the parsed seed as
//! `Debug` prints it, or the exact text of the error. `UPDATE_GOLDEN=1` rewrites those.
#![allow(clippy::unwrap_used)]

use firstboot::media::read_folder;
use firstboot::seed::{
    Bridge, BridgeParameters, Chpasswd, Cluster, Credential, Ethernet, Ha, HaRule, Match, MetaData,
    Nameservers, NetworkConfig, NfsStorage, Ntp, OpenVpnInstance, PasswordKind, Peer, Proxmox,
    Retry, Route, Secret, Seed, SeedError, UserData, UserPassword, parse,
};
use std::fs;
use std::path::{Path, PathBuf};

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/seed");
    let mut cases: Vec<PathBuf> = fs::read_dir(root.join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 5, "only {} cases in {kind}", cases.len());
    cases
}

fn parse_case(case: &Path) -> Result<Seed, SeedError> {
    let read = |name: &str| fs::read_to_string(case.join(name));
    let network = read("network-config").ok();
    parse(
        &read("meta-data").unwrap(),
        &read("user-data").unwrap(),
        network.as_deref(),
    )
}

/// Compares with `expected.txt`, or rewrites it; gives back whether they are the same.
fn compare(case: &Path, got: &str) -> bool {
    let file = case.join("expected.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        fs::write(&file, got).unwrap();
        return true;
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if got != expected {
        println!(
            "{}:\n--- expected\n{expected}\n--- got\n{got}",
            file.display()
        );
    }
    got == expected
}

#[test]
fn good_seeds_are_read() {
    let mut same = true;
    for case in cases("good") {
        let seed = parse_case(&case).unwrap_or_else(|e| panic!("{}:\n{e}", case.display()));
        let names = format!("hostname: {}\nfqdn: {:?}\n", seed.hostname(), seed.fqdn());
        same &= compare(&case, &format!("{names}{seed:#?}\n"));
        assert_eq!(read_folder(&case).unwrap(), seed, "{}", case.display());
    }
    assert!(same, "some cases differ, see above");
}

#[test]
fn bad_seeds_are_refused_with_every_problem() {
    let mut same = true;
    for case in cases("bad") {
        let error = match parse_case(&case) {
            Ok(seed) => panic!("{} was accepted: {seed:#?}", case.display()),
            Err(error) => error,
        };
        assert!(!error.problems.is_empty());
        same &= compare(&case, &format!("{error}\n"));
    }
    assert!(same, "some cases differ, see above");
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

/// What is written is what is read, for every seed that could be read.
#[test]
fn good_seeds_survive_being_written() {
    for case in cases("good") {
        let seed = parse_case(&case).unwrap();
        assert_eq!(written_and_read(&seed), seed_without_ignored(&seed));
    }
}

#[test]
fn a_full_seed_survives_being_written() {
    let mut seed = full_seed();
    assert_eq!(written_and_read(&seed), seed);
    let proxmox = seed.user_data.proxmox.as_mut().unwrap();
    let cluster = proxmox.cluster.as_mut().unwrap();
    let ticket = format!("PVE:root@pam:6B0844C3::{}", "rZ9+/=".repeat(57));
    cluster.credential = Credential::Ticket(Secret::new(ticket));
    proxmox.storage[0].content = None;
    assert_eq!(written_and_read(&seed), seed);
    let cluster = seed.cluster().unwrap();
    assert_eq!(cluster.credential.ticket().unwrap().made(), 0x6B0844C3);
    let links: Vec<String> = cluster
        .all_links()
        .iter()
        .map(|l| format!("{l:?}"))
        .collect();
    assert_eq!(links, ["(0, 10.120.0.42)", "(1, 192.168.122.42)"]);
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

fn written_and_read(seed: &Seed) -> Seed {
    let network = seed.network.as_ref().map(|n| n.to_document().unwrap());
    parse(
        &seed.meta_data.to_document().unwrap(),
        &seed.user_data.to_document().unwrap(),
        network.as_deref(),
    )
    .unwrap_or_else(|e| panic!("{e}"))
}

fn seed_without_ignored(seed: &Seed) -> Seed {
    Seed {
        ignored: Vec::new(),
        ..seed.clone()
    }
}

/// Awkward texts for a YAML writer: leading blanks, tabs, `\r\n`, quotes, no newline at the end,
/// words that YAML takes for numbers, booleans and nulls.
const AWKWARD: [&str; 10] = [
    "  indented\n\tkey\n",
    "dev tap120\r\ndev-type tap\r\n",
    "# comment\n<ca>\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n</ca>\n\n\n",
    "no newline at the end",
    "quotes ' \" ` : { } [ ] , & * # ? | - < > = ! % @ \\",
    "0123",
    "yes",
    "null",
    "~",
    "1e3",
];

fn full_seed() -> Seed {
    let openvpn = AWKWARD.iter().enumerate().map(|(number, text)| {
        let long = number % 2 == 1;
        let instance = OpenVpnInstance {
            config: Secret::new(*text),
            user_pass: long.then(|| Secret::new("vm42\n  yes: #1 \n")),
            shared: long,
        };
        (format!("vpn-{number}"), instance)
    });
    let route = Route {
        to: "10.0.0.0/8".into(),
        via: "192.168.122.254".parse().unwrap(),
    };
    let dns = Nameservers {
        addresses: vec!["192.168.122.1".parse().unwrap()],
        search: vec!["lab.example".into()],
    };
    let eth0 = Ethernet {
        match_: Some(Match {
            macaddress: Some("52:54:00:00:00:2a".into()),
        }),
        dhcp4: Some(false),
        addresses: vec!["192.168.122.42/24".into()],
        gateway4: Some("192.168.122.1".parse().unwrap()),
        routes: vec![route],
        nameservers: Some(dns.clone()),
    };
    let vmbr120 = Bridge {
        interfaces: vec!["tap120".into()],
        dhcp4: Some(false),
        addresses: vec!["10.120.0.42/24".into()],
        routes: Vec::new(),
        nameservers: Some(dns),
        parameters: Some(BridgeParameters {
            stp: Some(false),
            forward_delay: Some(0),
        }),
    };
    Seed {
        meta_data: MetaData {
            instance_id: "0123456789".into(),
            local_hostname: Some("vm42".into()),
        },
        user_data: UserData {
            hostname: Some("vm42".into()),
            fqdn: Some("vm42.lab.example".into()),
            timezone: Some("Europe/Paris".into()),
            disable_root: Some(false),
            ssh_authorized_keys: vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 admin@pc: it's".into()],
            chpasswd: Some(Chpasswd {
                expire: Some(false),
                users: vec![UserPassword {
                    name: "root".into(),
                    password: Secret::new("0x10"),
                    kind: PasswordKind::Text,
                }],
            }),
            ssh_pwauth: Some(true),
            ntp: Some(Ntp {
                enabled: true,
                servers: vec!["10.120.0.1".into(), "ntp.lab.example".into()],
                pools: vec!["pool.lab.example".into()],
            }),
            openvpn: openvpn.collect(),
            proxmox: Some(Proxmox {
                cluster: Some(Cluster {
                    peers: vec![Peer {
                        address: "10.120.0.41".into(),
                        fingerprints: vec![["AB"; 32].join(":"), ["CD"; 32].join(":")],
                    }],
                    credential: Credential::Password(Secret::new("true")),
                    link0: Some("10.120.0.42".parse().unwrap()),
                    links: [(1, "192.168.122.42".parse().unwrap())].into(),
                    votes: Some(0),
                    lab: vec!["vm41".into(), "vm42".into()],
                    retry: Retry {
                        give_up: Some(7200),
                        ..Retry::default()
                    },
                }),
                storage: vec![NfsStorage {
                    id: "lab-nfs".into(),
                    server: "10.120.0.5".into(),
                    export: "/srv/lab".into(),
                    content: Some(vec!["rootdir".into(), "images".into()]),
                    options: Some("vers=4.2".into()),
                }],
                ha: Ha {
                    groups: vec!["on".into()],
                    rules: [("near-the-lab", None), ("first", Some(7))]
                        .map(|(name, priority)| HaRule {
                            name: name.into(),
                            priority,
                        })
                        .to_vec(),
                },
                retired: false,
            }),
        },
        network: Some(NetworkConfig {
            version: 2,
            ethernets: [("eth0".to_owned(), eth0)].into(),
            bridges: [("vmbr120".to_owned(), vmbr120)].into(),
        }),
        ignored: Vec::new(),
    }
}

/// A password in the wrong place is refused without being shown.
#[test]
fn no_error_shows_a_secret() {
    const SECRET: &str = "hunter2-topsecret";
    let shapes = [
        "S", "[S]", "{a: S}", "\"S\\n\"", "!!int S", "!S x", "&S [x]", "'S", "- S", "S: S: S", "*S",
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
                    !format!("{seed:?}").contains(SECRET) || shape_is_plain_name(key),
                    "{user}"
                ),
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains(SECRET), "{user}\n{error}");
                    assert!(!format!("{error:?}").contains(SECRET), "{user}\n{error:?}");
                }
            }
        }
    }
    assert!(refused > 150, "only {refused} documents were refused");
}

/// Names and time zones may look like that, and are no secrets.
fn shape_is_plain_name(key: &str) -> bool {
    let names = [
        "hostname",
        "fqdn",
        "timezone",
        "ntp: {servers",
        "proxmox: {ha: {rules",
    ];
    names.contains(&key)
}
