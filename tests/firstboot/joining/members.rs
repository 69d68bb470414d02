//! A member stays one, and disturbs nobody, whatever happened while it was off.

use super::lab::Lab;
use super::node::{Node, PASSWORD};
use super::rows::{detail, failed, wait_until_it_waits};
use std::fs;
use std::time::Instant;
use testkit::{ends, has};

/// Three servers, a member vm42 that was off while vm43 joined and stays on.
fn stale(lab: &Lab) -> (Vec<Node>, Node, Node) {
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    detail(&node);
    node.assert_member(&cluster[0]);
    node.cut();
    let other = lab.joiner("vm43", 43, &[&cluster[0]], "");
    detail(&other);
    (cluster, node, other)
}

/// How often the stand-in's corosync of a server says that a stale member disturbs it.
fn disturbances(node: &Node) -> usize {
    let log = node.read("/var/log/standin/corosync.log");
    log.matches("Token has not been received").count()
}

fn guard_says(node: &Node) -> String {
    node.read("/var/log/standin/firstboot-guard.log")
}

fn watch_says(node: &Node) -> String {
    node.read("/var/log/standin/firstboot-watch.log")
}

/// Its corosync never starts with the older configuration.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_member_that_was_off_while_others_joined_is_up_to_date_before_corosync_starts() {
    let lab = Lab::new();
    let (cluster, node, _other) = stale(&lab);
    node.switch("{\"stale\": \"stay\"}");
    let before = disturbances(&cluster[0]);
    node.boot();
    assert_eq!(node.verdict()["state"], "configured");
    node.assert_member(&cluster[0]);
    let said = guard_says(&node);
    has(&said, "version 5 was taken from");
    assert_eq!(watch_says(&node), "");
    assert_eq!(disturbances(&cluster[0]), before);
}

/// A network that comes up only when corosync runs already: it stays, alone, and disturbs all others
/// until the watcher has seen it.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_stale_corosync_that_stays_is_replaced_at_once() {
    let mut lab = Lab::new();
    lab.guarded = false;
    let (cluster, node, _other) = stale(&lab);
    node.switch("{\"stale\": \"stay\"}");
    let start = Instant::now();
    node.boot();
    node.assert_member(&cluster[0]);
    println!(
        "stale, and a member after {:.0} s",
        start.elapsed().as_secs_f64()
    );
    let said = watch_says(&node);
    has(
        &said,
        "ran without quorum, and disturbed the others, with version 4",
    );
    let after = disturbances(&cluster[0]);
    std::thread::sleep(std::time::Duration::from_secs(25));
    assert_eq!(disturbances(&cluster[0]), after, "it goes on");
}

/// The other end of the same: its corosync ends itself.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_stale_corosync_that_ends_itself_is_brought_back() {
    let mut lab = Lab::new();
    lab.guarded = false;
    let (cluster, node, _other) = stale(&lab);
    node.switch("{\"stale\": \"exit\"}");
    node.boot();
    assert_eq!(node.verdict()["state"], "configured");
    node.assert_member(&cluster[0]);
    let said = watch_says(&node);
    has(&said, "it runs again, with version 5 from");
}

/// With a new seed, which has another address and no password any more: neither is needed, and the
/// address stays.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_member_with_a_new_seed_comes_back_without_a_password() {
    let lab = Lab::new();
    let (cluster, node, _other) = stale(&lab);
    let seed = node.root.join("root/seed");
    let text = fs::read_to_string(seed.join("user-data")).unwrap();
    has(&text, "password: xxx");
    let elsewhere = format!("link0: {}", lab.address(142));
    let text = text.replace(&format!("link0: {}", node.address), &elsewhere);
    fs::write(seed.join("user-data"), text).unwrap();
    fs::write(seed.join("meta-data"), "instance-id: vm42-2\n").unwrap();
    node.local();
    node.boot();
    detail(&node);
    node.assert_member(&cluster[0]);
}

