//! The rows of the table "joins that go wrong", and the refusals.

use super::lab::Lab;
use super::node::{Node, PASSWORD};
use std::fs;
use testkit::begins;

/// What a node that failed for good says.
pub(super) fn failed(node: &Node) -> String {
    let state = node.verdict();
    assert_eq!(state["state"], "failed", "{state:#}");
    state["reason"].as_str().unwrap().to_owned()
}

/// Waits until the node is in a pause, for a reason with these words.
pub(super) fn wait_until_it_waits(node: &Node, words: &str) {
    node.wait(&format!("a pause because of: {words}"), || {
        let reason = &node.status()["waiting"]["reason"];
        reason.as_str().is_some_and(|reason| reason.contains(words))
    });
}

/// What the join of a configured node says that it did.
pub(super) fn detail(node: &Node) -> String {
    let state = node.verdict();
    assert_eq!(state["state"], "configured", "{state:#}");
    let steps = state["steps"].as_array().unwrap();
    let join = steps.iter().find(|step| step["step"] == "join").unwrap();
    join["detail"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_plain_join_and_a_second_boot() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    assert_eq!(
        detail(&node),
        format!("member of labcluster, through {}", cluster[0].address)
    );
    node.assert_member(&cluster[0]);
    let nothing = "vm42 is configured: nothing is left to do\n";
    let retry = ["firstboot", "--seed-dir", "/root/seed", "retry"];
    assert_eq!(node.must(&retry), nothing);
    node.cut();
    node.boot();
    assert_eq!(node.verdict()["state"], "configured");
    node.assert_member(&cluster[0]);
}

/// The key that a join fails without at its end: made by its unit meanwhile, or by the join where no unit
/// has made it.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_join_has_the_rsa_key_that_is_made_beside_it() {
    const DUE: &str = "/var/lib/firstboot/rsa-key-due";
    let mut lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    // Stay on, for the next one's quorum.
    let mut members = Vec::new();
    for (number, has_unit) in [(42, true), (43, false)] {
        lab.makes_rsa = has_unit;
        let node = lab.node(&format!("vm{number}"), number, false);
        node.seed(&[&cluster[0]], PASSWORD, "");
        let key = node.root.join("etc/ssh/ssh_host_rsa_key");
        let public = key.with_extension("pub");
        let remove = || {
            for half in [&key, &public] {
                fs::remove_file(half).unwrap();
            }
        };
        if has_unit {
            remove();
        }
        node.local();
        assert_eq!(public.exists(), !has_unit);
        assert_eq!(node.root.join(&DUE[1..]).exists(), has_unit);
        if !has_unit {
            remove();
        }
        node.boot();
        detail(&node);
        node.assert_member(&cluster[0]);
        node.wait("the key", || !node.exists(DUE));
        let name = &node.name;
        let known = cluster[0].read(&format!("/etc/pve/nodes/{name}/ssh_known_hosts"));
        let public = node.read("/etc/ssh/ssh_host_rsa_key.pub");
        let words: Vec<&str> = public.split_whitespace().take(2).collect();
        assert_eq!(known.trim(), format!("{name} {}", words.join(" ")));
        members.push(node);
    }
}

/// pvecm is killed at each numbered point of its way; firstboot goes on by itself.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn pvecm_dies_at_every_point() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    for point in 1..=17 {
        let name = format!("vm{point}");
        let node = lab.unbooted_joiner(&name, 100 + point, &[&cluster[0]], "");
        node.switch(&format!("{{\"die_at\": {point}}}"));
        node.boot();
        let detail = detail(&node);
        println!("point {point}: {detail}");
        node.assert_member(&cluster[0]);
        let repaired = detail.contains("repaired");
        // Once the peer knows it, and until pmxcfs can take up the cluster's files by itself.
        assert_eq!(repaired, (7..=11).contains(&point), "{point}: {detail}");
        // Its votes would have to be awake for the next one's quorum.
        cluster[0].delete(&node);
    }
}

/// The power goes at each point, and the machine boots again.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn the_power_goes_at_every_point() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    for point in [4, 7, 9, 12, 13, 15] {
        let name = format!("vm{point}");
        let node = lab.unbooted_joiner(&name, 100 + point, &[&cluster[0]], "");
        node.boot_to_point(point);
        node.cut();
        node.boot();
        println!("point {point}: {}", detail(&node));
        node.assert_member(&cluster[0]);
        cluster[0].delete(&node);
    }
}

/// A half-joined machine that was booted again counts for corosync and for nobody else: the
/// next joiner would get no quorum until it is repaired, so it waits for that.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_half_joined_machine_blocks_the_next_one_until_it_is_repaired() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    let zombie = lab.unbooted_joiner("vm42", 42, &[&cluster[0]], "");
    zombie.switch("{\"hang_at\": 9}");
    zombie.boot();
    zombie.wait("authkey", || zombie.exists("/etc/corosync/corosync.conf"));
    zombie.cut();
    zombie.boot_bare();
    zombie.must(&[
        "systemctl",
        "start",
        "pve-cluster",
        "corosync",
        "pvedaemon",
        "pveproxy",
    ]);
    cluster[0].wait("corosync counts it", || {
        cluster[0].must(&["pvecm", "nodes"]).contains("vm42")
    });
    assert!(
        cluster[0]
            .members()
            .contains("\"vm42\": { \"id\": 3, \"online\": 0")
    );

    // Two of three votes are up. A fourth that gets no quorum would leave two of four.
    let next = lab.joiner("vm43", 43, &[&cluster[0]], "");
    wait_until_it_waits(&next, "Off, or joining: vm42");
    assert!(!next.exists("/etc/corosync/authkey"));

    zombie.must(&["systemctl", "start", "firstboot-join"]);
    assert!(detail(&zombie).contains("repaired"));
    zombie.assert_member(&cluster[0]);
    detail(&next);
    next.assert_member(&cluster[0]);
}

