//! What no waiting mends, or must never be forced: it ends with the reason.

use super::lab::Lab;
use super::node::PASSWORD;
use super::rows::{detail, failed, wait_until_it_waits};
use testkit::has;

/// A wrong password ends the join with the reason; a corrected seed and one command go on.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_wrong_password_and_a_wrong_fingerprint_are_final() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    let node = lab.node("vm42", 42, false);
    node.seed(&[&cluster[0]], "not-the-password", "");
    node.local();
    node.boot();
    let reason = failed(&node);
    has(&reason, "refused root's password. Correct the seed");

    node.seed_with_fingerprint(&cluster[0], &["AB"; 32].join(":"), "vm42-2");
    let retry = ["firstboot", "--seed-dir", "/root/seed", "retry"];
    let ended = node.run_with(&retry, "");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    has(&ended.said, "has another certificate");
    let reason = failed(&node);
    has(
        &reason,
        "has another certificate than the seed says: its fingerprint is",
    );
    assert!(reason.contains(&cluster[0].fingerprint()), "{reason}");

    node.seed_with_fingerprint(&cluster[0], &cluster[0].fingerprint(), "vm42-3");
    node.must(&retry);
    detail(&node);
    node.assert_member(&cluster[0]);
}

/// Another machine has the name, or the address: never forced, and nothing is changed there.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_name_or_an_address_of_another_machine_is_refused() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    let conf = || cluster[0].read("/etc/pve/corosync.conf");
    let before = conf();

    let thief = lab.joiner("beta", 52, &[&cluster[0]], "");
    let reason = failed(&thief);
    let words = format!(
        "the cluster has a node beta already, at {}, and this machine has {}",
        cluster[1].address, thief.address
    );
    has(&reason, &words);

    // The real beta is off, which proves nothing about whose name it is.
    let other = lab.joiner("vm12", 12, &[&cluster[0]], "");
    let reason = failed(&other);
    let words = format!(
        "the cluster knows the address {} as that of its node beta",
        other.address
    );
    has(&reason, &words);
    assert_eq!(conf(), before);
    assert!(!thief.exists("/etc/corosync/authkey"));
}

/// The same VM on two PCs: the second one never takes the place of the first, which is at work.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_machine_that_is_started_twice_joins_once() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta", "gamma"]);
    let first = lab.joiner("vm42", 42, &[&cluster[0]], "");
    detail(&first);
    let conf = cluster[0].read("/etc/pve/corosync.conf");
    let second = lab.joiner("vm42", 42, &[&cluster[0], &cluster[1]], "");
    wait_until_it_waits(
        &second,
        "the cluster sees a machine with this name and address at work",
    );
    assert!(!second.exists("/etc/corosync/authkey"));
    assert_eq!(cluster[0].read("/etc/pve/corosync.conf"), conf);
    first.assert_member(&cluster[0]);

    first.cut();
    assert!(detail(&second).contains("repaired"));
    second.assert_member(&cluster[0]);
}

/// A seed whose password was removed by an earlier join, on a new disk.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_seed_without_its_password_says_what_to_do() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    let node = lab.node("vm42", 42, false);
    node.seed(&[&cluster[0]], &"x".repeat(PASSWORD.len()), "");
    node.local();
    node.boot();
    let reason = failed(&node);
    has(&reason, "imgbuild seed vm42");
}