/// A deleted member's disk: it must not speak to the cluster again.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_member_that_was_removed_stays_off() {
    let lab = Lab::new();
    let (cluster, node, _other) = stale(&lab);
    cluster[0].must(&["pvecm", "delnode", "vm42"]);
    let before = disturbances(&cluster[0]);
    node.boot();
    node.wait("the guard", || {
        guard_says(&node).contains("corosync stays off")
    });
    let said = guard_says(&node);
    has(&said, "this node was removed from the cluster");
    std::thread::sleep(std::time::Duration::from_secs(15));
    assert_eq!(
        node.run_with(&["systemctl", "is-active", "corosync"], "")
            .said,
        "inactive\n"
    );
    assert_eq!(disturbances(&cluster[0]), before);
}

/// A join that was cut half-way, and others joined since: the guard keeps its corosync off until the
/// join has repaired it. Where it runs all the same, the join stops it at once.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_half_joined_machine_that_is_stale_disturbs_nobody() {
    let mut lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    // Switched off, they would take the servers their quorum.
    let mut on = Vec::new();
    for (number, guarded) in [(42, true), (44, false)] {
        lab.guarded = guarded;
        let name = format!("vm{number}");
        let node = lab.unbooted_joiner(&name, number, &[&cluster[0]], "");
        node.switch("{\"hang_at\": 9}");
        node.boot();
        node.wait("corosync.conf", || {
            node.exists("/etc/corosync/corosync.conf")
        });
        node.cut();
        let other = lab.joiner(&format!("vm{}", number + 1), number + 1, &[&cluster[0]], "");
        detail(&other);
        node.switch("{\"stale\": \"stay\"}");
        let before = disturbances(&cluster[0]);
        node.boot();
        assert!(detail(&node).contains("repaired"));
        node.assert_member(&cluster[0]);
        let said = node.read("/var/log/standin/firstboot-join.log");
        match guarded {
            true => {
                let said = guard_says(&node);
                has(&said, "corosync waits until the join has repaired it");
                assert_eq!(disturbances(&cluster[0]), before);
            }
            false => assert!(
                said.contains("stopped, so that it disturbs nobody"),
                "{said}"
            ),
        }
        on.extend([node, other]);
    }
}

/// A member that loses its quorum just as it adds a node loses the new entry, too (seen: three servers,
/// twenty nodes under power cuts). What the cluster does not list then was never a member.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_node_whose_entry_was_lost_joins_anew() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let node = lab.unbooted_joiner("vm42", 42, &[&cluster[0]], "");
    node.boot_to_point(12);
    cluster[0].delete(&node);
    node.boot();
    assert!(detail(&node).contains("an earlier join repaired"));
    node.assert_member(&cluster[0]);
}

/// A join that was cut while it waited for quorum: the node has all files but its certificate, and no
/// member knows its ssh key. Others have joined since, and what let it in is worth nothing any more:
/// nobody tells it that it is stale, so its corosync stays off.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_join_that_never_ended_disturbs_nobody() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let node = lab.unbooted_joiner("vm42", 42, &[&cluster[0]], "");
    node.boot_to_point(14);
    node.cut();
    let other = lab.joiner("vm43", 43, &[&cluster[0]], "");
    detail(&other);
    node.seed(&[&cluster[0]], "falsch", "");
    node.switch("{\"stale\": \"stay\"}");
    let before = disturbances(&cluster[0]);
    node.boot();
    let reason = failed(&node);
    has(&reason, "refused root's password");
    std::thread::sleep(std::time::Duration::from_secs(15));
    let active = node.run_with(&["systemctl", "is-active", "corosync"], "");
    assert_eq!(active.said, "inactive\n");
    assert_eq!(disturbances(&cluster[0]), before);
    // The right one goes on.
    node.seed(&[&cluster[0]], PASSWORD, "");
    let said = node.must(&["firstboot", "--seed-dir", "/root/seed", "retry"]);
    ends(&said, "done\n");
    node.assert_member(&cluster[0]);
    assert_eq!(disturbances(&cluster[0]), before);
}

