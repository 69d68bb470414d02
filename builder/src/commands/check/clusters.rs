//! What a lab does to its clusters: warnings, because each may be meant.

use crate::config::lab::{Cluster, Lab, Vm, clusters, shown};

/// Proxmox VE names no limit; clusters of 50 nodes are reported to work.
const MANY_NODES: u64 = 40;

/// The warnings of all clusters that these VMs of the lab are to join.
pub(super) fn warnings(lab: &Lab, vms: &[&Vm]) -> Vec<String> {
    let clusters = clusters(&lab.domain, vms);
    let each = clusters.iter().flat_map(|cluster| {
        let stable = cluster.stable(lab);
        [
            too_many_votes(cluster, stable),
            too_many_nodes(cluster, stable),
        ]
    });
    others_rely_on(&clusters)
        .into_iter()
        .chain(each.flatten())
        .collect()
}

/// A cluster that has members outside of the lab serves others too, and whoever has root on one
/// of its members has it on all. Said once, however many there are.
fn others_rely_on(clusters: &[Cluster<'_>]) -> Option<String> {
    let outside = |cluster: &&Cluster<'_>| {
        !cluster.shared && cluster.stable_nodes.is_some_and(|nodes| nodes > 0)
    };
    let labels: Vec<String> = clusters
        .iter()
        .filter(outside)
        .map(Cluster::label)
        .collect();
    let (has, it) = match labels.len() {
        0 => return None,
        1 => ("has", "it"),
        _ => ("have", "them"),
    };
    Some(format!(
        "{} {has} members outside of this lab: whoever gets root on a PC of this lab has root on \
         all of {it} (docs/trust.md)\n  right: a cluster of its own for the lab; or `trust: shared` \
         in `cluster`, where this is meant, or where those members serve this lab alone",
        labels.join(" and "),
    ))
}

fn too_many_votes(cluster: &Cluster<'_>, stable: u64) -> Option<String> {
    let transient: u64 = cluster.vms.iter().map(|(_, votes)| votes).sum();
    if transient <= stable {
        return None;
    }
    let all = transient + stable;
    // corosync's majority is more than half of all votes.
    let spare = all - (all / 2 + 1);
    let voters: Vec<_> = cluster.vms.iter().filter(|(_, votes)| *votes > 0).collect();
    let names: Vec<&str> = voters.iter().map(|(vm, _)| vm.name.as_str()).collect();
    let when = match voters.iter().all(|(_, votes)| *votes == 1) {
        true => format!("when more than {spare} of them are off"),
        false => format!("when more than {spare} of their votes are off"),
    };
    let guess = match cluster.stable_nodes {
        Some(_) => "",
        None => "; or `stable_nodes`, if the cluster has more members than the peers",
    };
    Some(format!(
        "{}: of its {all} votes {transient} are those of this lab's VMs ({}), more than the \
         {stable} of its stable members: {when}, nobody can join or change anything\n  right: \
         `votes: 0` in `cluster`{guess}",
        cluster.label(),
        shown(&names),
    ))
}

fn too_many_nodes(cluster: &Cluster<'_>, stable: u64) -> Option<String> {
    let vms = cluster.vms.len() as u64;
    let nodes = vms + stable;
    (nodes > MANY_NODES).then(|| {
        format!(
            "{}: it would have {nodes} nodes ({vms} from this lab). Proxmox VE names \
             no hard limit, clusters of 50 are reported, with less than 5 ms from node to \
             node\n  right: several clusters, each with VMs of its own (`cluster` per VM)",
            cluster.label(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lab::example::lab;

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
        vms[0].2 = ", stable_nodes: 3, trust: shared";
        assert_eq!(found(&lab(&vms)), [""; 0]);
    }

    #[test]
    fn a_cluster_that_others_rely_on_is_told_once() {
        let none = ", votes: 0, stable_nodes: 0";
        let some = ", votes: 0, stable_nodes: 3";
        let shared = ", votes: 0, stable_nodes: 3, trust: shared";
        let of = |more: [&'static str; 3]| {
            found(&lab(&[
                ("vm2", &["pve1"], more[0]),
                ("vm3", &["pve1"], more[1]),
                ("vm4", &["pve9"], more[2]),
            ]))
        };
        assert_eq!(of([none, none, none]), [""; 0]);
        assert_eq!(of([shared, some, shared]), [""; 0]);
        let words = |who: &str, it: &str| {
            format!(
                "{who} members outside of this lab: whoever gets root on a PC of this lab has \
                 root on all of {it} (docs/trust.md)\n  right: a cluster of its own for the lab; \
                 or `trust: shared` in `cluster`, where this is meant, or where those members serve this lab \
                 alone"
            )
        };
        assert_eq!(
            of([some, some, none]),
            [words("the cluster of pve1 has", "it")]
        );
        let both = "the cluster of pve1 and the cluster of pve9 have";
        assert_eq!(of([some, some, some]), [words(both, "them")]);
    }

    #[test]
    fn votes_that_differ_are_counted_as_votes() {
        let lab = lab(&[
            (
                "vm2",
                &["pve1"],
                ", stable_nodes: 3, name: school, trust: shared",
            ),
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
        vms[0].2 = ", votes: 0, stable_nodes: 2, trust: shared";
        assert_eq!(found(&lab(&vms)).len(), 1);
    }
}
