//! The three documents of a VM's seed disk, made from the lab.

use super::companions::{Companion, Companions};
use crate::config::lab::{BRIDGE_PORT, JoinWith, Lab, Vm};
use anyhow::{Context, Result};
use firstboot::contract::digest;
use firstboot::contract::seed::{
    Bridge, BridgeParameters, Chpasswd, Cluster, Credential, Ethernet, Ha, Match, MetaData,
    Nameservers, NetworkConfig, Ntp, OpenVpnInstance, PasswordKind, Proxmox, Retry, Route, Secret,
    UserData, UserPassword, needed,
};
use firstboot::contract::values::{Cidr, RouteTarget};
use std::net::IpAddr;

/// The NIC's name in the guest: the base boots with `net.ifnames=0`.
const NIC: &str = "eth0";
/// The bridge of the VLAN.
const BRIDGE: &str = "vmbr120";

/// The secrets of one VM, already read from their files.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// Root's password as crypt(3) hashes it.
    pub root_password: Option<Secret>,
    /// The OpenVPN instance: its configuration, and user and password where it needs them.
    pub openvpn: Option<OpenVpnInstance>,
    /// What lets it into its cluster.
    pub credential: Option<Credential>,
}

/// The documents as they go onto the disk. The user-data holds the secrets in clear text,
/// so there is no `Debug`.
pub(crate) struct Documents {
    /// `NAME-` and 16 hex digits of a digest over everything else on the disk but the cluster's
    /// password or ticket.
    pub instance_id: String,
    /// `meta-data`
    pub meta_data: String,
    /// `user-data`
    pub user_data: String,
    /// `network-config`
    pub network_config: String,
}

impl Documents {
    /// Makes the documents of a VM. The same lab and secrets give the same bytes.
    pub(crate) fn new(
        lab: &Lab,
        vm: &Vm,
        secrets: &Secrets,
        companions: &Companions<'_>,
    ) -> Result<Self> {
        let user_data = user_data(lab, vm, secrets, companions.of_vm(vm))?;
        Self::of(lab, vm, &user_data)
    }

    /// The documents of a machine that must never speak to its cluster again. They hold no secret:
    /// what keeps an administrator able to look at it is its name, its network and the ssh keys.
    pub(crate) fn retired(lab: &Lab, vm: &Vm) -> Result<Self> {
        let alone = Vm {
            openvpn: None,
            cluster: None,
            storage: Vec::new(),
            ha: Ha::default(),
            ..vm.clone()
        };
        let mut user_data = user_data(lab, &alone, &Secrets::default(), Companion::default())?;
        user_data.proxmox = Some(Proxmox {
            retired: true,
            ..Proxmox::default()
        });
        Self::of(lab, vm, &user_data)
    }

    /// The contract that a VM's seed will need, whatever its secrets are.
    pub(crate) fn contract(lab: &Lab, vm: &Vm, companions: &Companions<'_>) -> Result<u32> {
        let given = Secret::new("x");
        let secrets = Secrets {
            root_password: None,
            openvpn: vm.openvpn.as_ref().map(|openvpn| OpenVpnInstance {
                config: given.clone(),
                user_pass: openvpn.user_pass_file.is_some().then(|| given.clone()),
                shared: openvpn.shared,
            }),
            credential: vm.cluster.as_ref().map(|join| match join.with {
                JoinWith::PasswordFile(_) => Credential::Password(given.clone()),
                JoinWith::Ticket => Credential::Ticket(given.clone()),
            }),
        };
        let user_data = user_data(lab, vm, &secrets, companions.of_vm(vm))?;
        needed(&user_data, &network_config(lab, vm)?).context("cannot number the seed")
    }