/// A cut while the node's key is made leaves 0 bytes for ever.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn an_empty_key_is_removed_and_made_again() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    let node = lab.unbooted_joiner("vm42", 42, &[&cluster[0]], "");
    // Not before: the updatecerts of its first boot makes a key as well.
    node.boot_to_point(14);
    node.switch("{\"die_at\": \"empty-key\", \"go_on\": true}");
    println!("{}", detail(&node));
    node.assert_member(&cluster[0]);
    let said = node.read("/var/log/standin/firstboot-join.log");
    has(
        &said,
        "/etc/pve/nodes/vm42/pve-ssl.key is no key, and is removed",
    );
    has(&said, "(re)generate node files");
}

/// corosync has quorum, and pmxcfs takes no part in it.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_pmxcfs_that_hangs_is_restarted() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    detail(&node);
    node.switch("{\"pmxcfs_hang\": true}");
    node.wait("the hanging", || !node.sees(&node));
    node.assert_member(&cluster[0]);
    let said = watch_says(&node);
    has(&said, "pve-cluster was restarted");
}

/// The power went some seconds after the join: the key is whole, the configuration is empty, and the
/// database is gone, while firstboot's record says that it has joined.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_recorded_join_that_was_torn_is_not_believed() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    detail(&node);
    node.cut();
    let tear = || {
        fs::write(node.root.join("etc/corosync/corosync.conf"), "").unwrap();
        for entry in fs::read_dir(node.root.join("var/lib/pve-cluster")).unwrap() {
            let file = entry.unwrap().path();
            if file.is_file() {
                fs::remove_file(file).unwrap();
            }
        }
    };
    tear();
    node.boot();
    let reason = failed(&node);
    has(&reason, "the cluster's password is no longer in the seed");
    node.cut();
    tear();
    node.seed(&[&cluster[0]], PASSWORD, "");
    node.boot();
    assert!(detail(&node).contains("repaired"));
    node.assert_member(&cluster[0]);
    let said = node.read("/var/log/standin/firstboot-join.log");
    has(
        &said,
        "vm42 joined its cluster, but is no longer a complete member",
    );
}

/// A join is cut when the cluster has the entry: its vote is missing, the next joiner waits a while and
/// names it, and then the lab's members take that vote.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn the_vote_of_a_cut_join_is_taken() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let more = "    votes: 0\n    lab: [\"vm[41:45]\"]\n";
    let dead = lab.unbooted_joiner("vm41", 41, &[&cluster[0]], more);
    dead.switch("{\"hang_at\": 9}");
    dead.boot();
    dead.wait("corosync.conf", || {
        dead.exists("/etc/corosync/corosync.conf")
    });
    dead.cut();
    let votes = |name: &str| {
        let conf = cluster[0].read("/etc/pve/corosync.conf");
        let entry = conf
            .split("node {")
            .find(|block| block.contains(&format!("name: {name}\n")));
        entry.map(|block| block.contains("quorum_votes: 1\n"))
    };
    assert_eq!(votes("vm41"), Some(true));
    let next = lab.joiner("vm42", 42, &[&cluster[0]], more);
    wait_until_it_waits(&next, "the join of vm41 is under way, or was cut");
    detail(&next);
    next.assert_member(&cluster[0]);
    assert_eq!(votes("vm42"), Some(false));
    next.wait("the dead node's vote", || votes("vm41") == Some(false));
    next.wait("words", || {
        watch_says(&next).contains("the join of vm41 was cut: its vote was taken")
    });
    dead.boot();
    assert!(detail(&dead).contains("repaired"));
    dead.assert_member(&cluster[0]);
    assert_eq!(votes("vm41"), Some(false));
}
