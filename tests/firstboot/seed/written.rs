//! What is written is read back as it was.

use super::parse_case;
use crate::contract::{
    Bridge, BridgeParameters, CONTRACT, Chpasswd, Cluster, Credential, Ethernet, Ha, HaRule, Match,
    MetaData, Nameservers, NetworkConfig, NfsStorage, Ntp, OpenVpnInstance, PasswordKind, Peer,
    Proxmox, Retry, Route, Secret, Seed, UserData, UserPassword, parse,
};

mod good_seeds {
    testkit::cases!("seed/good/*/", super::survives_being_written);
}

/// What is written is what is read, for every seed that could be read.
fn survives_being_written(case: &std::path::Path) {
    let seed = parse_case(case).unwrap();
    assert_eq!(written_and_read(&seed), seed_without_ignored(&seed));
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
        (format!("vpn-{number}").parse().unwrap(), instance)
    });
    let route = Route {
        to: "10.0.0.0/8".parse().unwrap(),
        via: "192.168.122.254".parse().unwrap(),
    };
    let dns = Nameservers {
        addresses: vec!["192.168.122.1".parse().unwrap()],
        search: vec!["lab.example".parse().unwrap()],
    };
    let eth0 = Ethernet {
        match_: Some(Match {
            macaddress: Some("52:54:00:00:00:2a".parse().unwrap()),
        }),
        dhcp4: Some(false),
        addresses: vec!["192.168.122.42/24".parse().unwrap()],
        gateway4: Some("192.168.122.1".parse().unwrap()),
        routes: vec![route],
        nameservers: Some(dns.clone()),
    };
    let vmbr120 = Bridge {
        interfaces: vec!["tap120".into()],
        dhcp4: Some(false),
        addresses: vec!["10.120.0.42/24".parse().unwrap()],
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
            local_hostname: Some("vm42".parse().unwrap()),
            contract: Some(CONTRACT),
        },
        user_data: UserData {
            hostname: Some("vm42".parse().unwrap()),
            fqdn: Some("vm42.lab.example".parse().unwrap()),
            timezone: Some("Europe/Paris".parse().unwrap()),
            disable_root: Some(false),
            ssh_authorized_keys: vec![
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBisPnND8BaJDFEOk/k1JhFp2eP1ZUNkKYMPrwk09Pjk admin@pc: it's"
                    .parse()
                    .unwrap(),
            ],
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
                servers: vec![
                    "10.120.0.1".parse().unwrap(),
                    "ntp.lab.example".parse().unwrap(),
                ],
                pools: vec!["pool.lab.example".parse().unwrap()],
            }),
            openvpn: openvpn.collect(),
            proxmox: Some(Proxmox {
                cluster: Some(Cluster {
                    peers: vec![Peer {
                        address: "10.120.0.41".parse().unwrap(),
                        fingerprints: ["AB", "CD"]
                            .map(|pair| [pair; 32].join(":").parse().unwrap())
                            .to_vec(),
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
                    id: "lab-nfs".parse().unwrap(),
                    server: "10.120.0.5".parse().unwrap(),
                    export: "/srv/lab".parse().unwrap(),
                    content: Some(vec!["rootdir".parse().unwrap(), "images".parse().unwrap()]),
                    options: Some("vers=4.2".parse().unwrap()),
                }],
                ha: Ha {
                    groups: vec!["on".parse().unwrap()],
                    rules: [("near-the-lab", None), ("first", Some(7))]
                        .map(|(name, priority)| HaRule {
                            name: name.parse().unwrap(),
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
