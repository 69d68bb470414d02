//! The contract with the builder: the three documents of a seed disk.
//!
//! The layout is cloud-init's NoCloud: a volume labelled `CIDATA` that holds
//! `meta-data`, `user-data` and `network-config`. Standard keys keep cloud-init's
//! spelling and meaning; `openvpn` and `proxmox` in the user-data are this project's own.

mod cloud_config;
mod cluster;
mod contract;
mod document;
mod meta_data;
pub mod names;
mod network;
pub(crate) mod overwriting;
mod path;
mod problem;
mod proxmox;
mod ticket;
mod user_data;
mod write;

pub use crate::contract::values::Secret;
pub use cluster::{Cluster, Credential, Peer, Retry, is_removed};
pub use contract::{CONTRACT, UNNUMBERED, needed};
pub use meta_data::MetaData;
pub use network::{Bridge, BridgeParameters, Ethernet, Match, Nameservers, NetworkConfig, Route};
pub use problem::{Problem, SeedError};
pub use proxmox::{Ha, HaRule, NfsStorage, Proxmox, STANDARD_CONTENT};
pub use ticket::{TICKET_LIFE, Ticket, TicketError};
pub use user_data::{Chpasswd, Ntp, OpenVpnInstance, PasswordKind, UserData, UserPassword};

use document::{Document, Notes};
use path::Path;
use std::net::IpAddr;

/// One parsed and validated seed disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Who this machine is.
    pub meta_data: MetaData,
    /// What it should become.
    pub user_data: UserData,
    /// How it reaches the network; absent on a seed that has no such document.
    pub network: Option<NetworkConfig>,
    /// What the documents say and firstboot does not do, such as `user-data: packages`:
    /// reported, never an error.
    pub ignored: Vec<String>,
}

/// Parses and validates the three documents. The error holds every problem of all of them.
pub fn parse(
    meta_data: &str,
    user_data: &str,
    network_config: Option<&str>,
) -> Result<Seed, SeedError> {
    let mut notes = Notes::default();
    let mut meta = meta_data::read(meta_data, &mut notes);
    if meta.contract.is_some_and(|needed| needed > CONTRACT) {
        // What else seems wrong may be what is not known here yet.
        let problems = notes.problems;
        return Err(SeedError { problems });
    }
    if meta.instance_id.is_empty() {
        let network = network_config.unwrap_or_default();
        // The removal of what lets it in, after the join, makes no new instance.
        let user_data = overwriting::without_credential(user_data);
        meta.instance_id = meta_data::derived_id([meta_data, &user_data, network]);
    }
    let user = cloud_config::read(user_data, &mut notes);
    let network = network_config.and_then(|text| network::read(text, &mut notes));
    // Not asked of documents that are wrong themselves: the name or address may be in there.
    let readable = notes.problems.is_empty();
    let seed = Seed {
        meta_data: meta,
        user_data: user,
        network,
        ignored: Vec::new(),
    };
    let joins = seed.cluster().is_some();
    if readable && joins && seed.hostname().is_empty() {
        if let Some(mut doc) = Document::new(cloud_config::NAME, user_data, &mut notes) {
            doc.wrong(
                &Path::root().key("hostname"),
                "is missing, and so are `fqdn` and meta-data's `local-hostname`; one of them \
                 must name a machine that joins a cluster",
            );
        }
    }
    if readable {
        check_peers(&seed, user_data, &mut notes);
        check_links(&seed, user_data, &mut notes);
    }
    if notes.problems.is_empty() {
        return Ok(Seed {
            ignored: notes.ignored,
            ..seed
        });
    }
    // In the order of the documents and, within one, of the text.
    let order = [meta_data::NAME, cloud_config::NAME, network::NAME];
    let mut problems = notes.problems;
    problems.sort_by_key(|p| (order.iter().position(|name| *name == p.document), p.place));
    Err(SeedError { problems })
}

/// A node that joins by asking itself waits for ever.
fn check_peers(seed: &Seed, user_data: &str, notes: &mut Notes) {
    let own = seed
        .network
        .iter()
        .flat_map(NetworkConfig::static_addresses);
    let own: Vec<IpAddr> = own.collect();
    let is_itself = |peer: &Peer| match peer.address.parse::<IpAddr>() {
        Ok(address) => own.contains(&address),
        Err(_) => [Some(seed.hostname()), seed.fqdn()].contains(&Some(&*peer.address)),
    };
    let peers = seed.cluster().map(|cluster| &cluster.peers[..]);
    for (number, peer) in peers.unwrap_or_default().iter().enumerate() {
        if is_itself(peer) {
            let Some(mut doc) = Document::new(cloud_config::NAME, user_data, notes) else {
                return;
            };
            let peers = Path::root().key("proxmox").key("cluster").key("peers");
            let path = peers.index(number).key("address");
            doc.wrong(
                &path,
                "is this machine itself; it must be a member of the cluster",
            );
        }
    }
}

/// `pvecm add` refuses a link address that is on no local interface; better to say so here.
fn check_links(seed: &Seed, user_data: &str, notes: &mut Notes) {
    let (Some(network), Some(cluster)) = (&seed.network, seed.cluster()) else {
        return;
    };
    for (number, address) in cluster.all_links() {
        if network.static_addresses().any(|a| a == address) {
            continue;
        }
        let Some(mut doc) = Document::new(cloud_config::NAME, user_data, notes) else {
            return;
        };
        let path = Path::root().key("proxmox").key("cluster");
        let listed = path.key("links").key(&number.to_string());
        let path = match doc.has(&listed) {
            true => listed,
            false => path.key("link0"),
        };
        doc.wrong(
            &path,
            "must be one of the static addresses in network-config",
        );
    }
}

impl Seed {
    /// The cluster that this machine is to join, if there is one.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.user_data.proxmox.as_ref()?.cluster.as_ref()
    }

    /// The short host name: user-data's `hostname`, else the first label of its `fqdn`, else
    /// the first label of meta-data's `local-hostname`. Empty when none of them is there: the
    /// machine then keeps the name that it has.
    pub fn hostname(&self) -> &str {
        let name = [
            &self.user_data.hostname,
            &self.user_data.fqdn,
            &self.meta_data.local_hostname,
        ]
        .into_iter()
        .find_map(|name| name.as_deref())
        .unwrap_or_default();
        name.split('.').next().unwrap_or_default()
    }

    /// The fully qualified name: the first with a dot of user-data's `fqdn`, its `hostname`
    /// and meta-data's `local-hostname` (where that is a name of the same machine).
    pub fn fqdn(&self) -> Option<&str> {
        let hostname = self.hostname();
        let local = self.meta_data.local_hostname.as_deref();
        let local = local.filter(|name| name.split('.').next() == Some(hostname));
        let (fqdn, own) = (&self.user_data.fqdn, &self.user_data.hostname);
        [fqdn.as_deref(), own.as_deref(), local]
            .into_iter()
            .flatten()
            .find(|name| name.contains('.'))
    }
}
