//! A lab with one machine, for the unit tests of this folder.

use super::seed::Secrets;
use crate::config::lab::{ClusterJoin, JoinWith, Lab, NatNetwork, OpenVpn, Vm};
use firstboot::contract::seed::{Credential, OpenVpnInstance, Peer, Secret};
use std::net::Ipv4Addr;

/// An OpenVPN configuration with a line that YAML must quote.
pub(crate) const OPENVPN: &str =
    "client\ndev tap120\nremote 192.0.2.7 1194\n# key: value\n<key>\nsecret-key\n</key>\n";

/// A password as crypt(3) hashes it.
pub(crate) const HASH: &str =
    include_str!("../../../tests/cases/run/root-password.hash").trim_ascii_end();

/// vm42 in `example.org`, with everything that a machine can have.
pub(crate) fn lab() -> Lab {
    Lab {
        file: "/lab/lab.yaml".into(),
        folder: "/lab".into(),
        base: "/lab/base.qcow2".into(),
        domain: "example.org".parse().unwrap(),
        network: NatNetwork {
            bridge: "virbr0".into(),
            range: Default::default(),
            gateway: Ipv4Addr::new(192, 168, 122, 1),
            dns: vec![Ipv4Addr::new(192, 168, 122, 1)],
        },
        vmbr120: Some("10.120.0.0/24".parse().unwrap()),
        rooms: Vec::new(),
        vms: vec![Vm {
            name: "vm42".parse().unwrap(),
            host: None,
            state: Default::default(),
            memory_mib: 2048,
            cores: 2,
            disk: 16 << 30,
            mac: "52:54:00:12:34:2a".parse().unwrap(),
            address: Ipv4Addr::new(192, 168, 122, 42),
            vmbr120: Some(Ipv4Addr::new(10, 120, 0, 42)),
            openvpn: Some(OpenVpn {
                instance: "vpn-interco".parse().unwrap(),
                config: "/lab/secrets/vm42.ovpn".into(),
                inline: false,
                user_pass_file: None,
                shared: false,
            }),
            ssh_keys: vec![
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f \
                 admin@example.org"
                    .parse()
                    .unwrap(),
            ],
            root_password_file: Some("/lab/secrets/root.password".into()),
            ssh_password: false,
            timezone: Some("Europe/Paris".parse().unwrap()),
            ntp: Vec::new(),
            cluster: Some(ClusterJoin {
                peers: vec![Peer {
                    address: "10.120.0.1".parse().unwrap(),
                    fingerprints: vec![["AB"; 32].join(":").parse().unwrap()],
                }],
                with: JoinWith::PasswordFile("/lab/secrets/cluster.password".into()),
                links: [(0, Ipv4Addr::new(10, 120, 0, 42))].into(),
                shared: false,
                name: None,
                votes: None,
                stable_nodes: None,
                retry: Default::default(),
            }),
            storage: Vec::new(),
            ha: Default::default(),
        }],
        warnings: Vec::new(),
    }
}

/// The secrets of vm42.
pub(crate) fn secrets() -> Secrets {
    Secrets {
        root_password: Some(Secret::new(HASH)),
        openvpn: Some(OpenVpnInstance::new(Secret::new(OPENVPN))),
        credential: Some(Credential::Password(Secret::new("cluster-secret"))),
    }
}
