//! What a lab does to its clusters: warnings, because each may be meant.

use crate::lab::{ClusterJoin, Lab, Vm};

/// Proxmox VE names no limit; clusters of 50 nodes are reported to work.
const MANY_NODES: u64 = 40;
/// How many names a warning shows.
const SHOWN: usize = 3;

/// One cluster, as far as a lab knows it.
struct Cluster<'a> {
    /// What the lab calls it.
    name: Option<&'a str>,
    /// The addresses of all peers, in the order of the file.
    peers: Vec<&'a str>,
    /// The names and addresses of its VMs, which may be peers of each other.
    own: Vec<String>,
    /// How many members it has outside of the lab, where that was said: the fewest.
    stable_nodes: Option<u32>,
    /// The lab's VMs in it, with their votes.
    vms: Vec<(&'a Vm, u64)>,
}

/// The warnings of all clusters that these VMs of the lab are to join.
pub(super) fn warnings(lab: &Lab, vms: &[&Vm]) -> Vec<String> {
    let clusters = clusters(lab, vms);
    let each = clusters.iter().flat_map(|cluster| {
        let stable = cluster.stable(lab);
        [
            cluster.too_many_votes(stable),
            cluster.too_many_nodes(stable),
        ]
    });
    each.flatten().collect()
}

/// VMs are of one cluster when it has the same name for both, or when it has no name for one of
/// them and they share a peer, or one is the other's peer.
fn clusters<'a>(lab: &Lab, vms: &[&'a Vm]) -> Vec<Cluster<'a>> {
    let joins = vms
        .iter()
        .filter_map(|vm| Some((*vm, vm.cluster.as_ref()?)));
    // Those with a name first: a VM without one finds its cluster among them.
    let (named, unnamed): (Vec<_>, Vec<_>) = joins.partition(|(_, join)| join.name.is_some());
    let mut clusters: Vec<Cluster<'a>> = Vec::new();
    for (vm, join) in named.into_iter().chain(unnamed) {
        let mut own = Cluster::of(lab, vm, join);
        let mut others = Vec::new();
        for cluster in clusters {
            // A VM whose peers belong to two named clusters does not make them one.
            match cluster.is(&own) {
                true => own = cluster.and(own),
                false => others.push(cluster),
            }
        }
        others.push(own);
        clusters = others;
    }
    clusters
}