    fn of(lab: &Lab, vm: &Vm, user_data: &UserData) -> Result<Self> {
        let document = |data: &UserData| data.to_document().context("cannot write the user-data");
        // The instance-id stays on the disk after the guest has removed the password, and a
        // digest of a weak password tells it.
        let mut told = user_data.clone();
        if let Some(cluster) = told.proxmox.as_mut().and_then(|p| p.cluster.as_mut()) {
            // Of one kind, too: a machine whose ticket has expired goes on with a password.
            cluster.credential = Credential::Password(Secret::new("x"));
            // One VM more in the lab does not make another instance of each.
            cluster.lab = Vec::new();
        }
        let told = document(&told)?;
        let network = network_config(lab, vm)?;
        let contract = needed(user_data, &network).context("cannot number the seed")?;
        let user_data = document(user_data)?;
        let network_config = network
            .to_document()
            .context("cannot write the network-config")?;
        let instance_id = instance_id(&vm.name, &[&told, &network_config]);
        let meta_data = MetaData {
            instance_id: instance_id.clone(),
            local_hostname: Some(vm.name.clone()),
            contract: Some(contract),
        }
        .to_document()
        .context("cannot write the meta-data")?;
        Ok(Documents {
            instance_id,
            meta_data,
            user_data,
            network_config,
        })
    }

