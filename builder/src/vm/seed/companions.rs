//! What a VM has to know of the lab's other VMs that join the same cluster.

use crate::config::lab::{Lab, Vm, clusters};
use firstboot::contract::seed::{Retry, names};
use std::collections::BTreeMap;

/// Of each VM that joins a cluster, by its name. It is made once for all the seeds of a lab.
#[derive(Debug)]
pub(crate) struct Companions<'a>(BTreeMap<&'a str, Companion>);

/// What one VM's seed says of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Companion {
    /// Over how many seconds the first joins are spread.
    pub spread: u64,
    /// For a VM that has no vote: those that have none either, in few words. A vote that one of
    /// them has is that of a join that is under way, or was cut.
    pub without_votes: Vec<String>,
}

impl<'a> Companions<'a> {
    /// Looks at all VMs of the lab, those that are not seeded now too.
    pub(crate) fn of(lab: &'a Lab) -> Self {
        let vms: Vec<&Vm> = lab.vms.iter().collect();
        let mut all = BTreeMap::new();
        for cluster in clusters(&lab.domain, &vms) {
            let has_none = |vm: &Vm| vm.cluster.as_ref().and_then(|join| join.votes) == Some(0);
            let without = cluster.vms.iter().filter(|(vm, _)| has_none(vm));
            let without: Vec<String> = without.map(|(vm, _)| vm.name.to_string()).collect();
            let without = names::in_few_words(&without);
            for (vm, _) in &cluster.vms {
                let companion = Companion {
                    spread: spread(cluster.vms.len()),
                    without_votes: match has_none(vm) {
                        true => without.clone(),
                        false => Vec::new(),
                    },
                };
                all.insert(vm.name.as_str(), companion);
            }
        }
        Companions(all)
    }

    /// What a VM's seed says; that of a VM that joins alone where nothing is known of it.
    pub(super) fn of_vm(&self, vm: &Vm) -> Companion {
        let alone = || Companion {
            spread: spread(1),
            ..Companion::default()
        };
        self.0.get(vm.name.as_str()).cloned().unwrap_or_else(alone)
    }
}

/// Over how many seconds the first joins of a lab are spread: a join takes some ten seconds, and
/// of those that begin together all but one have to be repaired. In steps, so that one VM more
/// in the lab does not make a new seed of each.
fn spread(vms: usize) -> u64 {
    match vms {
        0..=1 => Retry::default().spread,
        2..=10 => 20,
        11..=40 => 60,
        _ => 120,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lab::example::lab;

    #[test]
    fn a_larger_lab_joins_more_slowly() {
        for (count, expected) in [(1, 5), (2, 20), (10, 20), (11, 60), (40, 60), (41, 120)] {
            let names: Vec<String> = (0..count).map(|n| format!("vm{}", n + 2)).collect();
            let vms = names.iter().map(|name| (name.as_str(), &["pve1"][..], ""));
            let lab = lab(&vms.collect::<Vec<_>>());
            let found = Companions::of(&lab).of_vm(&lab.vms[0]);
            assert_eq!(found.spread, expected, "{count}");
            assert_eq!(found.without_votes, [""; 0]);
        }
    }

    /// The rule is that of the checks and of the tickets: a name tells clusters apart, and a VM may
    /// be another one's peer.
    #[test]
    fn the_same_cluster_is_what_it_is_everywhere() {
        let none = |name: &'static str| match name {
            "one" => ", votes: 0, name: one",
            "two" => ", votes: 0, name: two",
            _ => ", votes: 0",
        };
        let lab = lab(&[
            ("vm2", &["pve1"], none("one")),
            ("vm4", &["pve2"], none("one")),
            // One peer with these, and another name.
            ("vm6", &["pve1"], none("two")),
            // They share no peer.
            ("vm8", &["vm10.example.org"], none("")),
            ("vm10", &["pve5"], none("")),
            ("vm12", &["pve5"], ""),
        ]);
        let companions = Companions::of(&lab);
        let of = |vm: usize| {
            let companion = companions.of_vm(&lab.vms[vm]);
            (companion.spread, companion.without_votes.join(" "))
        };
        assert_eq!(of(0), (20, "vm2 vm4".to_owned()));
        assert_eq!(of(1), of(0));
        assert_eq!(of(2), (5, "vm6".to_owned()));
        assert_eq!(of(3), (20, "vm8 vm10".to_owned()));
        assert_eq!(of(4), of(3));
        assert_eq!(of(5), (20, String::new()));
    }
}
