//! Which VMs of a lab join the same cluster.

use super::model::{ClusterJoin, Lab, Vm};
use std::collections::{BTreeMap, HashSet};

/// How many names a message shows.
const SHOWN: usize = 3;

/// One cluster, as far as a lab knows it.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// What the lab calls it.
    pub name: Option<&'a str>,
    /// The addresses of all peers, in the order of the file.
    pub peers: Vec<&'a str>,
    /// The names and addresses of its VMs, which may be peers of each other.
    own: HashSet<String>,
    /// How many members it has outside of the lab, where that was said: the fewest.
    pub stable_nodes: Option<u32>,
    /// Whether somebody said that others rely on it, and that this is meant.
    pub shared: bool,
    /// The lab's VMs in it, with their votes.
    pub vms: Vec<(&'a Vm, u64)>,
    /// The number of each of these VMs, in the order in which VMs find their cluster.
    order: Vec<usize>,
}

/// VMs are of one cluster when it has the same name for both, or when it has no name for one of
/// them and they share a peer, or one is the other's peer. `domain` is that of the lab.
pub fn clusters<'a>(domain: &str, vms: &[&'a Vm]) -> Vec<Cluster<'a>> {
    let joins = vms
        .iter()
        .filter_map(|vm| Some((*vm, vm.cluster.as_ref()?)));
    // Those with a name first: a VM without one finds its cluster among them.
    let (named, unnamed): (Vec<_>, Vec<_>) = joins.partition(|(_, join)| join.name.is_some());
    // Most VMs say the same: what they say is compared once, however many they are.
    let mut alike: BTreeMap<(Option<&str>, Vec<&str>), usize> = BTreeMap::new();
    let mut groups: Vec<Cluster<'a>> = Vec::new();
    for (order, (vm, join)) in named.into_iter().chain(unnamed).enumerate() {
        let own = Cluster::of(domain, vm, join, order);
        match alike.get(&(own.name, own.peers.clone())) {
            Some(group) => groups[*group].take(own),
            None => {
                alike.insert((own.name, own.peers.clone()), groups.len());
                groups.push(own);
            }
        }
    }
    let mut clusters: Vec<Cluster<'a>> = Vec::new();
    for mut own in groups {
        let mut others = Vec::new();
        for mut cluster in clusters {
            // A VM whose peers belong to two named clusters does not make them one.
            match cluster.is(&own) {
                true => {
                    cluster.take(own);
                    own = cluster;
                }
                false => others.push(cluster),
            }
        }
        others.push(own);
        clusters = others;
    }
    for cluster in &mut clusters {
        let mut vms: Vec<_> = cluster.order.iter().zip(&cluster.vms).collect();
        vms.sort_by_key(|(order, _)| **order);
        cluster.vms = vms.into_iter().map(|(_, vm)| *vm).collect();
    }
    clusters.sort_by_key(|cluster| cluster.order.iter().max().copied());
    clusters
}

impl<'a> Cluster<'a> {
    fn of(domain: &str, vm: &'a Vm, join: &'a ClusterJoin, order: usize) -> Self {
        Cluster {
            own: vm.names_and_addresses(domain).into_iter().collect(),
            name: join.name.as_deref(),
            peers: join.peers.iter().map(|p| p.address.as_str()).collect(),
            stable_nodes: join.stable_nodes,
            shared: join.shared,
            vms: vec![(vm, u64::from(join.votes.unwrap_or(1)))],
            order: vec![order],
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self.name, other.name) {
            (Some(one), Some(other)) => one == other,
            _ => {
                let among = |peers: &[&str], own: &HashSet<String>| {
                    peers.iter().any(|peer| own.contains(*peer))
                };
                self.peers.iter().any(|peer| other.peers.contains(peer))
                    || among(&self.peers, &other.own)
                    || among(&other.peers, &self.own)
            }
        }
    }

    fn take(&mut self, other: Self) {
        self.name = self.name.or(other.name);
        for peer in other.peers {
            if !self.peers.contains(&peer) {
                self.peers.push(peer);
            }
        }
        self.own.extend(other.own);
        let said = [self.stable_nodes, other.stable_nodes];
        self.stable_nodes = said.into_iter().flatten().min();
        self.shared |= other.shared;
        self.vms.extend(other.vms);
        self.order.extend(other.order);
    }

    /// How many members it has that are no VMs of the lab; without a word about it, those that
    /// are known: the peers.
    pub fn stable(&self, lab: &Lab) -> u64 {
        if let Some(nodes) = self.stable_nodes {
            return nodes.into();
        }
        self.peers.iter().filter(|peer| !lab.is_vm(peer)).count() as u64
    }

    /// What it is called in a message.
    pub fn label(&self) -> String {
        match self.name {
            Some(name) => format!("the cluster {name}"),
            None => format!("the cluster of {}", shown(&self.peers)),
        }
    }
}

/// The first few of many names.
pub fn shown(names: &[&str]) -> String {
    match names.len() {
        0..=SHOWN => names.join(", "),
        _ => format!("{} …", names[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lab::example::lab;

    /// (name, peers, number of VMs) of each cluster.
    fn seen(lab: &Lab) -> Vec<(Option<&str>, String, usize)> {
        clusters(&lab.domain, &lab.vms.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|c| (c.name, c.peers.join(" "), c.vms.len()))
            .collect()
    }

    #[test]
    fn a_shared_peer_or_name_is_one_cluster() {
        let lab1 = lab(&[
            ("vm2", &["a", "b"], ""),
            ("vm3", &["c"], ""),
            ("vm4", &["d"], ""),
            // Of both, so these are one.
            ("vm5", &["c", "b"], ""),
        ]);
        assert_eq!(
            seen(&lab1),
            [(None, "d".into(), 1), (None, "c a b".into(), 3)]
        );
        let lab2 = lab(&[
            ("vm2", &["a"], ""),
            ("vm3", &["a"], ", name: one"),
            ("vm4", &["b"], ", name: one"),
            ("vm5", &["a"], ", name: two"),
        ]);
        let names: Vec<_> = seen(&lab2).into_iter().map(|c| (c.0, c.2)).collect();
        assert_eq!(names, [(Some("two"), 1), (Some("one"), 3)]);
    }

    #[test]
    fn a_vm_that_is_the_peer_of_another_is_of_its_cluster() {
        let lab = lab(&[("vm2", &["vm3.example.org"], ""), ("vm3", &["pve1"], "")]);
        let all = "vm3.example.org pve1".to_owned();
        assert_eq!(seen(&lab), [(None, all, 2)]);
        let cluster = &clusters(&lab.domain, &lab.vms.iter().collect::<Vec<_>>())[0];
        assert_eq!(cluster.stable(&lab), 1);
    }

    #[test]
    fn a_peer_that_is_a_vm_of_the_lab_is_not_stable() {
        let vms = |stable: &'static str| {
            lab(&[("vm2", &["pve1", "vm3.example.org", "192.168.122.4"], stable)])
        };
        // vm3 and vm4 are not in this lab.
        assert_eq!(vms("").vms.len(), 1);
        let cluster = |lab: &Lab| clusters(&lab.domain, &[&lab.vms[0]])[0].stable(lab);
        assert_eq!(cluster(&vms("")), 3);
        let lab = lab(&[
            ("vm2", &["pve1", "vm3.example.org", "192.168.122.4"], ""),
            ("vm3", &["pve1"], ""),
            ("vm4", &["pve1"], ""),
        ]);
        assert_eq!(cluster(&lab), 1);
    }
}