/// UDP 5405 is blocked: the node waits for quorum longer than one attempt may take. When the
/// packets come through, quorum does by itself, and only the certificate is missing.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn corosync_is_blocked_for_a_while() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    let retry = "    retry: {first: 1, most: 2, attempt: 20}\n";
    let node = lab.unbooted_joiner("vm42", 42, &[&cluster[0]], retry);
    node.switch("{\"corosync_blocked\": true}");
    node.boot();
    wait_until_it_waits(
        &node,
        "no quorum came in time: is UDP 5405 to all members open",
    );
    node.switch("{}");
    let detail = detail(&node);
    assert!(
        detail.contains("with a new certificate") || detail.contains("quorum came by itself"),
        "{detail}"
    );
    node.assert_member(&cluster[0]);
}

/// The peer has no quorum: nothing is written, and it is asked again until it has.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn the_cluster_has_no_quorum_for_a_while() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    cluster[1].cut();
    cluster[0].wait("no quorum", || {
        cluster[0].members().contains("\"quorate\": 0")
    });
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    wait_until_it_waits(&node, "has no quorum: too many of its members are off");
    let shown = node.run_with(&["firstboot", "status"], "").said;
    begins(&shown, "vm42 (instance vm42-1): joining, attempt ");
    assert!(!node.exists("/etc/corosync/authkey"));
    cluster[1].boot();
    detail(&node);
    node.assert_member(&cluster[0]);
}

/// The second node of a one-node cluster dies mid-join, and the peer has no quorum any more
/// until somebody tells it to expect one vote.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn the_second_node_of_a_cluster_dies_mid_join() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    let node = lab.unbooted_joiner("vm42", 42, &[&cluster[0]], "");
    node.switch("{\"die_at\": 7}");
    node.boot();
    wait_until_it_waits(&node, "has no quorum");
    cluster[0].must(&["pvecm", "expected", "1"]);
    assert!(detail(&node).contains("repaired"));
    node.assert_member(&cluster[0]);
}

/// Peers that are off, swallow packets, say nothing, or have their port closed: the next one
/// is asked.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn the_next_peer_is_asked() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    for (number, switch) in (42..).zip(["closed", "swallow", "mute"]) {
        cluster[1].switch(&format!("{{\"{switch}\": true}}"));
        let peers = [&cluster[1], &cluster[0]];
        let node = lab.joiner(&format!("vm{number}"), number, &peers, "");
        assert_eq!(
            detail(&node),
            format!("member of labcluster, through {}", cluster[0].address),
            "{switch}"
        );
        node.assert_member(&cluster[0]);
        cluster[1].switch("{}");
        // Switched off, it would take the two others their quorum.
        cluster[0].delete(&node);
    }
}

/// Nobody answers at all until somebody does.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn no_peer_answers_for_a_while() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    cluster[0].switch("{\"closed\": true}");
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    wait_until_it_waits(&node, "does not answer: 500 Can't connect to");
    cluster[0].switch("{}");
    detail(&node);
    node.assert_member(&cluster[0]);
}

/// The peer adds the node and its answer is lost: the entry in the list is this node's own.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn the_answer_is_lost() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    cluster[0].switch("{\"lost_response\": \"vm42\"}");
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    wait_until_it_waits(&node, "broke after it was asked to add vm42");
    cluster[0].switch("{}");
    assert!(detail(&node).contains("repaired"));
    node.assert_member(&cluster[0]);
}

/// A dead joiner's lock: nobody asks again before it has expired, unless told to.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_lock_is_left_behind() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    cluster[0].must(&["mkdir", "-p", "/etc/pve/priv/lock/file-corosync_conf"]);
    let node = lab.joiner("vm42", 42, &[&cluster[0]], "");
    wait_until_it_waits(&node, "left its lock behind");
    let status = node.status();
    let uptime: f64 = std::fs::read_to_string("/proc/uptime")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let pause = status["waiting"]["next"].as_f64().unwrap() - uptime;
    assert!((100.0..170.0).contains(&pause), "{pause}");
    cluster[0].must(&["rmdir", "/etc/pve/priv/lock/file-corosync_conf"]);
    // The unit reads a folder here, so retry is given the same.
    node.must(&["systemctl", "restart", "firstboot-join"]);
    detail(&node);
    node.assert_member(&cluster[0]);
}

/// Two at the same moment: one of them may be left behind, and repairs itself.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn two_at_once() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let nodes: Vec<Node> = (42..44)
        .map(|n| lab.unbooted_joiner(&format!("vm{n}"), n, &[&cluster[0]], ""))
        .collect();
    for node in &nodes {
        node.boot();
    }
    for node in &nodes {
        println!("{}: {}", node.name, detail(node));
        node.assert_member(&cluster[0]);
    }
}

/// The name stands for 127.0.1.1 when pmxcfs starts, which gives up; hosts is put right later.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn pmxcfs_had_given_up() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    let node = lab.unbooted_joiner("vm42", 42, &[&cluster[0]], "");
    let hosts = node.root.join("etc/hosts");
    let right = std::fs::read_to_string(&hosts).unwrap();
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.1.1 vm42\n").unwrap();
    node.boot_bare();
    // As at a boot, it may fail.
    node.run_with(&["systemctl", "start", "pve-cluster"], "");
    std::fs::write(&hosts, right).unwrap();
    node.must(&["systemctl", "start", "firstboot-join"]);
    detail(&node);
    node.assert_member(&cluster[0]);
}