impl<'a> Cluster<'a> {
    fn of(lab: &Lab, vm: &'a Vm, join: &'a ClusterJoin) -> Self {
        Cluster {
            own: vm.names_and_addresses(&lab.domain),
            name: join.name.as_deref(),
            peers: join.peers.iter().map(|p| p.address.as_str()).collect(),
            stable_nodes: join.stable_nodes,
            vms: vec![(vm, u64::from(join.votes.unwrap_or(1)))],
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self.name, other.name) {
            (Some(one), Some(other)) => one == other,
            _ => {
                let listed = |peer: &&str| other.own.iter().any(|own| own == peer);
                let lists = |peer: &&str| self.own.iter().any(|own| own == peer);
                self.peers
                    .iter()
                    .any(|p| other.peers.contains(p) || listed(p))
                    || other.peers.iter().any(lists)
            }
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.name = self.name.or(other.name);
        for peer in other.peers {
            if !self.peers.contains(&peer) {
                self.peers.push(peer);
            }
        }
        self.own.extend(other.own);
        let said = [self.stable_nodes, other.stable_nodes];
        self.stable_nodes = said.into_iter().flatten().min();
        self.vms.extend(other.vms);
        self
    }

    /// How many members it has that are no VMs of the lab; without a word about it, those that
    /// are known: the peers.
    fn stable(&self, lab: &Lab) -> u64 {
        if let Some(nodes) = self.stable_nodes {
            return nodes.into();
        }
        self.peers.iter().filter(|peer| !lab.is_vm(peer)).count() as u64
    }

    fn label(&self) -> String {
        match self.name {
            Some(name) => format!("the cluster {name}"),
            None => format!("the cluster of {}", shown(&self.peers)),
        }
    }

    fn too_many_votes(&self, stable: u64) -> Option<String> {
        let transient: u64 = self.vms.iter().map(|(_, votes)| votes).sum();
        if transient <= stable {
            return None;
        }
        let all = transient + stable;
        // corosync's majority is more than half of all votes.
        let spare = all - (all / 2 + 1);
        let voters: Vec<_> = self.vms.iter().filter(|(_, votes)| *votes > 0).collect();
        let names: Vec<&str> = voters.iter().map(|(vm, _)| vm.name.as_str()).collect();
        let when = match voters.iter().all(|(_, votes)| *votes == 1) {
            true => format!("when more than {spare} of them are off"),
            false => format!("when more than {spare} of their votes are off"),
        };
        let guess = match self.stable_nodes {
            Some(_) => "",
            None => "; or `stable_nodes`, if the cluster has more members than the peers",
        };
        Some(format!(
            "{}: of its {all} votes {transient} are those of this lab's VMs ({}), more than the \
             {stable} of its stable members: {when}, nobody can join or change anything\n  right: \
             `votes: 0` in `cluster`{guess}",
            self.label(),
            shown(&names),
        ))
    }

    fn too_many_nodes(&self, stable: u64) -> Option<String> {
        let vms = self.vms.len() as u64;
        let nodes = vms + stable;
        (nodes > MANY_NODES).then(|| {
            format!(
                "{}: it would have {nodes} nodes ({vms} from this lab). Proxmox VE names \
                 no hard limit, clusters of 50 are reported, with less than 5 ms from node to \
                 node\n  right: several clusters, each with VMs of its own (`cluster` per VM)",
                self.label(),
            )
        })
    }
}

/// The first few of many names.
fn shown(names: &[&str]) -> String {
    match names.len() {
        0..=SHOWN => names.join(", "),
        _ => format!("{} …", names[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:\
                               AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

    /// A lab whose VMs have these clusters: name of the VM, peers, more keys.
    fn lab(vms: &[(&str, &[&str], &str)]) -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("password");
        std::fs::write(&secret, "hunter2\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, mode).unwrap();
        let mut text = "domain: example.org\nvms:\n".to_owned();
        for (name, peers, more) in vms {
            let peers: Vec<String> = peers
                .iter()
                .map(|peer| format!("{{address: {peer}, fingerprint: \"{FINGERPRINT}\"}}"))
                .collect();
            let peers = peers.join(", ");
            text.push_str(&format!(
                "- name: {name}\n  cluster: {{peers: [{peers}], password_file: password{more}}}\n"
            ));
        }
        let file = folder.path().join("lab.yaml");
        std::fs::write(&file, text).unwrap();
        Lab::load(&file).unwrap()
    }

    fn found(lab: &Lab) -> Vec<String> {
        warnings(lab, &lab.vms.iter().collect::<Vec<_>>())
    }

    #[test]
    fn as_many_votes_as_the_stable_ones_are_no_reason() {
        let pve: &[&str] = &["pve1", "pve2"];
        let mut vms = vec![("vm2", pve, ""), ("vm3", pve, ", votes: 1")];
        assert_eq!(found(&lab(&vms)), [""; 0]);
        vms.push(("vm4", pve, ", votes: 0"));
        assert_eq!(found(&lab(&vms)), [""; 0]);
        vms.push(("vm5", pve, ""));
        assert_eq!(
            found(&lab(&vms)),
            [
                "the cluster of pve1, pve2: of its 5 votes 3 are those of this lab's VMs (vm2, vm3, \
                 vm5), more than the 2 of its stable members: when more than 2 of them are off, \
                 nobody can join or change anything\n  right: `votes: 0` in `cluster`; or \
                 `stable_nodes`, if the cluster has more members than the peers"
            ]
        );
        // What was said counts, and the peers no longer.
        vms[0].2 = ", stable_nodes: 3";
        assert_eq!(found(&lab(&vms)), [""; 0]);
    }

    #[test]
    fn votes_that_differ_are_counted_as_votes() {
        let lab = lab(&[
            ("vm2", &["pve1"], ", stable_nodes: 3, name: school"),
            ("vm3", &["pve1"], ", votes: 5, stable_nodes: 4"),
        ]);
        assert_eq!(
            found(&lab),
            [
                "the cluster school: of its 9 votes 6 are those of this lab's VMs (vm2, vm3), more \
                 than the 3 of its stable members: when more than 4 of their votes are off, nobody \
                 can join or change anything\n  right: `votes: 0` in `cluster`"
            ]
        );
    }

    /// (name, peers, number of VMs) of each cluster.
    fn seen(lab: &Lab) -> Vec<(Option<&str>, String, usize)> {
        clusters(lab, &lab.vms.iter().collect::<Vec<_>>())
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
        let cluster = &clusters(&lab, &lab.vms.iter().collect::<Vec<_>>())[0];
        assert_eq!(cluster.stable(&lab), 1);
    }

    #[test]
    fn a_peer_that_is_a_vm_of_the_lab_is_not_stable() {
        let vms = |stable: &'static str| {
            lab(&[("vm2", &["pve1", "vm3.example.org", "192.168.122.4"], stable)])
        };
        // vm3 and vm4 are not in this lab.
        assert_eq!(vms("").vms.len(), 1);
        let cluster = |lab: &Lab| clusters(lab, &[&lab.vms[0]])[0].stable(lab);
        assert_eq!(cluster(&vms("")), 3);
        let lab = lab(&[
            ("vm2", &["pve1", "vm3.example.org", "192.168.122.4"], ""),
            ("vm3", &["pve1"], ""),
            ("vm4", &["pve1"], ""),
        ]);
        assert_eq!(cluster(&lab), 1);
    }

    #[test]
    fn more_than_40_nodes() {
        let names: Vec<String> = (2..42).map(|n| format!("vm{n}")).collect();
        let peers: &[&str] = &["pve1"];
        let mut vms: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), peers, ", votes: 0"))
            .collect();
        assert_eq!(
            found(&lab(&vms)),
            [
                "the cluster of pve1: it would have 41 nodes (40 from this lab). Proxmox VE \
                 names no hard limit, clusters of 50 are reported, with less than 5 ms from node to \
                 node\n  right: several clusters, each with VMs of its own (`cluster` per VM)"
            ]
        );
        vms.pop();
        assert_eq!(found(&lab(&vms)), [""; 0]);
        vms[0].2 = ", votes: 0, stable_nodes: 2";
        assert_eq!(found(&lab(&vms)).len(), 1);
    }
}
