use super::*;
use crate::cluster::settle::tests::Cluster;
use std::cell::RefCell;

/// In the form of Proxmox's documentation of `/etc/pve/ha/groups.cfg`.
const GROUPS_CFG: &str = "group: prefer-b\n\tnodes a,b:2\n\tnofailback 1\n\ngroup: only-a\n\
    \tcomment the one with the disks\n\tnodes a\n\trestricted 1\n\n";
/// The same of `/etc/pve/ha/rules.cfg`.
const RULES_CFG: &str = "node-affinity: prefer-b\n\tnodes a,b:2\n\tresources ct:100,vm:101\n\
    \tstrict 0\n\nresource-affinity: apart\n\taffinity negative\n\tresources ct:100,vm:101\n";

fn words(kind: &Kind, text: &str, name: &str, node: &str) -> String {
    match plan(kind, text, name, node, None) {
        Plan::Change { words, .. } => words.join(" "),
        other => panic!("{other:?}"),
    }
}

fn left(kind: &Kind, text: &str, name: &str, hint: Option<&str>) -> String {
    match plan(kind, text, name, "vm42", hint) {
        Plan::Leave(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_whole_list_is_given_with_its_priorities() {
    let digest = sections::digest(GROUPS_CFG);
    assert_eq!(
        words(&GROUPS, GROUPS_CFG, "prefer-b", "vm42"),
        format!("groupset prefer-b --nodes a,b:2,vm42 --digest {digest}")
    );
    let digest = sections::digest(RULES_CFG);
    assert_eq!(
        words(&RULES, RULES_CFG, "prefer-b", "vm42"),
        format!("rules set node-affinity prefer-b --nodes a,b:2,vm42 --digest {digest}")
    );
}

#[test]
fn a_node_that_is_there_stays_with_its_priority() {
    for node in ["a", "b"] {
        assert_eq!(
            plan(&GROUPS, GROUPS_CFG, "prefer-b", node, None),
            Plan::Fits
        );
    }
    assert!(words(&GROUPS, GROUPS_CFG, "only-a", "b").contains(" a,b "));
    // The seed's priority is for a node that is not there yet.
    assert_eq!(plan(&RULES, RULES_CFG, "prefer-b", "b:7", None), Plan::Fits);
    assert_eq!(plan(&RULES, RULES_CFG, "prefer-b", "a:7", None), Plan::Fits);
}

#[test]
fn a_node_without_a_watchdog_is_told() {
    assert_eq!(no_watchdog(true, "active"), None);
    let words = "no working watchdog, without which the HA manager runs no guest here: ";
    assert_eq!(
        no_watchdog(false, "failed"),
        Some(format!("{words}/dev/watchdog is missing"))
    );
    assert_eq!(
        no_watchdog(true, "inactive"),
        Some(format!(
            "{words}watchdog-mux.service is inactive (journalctl -u watchdog-mux)"
        ))
    );
}

#[test]
fn a_priority_of_the_seed_is_given() {
    let own = entry("vm42", Some(7));
    let digest = sections::digest(RULES_CFG);
    assert_eq!(
        words(&RULES, RULES_CFG, "prefer-b", &own),
        format!("rules set node-affinity prefer-b --nodes a,b:2,vm42:7 --digest {digest}")
    );
    assert_eq!(entry("vm42", None), "vm42");
}

#[test]
fn a_missing_one_is_reported() {
    let hint = GROUPS.other.1;
    assert_eq!(
        left(&GROUPS, GROUPS_CFG, "gone", Some(hint)),
        "the cluster has no HA group gone"
    );
    assert_eq!(
        left(&GROUPS, "", "prefer-b", Some(hint)),
        "the cluster has no HA group prefer-b (it has rules, as Proxmox VE 9 does: name them in \
         `ha.rules`)"
    );
    assert_eq!(
        left(&RULES, "", "prefer-b", Some(RULES.other.1)),
        "the cluster has no HA rule prefer-b (it has groups, as Proxmox VE 8 does: name them in \
         `ha.groups`)"
    );
    assert_eq!(
        left(&RULES, RULES_CFG, "apart", None),
        "apart is left as it is: it is of type resource-affinity, which holds no nodes"
    );
}

/// As ha-manager does it for the group prefer-b.
fn groupset(text: &str, words: &[String]) -> Result<String, String> {
    if words[0] != "groupset" || sections::find(text, &words[1]).is_none() {
        return Err(format!("no such ha group '{}'", words[1]));
    }
    Ok(format!("group: prefer-b\n\tnodes {}\n", words[3]))
}

#[test]
fn two_nodes_are_both_appended() {
    for meeting in 0..3 {
        let text = RefCell::new(GROUPS_CFG.to_owned());
        let settle_for = |node, before: &dyn Fn(usize)| {
            let file = Cluster::new(&text, groupset, before);
            settle(&file, |text| plan(&GROUPS, text, "prefer-b", node, None)).unwrap()
        };
        let other = |moment| {
            if moment == meeting {
                settle_for("vm43", &|_| {});
            }
        };
        let settled = settle_for("vm42", &other);
        let what = "vm42 added to the HA group prefer-b";
        assert_eq!(settled.changed.as_deref(), Some(what));
        let section = sections::find(&text.borrow(), "prefer-b").unwrap();
        let mut nodes = sections::list(section.get("nodes").unwrap());
        nodes.sort_unstable();
        assert_eq!(nodes, ["a", "b:2", "vm42", "vm43"], "{meeting}");
    }
}

#[test]
fn a_group_that_goes_meanwhile_is_reported() {
    let text = RefCell::new(GROUPS_CFG.to_owned());
    let removed = |moment| {
        if moment == 1 {
            text.replace(String::new());
        }
    };
    // Without a digest, so that ha-manager itself finds it missing.
    let file = Cluster::new(&text, groupset, &removed);
    let plan = |text: &str| match plan(&GROUPS, text, "prefer-b", "vm42", None) {
        Plan::Change { mut words, what } => {
            words.truncate(4);
            Plan::Change { words, what }
        }
        other => other,
    };
    let settled = settle(&file, plan).unwrap();
    assert_eq!(settled.changed, None);
    assert_eq!(
        settled.left.as_deref(),
        Some("the cluster has no HA group prefer-b")
    );
}