    /// File name and content, in the order in which they are written.
    pub(crate) fn files(&self) -> [(&'static str, &str); 3] {
        [
            ("meta-data", &self.meta_data),
            ("user-data", &self.user_data),
            ("network-config", &self.network_config),
        ]
    }
}

fn user_data(lab: &Lab, vm: &Vm, secrets: &Secrets, companion: Companion) -> Result<UserData> {
    let chpasswd = secrets.root_password.as_ref().map(|hash| Chpasswd {
        expire: Some(false),
        users: vec![UserPassword {
            name: "root".into(),
            password: hash.clone(),
            kind: PasswordKind::Hash,
        }],
    });
    let mut openvpn = std::collections::BTreeMap::new();
    if let (Some(instance), Some(config)) = (&vm.openvpn, &secrets.openvpn) {
        openvpn.insert(instance.instance.clone(), config.clone());
    }
    let cluster = match (&vm.cluster, &secrets.credential) {
        (Some(join), Some(credential)) => Some(Cluster {
            peers: join.peers.clone(),
            credential: credential.clone(),
            link0: join.links.get(&0).copied().map(IpAddr::V4),
            links: join
                .links
                .iter()
                .filter(|(number, _)| **number > 0)
                .map(|(number, address)| (*number, IpAddr::V4(*address)))
                .collect(),
            votes: join.votes,
            lab: companion.without_votes,
            retry: Retry {
                spread: companion.spread,
                ..join.retry
            },
        }),
        _ => None,
    };
    Ok(UserData {
        hostname: Some(vm.name.clone()),
        fqdn: Some(vm.fqdn(&lab.domain).parse()?),
        timezone: vm.timezone.clone(),
        // The keys below are root's, and cloud-init's default would forbid root to use them.
        disable_root: Some(false),
        ssh_authorized_keys: vm.ssh_keys.clone(),
        chpasswd,
        ssh_pwauth: vm.ssh_password.then_some(true),
        ntp: (!vm.ntp.is_empty()).then(|| Ntp {
            enabled: true,
            servers: vm.ntp.clone(),
            pools: Vec::new(),
        }),
        openvpn,
        proxmox: Some(Proxmox {
            cluster,
            storage: vm.storage.clone(),
            ha: vm.ha.clone(),
            retired: false,
        })
        // A key that says nothing would only be one more for an older base to know.
        .filter(|proxmox| *proxmox != Proxmox::default()),
    })
}

fn network_config(lab: &Lab, vm: &Vm) -> Result<NetworkConfig> {
    let nic = Ethernet {
        match_: Some(Match {
            macaddress: Some(vm.mac.clone()),
        }),
        dhcp4: Some(false),
        addresses: vec![Cidr::new(vm.address.into(), lab.network.range.prefix())?],
        gateway4: None,
        routes: vec![Route {
            to: RouteTarget::default(),
            via: IpAddr::V4(lab.network.gateway),
        }],
        nameservers: Some(Nameservers {
            addresses: lab.network.dns.iter().copied().map(IpAddr::V4).collect(),
            search: vec![lab.domain.parse()?],
        }),
    };
    let mut config = NetworkConfig {
        version: 2,
        ethernets: [(NIC.to_owned(), nic)].into(),
        bridges: Default::default(),
    };
    if let Some(address) = vm.vmbr120 {
        let network = lab
            .vmbr120
            .context("it has a vmbr120 address, but the lab has no vmbr120 network")?;
        let bridge = Bridge {
            interfaces: vec![BRIDGE_PORT.into()],
            addresses: vec![Cidr::new(address.into(), network.prefix())?],
            parameters: Some(BridgeParameters {
                stp: Some(false),
                forward_delay: Some(0),
            }),
            ..Bridge::default()
        };
        config.bridges.insert(BRIDGE.into(), bridge);
        // cloud-init gives a bridge no port that it has not heard of.
        let port = Ethernet::default();
        config.ethernets.insert(BRIDGE_PORT.into(), port);
    }
    Ok(config)
}

/// Unique per machine and per change of a document.
fn instance_id(name: &str, documents: &[&str]) -> String {
    let texts = std::iter::once(name).chain(documents.iter().copied());
    format!("{name}-{}", digest::short(texts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lab::{ClusterJoin, OpenVpn};
    use crate::vm::example;
    use firstboot::contract::seed::{NfsStorage, Seed};

    fn made(lab: &Lab, vm: &Vm, secrets: &Secrets) -> Result<Documents> {
        Documents::new(lab, vm, secrets, &Companions::of(lab))
    }

    /// As the guest reads it.
    fn read(made: &Documents) -> Seed {
        let network = Some(made.network_config.as_str());
        firstboot::contract::seed::parse(&made.meta_data, &made.user_data, network).unwrap()
    }

    #[test]
    fn instance_id_follows_the_content() {
        let lab = example::lab();
        let vm = &lab.vms[0];
        let id = |vm: &Vm, secrets: &Secrets| made(&lab, vm, secrets).unwrap().instance_id;
        let first = id(vm, &example::secrets());
        assert_eq!(first, id(vm, &example::secrets()));
        assert_eq!(first.len(), "vm42-".len() + 16);
        let mut secrets = example::secrets();
        secrets.root_password = Some(Secret::new(example::HASH.replace('a', "b")));
        assert_ne!(first, id(vm, &secrets));
        // What stays on the disk must not tell what is removed from it.
        let mut secrets = example::secrets();
        secrets.credential = Some(Credential::Password(Secret::new("another")));
        assert_eq!(first, id(vm, &secrets));
        // Nor is it another machine whose ticket has expired.
        secrets.credential = Some(Credential::Ticket(Secret::new("PVE:root@pam:1::A")));
        assert_eq!(first, id(vm, &secrets));
        let mut other = vm.clone();
        other.address = "192.168.122.43".parse().unwrap();
        assert_ne!(first, id(&other, &example::secrets()));
    }

    #[test]
    fn the_guest_reads_what_the_lab_says() {
        let lab = example::lab();
        let vm = &lab.vms[0];
        let made = made(&lab, vm, &example::secrets()).unwrap();
        let seed = read(&made);
        assert_eq!(seed.meta_data.instance_id, made.instance_id);
        assert_eq!(seed.user_data.fqdn.as_deref(), Some("vm42.example.org"));
        let root = &seed.user_data.chpasswd.unwrap().users[0];
        assert_eq!(root.kind, PasswordKind::Hash);
        assert!(root.password.reveal().starts_with("$6$"));
        assert_eq!(
            seed.user_data.openvpn["vpn-interco"].config.reveal(),
            example::OPENVPN
        );
        let cluster = seed.user_data.proxmox.unwrap().cluster.unwrap();
        assert_eq!(cluster.link0, Some("10.120.0.42".parse().unwrap()));
        assert_eq!(cluster.credential.secret().reveal(), "cluster-secret");
        // Nothing that a base of before would not know.
        for key in ["ssh_pwauth", "votes", "retry", "storage", "ha:", "retired"] {
            assert!(!made.user_data.contains(key), "{key}");
        }
        let network = seed.network.unwrap();
        assert_eq!(
            network.ethernets["eth0"].addresses,
            ["192.168.122.42/24".parse().unwrap()]
        );
        assert_eq!(network.bridges["vmbr120"].interfaces, ["tap120"]);
        assert_eq!(
            network.bridges["vmbr120"].addresses,
            ["10.120.0.42/24".parse().unwrap()]
        );
    }

    #[test]
    fn a_machine_without_vlan_and_cluster() {
        let mut lab = example::lab();
        lab.vmbr120 = None;
        let vm = Vm {
            vmbr120: None,
            openvpn: None,
            cluster: None,
            root_password_file: None,
            ..lab.vms[0].clone()
        };
        let made = made(&lab, &vm, &Secrets::default()).unwrap();
        assert!(!made.network_config.contains("vmbr120"));
        assert!(!made.user_data.contains("proxmox"));
        assert!(!made.user_data.contains("chpasswd"));
    }

    #[test]
    fn a_retired_machine_keeps_its_network_and_no_secret() {
        let lab = example::lab();
        let vm = &lab.vms[0];
        let before = made(&lab, vm, &example::secrets()).unwrap();
        let made = Documents::retired(&lab, vm).unwrap();
        assert_ne!(made.instance_id, before.instance_id);
        assert_eq!(made.network_config, before.network_config);
        let seed = read(&made);
        let retired = Proxmox {
            retired: true,
            ..Proxmox::default()
        };
        assert_eq!(seed.user_data.proxmox, Some(retired));
        assert_eq!(seed.user_data.ssh_authorized_keys, vm.ssh_keys);
        assert_eq!(seed.user_data.chpasswd, None);
        assert!(seed.user_data.openvpn.is_empty());
    }

    /// What is asked before there are secrets is what the seed will say.
    #[test]
    fn the_contract_is_known_beforehand() {
        let lab = example::lab();
        let full = &lab.vms[0];
        let plain = Vm {
            vmbr120: None,
            ..full.clone()
        };
        let ticket = Vm {
            cluster: full.cluster.clone().map(|join| ClusterJoin {
                with: JoinWith::Ticket,
                ..join
            }),
            ..plain.clone()
        };
        let login = Vm {
            openvpn: full.openvpn.clone().map(|openvpn| OpenVpn {
                shared: true,
                ..openvpn
            }),
            ..plain.clone()
        };
        for (vm, expected) in [(full, 2), (&plain, 1), (&ticket, 2), (&login, 2)] {
            let companions = Companions::of(&lab);
            let contract = Documents::contract(&lab, vm, &companions).unwrap();
            assert_eq!(contract, expected, "{vm:?}");
            let mut secrets = example::secrets();
            if vm == &ticket {
                secrets.credential = Some(Credential::Ticket(Secret::new("PVE:root@pam:1::A")));
            }
            if let Some(openvpn) = &mut secrets.openvpn {
                openvpn.shared = vm == &login;
            }
            let made = made(&lab, vm, &secrets).unwrap();
            let line = format!("contract: {expected}\n");
            assert!(made.meta_data.ends_with(&line), "{}", made.meta_data);
        }
    }

    #[test]
    fn storage_without_a_cluster() {
        let lab = example::lab();
        let vm = Vm {
            cluster: None,
            storage: vec![NfsStorage {
                id: "lab".parse().unwrap(),
                server: "10.120.0.5".parse().unwrap(),
                export: "/srv/lab".parse().unwrap(),
                content: Some(vec!["rootdir".parse().unwrap()]),
                options: None,
            }],
            ..lab.vms[0].clone()
        };
        let made = made(&lab, &vm, &Secrets::default()).unwrap();
        let seed = read(&made);
        let expected = Proxmox {
            storage: vm.storage.clone(),
            ..Proxmox::default()
        };
        assert_eq!(seed.user_data.proxmox, Some(expected));
    }

    #[test]
    fn vmbr120_needs_the_labs_network() {
        let mut lab = example::lab();
        lab.vmbr120 = None;
        let Err(error) = made(&lab, &lab.vms[0], &example::secrets()) else {
            panic!("a vmbr120 address without a network was taken");
        };
        assert_eq!(
            error.to_string(),
            "it has a vmbr120 address, but the lab has no vmbr120 network"
        );
    }
}
