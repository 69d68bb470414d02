//! What follows a join: votes, storage and HA, of several nodes at the same time.

use super::lab::Lab;
use super::node::Node;
use crate::contract::sections;
use serde_json::Value;
use std::fs;
use testkit::{ends, has};

/// How many nodes join at the same time.
const JOINERS: u8 = 4;

fn detail(verdict: &Value, step: &str) -> String {
    let steps = verdict["steps"].as_array().unwrap();
    let step = steps.iter().find(|record| record["step"] == step);
    let detail = step.and_then(|record| record["detail"].as_str());
    detail.unwrap_or_default().to_owned()
}

/// The votes that corosync counts of each node, as one node says.
fn counted(node: &Node) -> Vec<(String, String)> {
    let shown = node.must(&["corosync-quorumtool", "-l"]);
    let lines = shown.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first()?.parse::<u32>().ok()?;
        Some((words[2].to_owned(), words[1].to_owned()))
    });
    let mut counted: Vec<_> = lines.collect();
    counted.sort();
    counted
}

#[test]
#[ignore = "takes minutes; scripts/test runs it"]
fn nodes_that_join_together_all_end_without_a_vote() {
    let lab = Lab::new();
    let stable = lab.cluster(&["alpha", "beta", "gamma"]);
    let peers: Vec<&Node> = stable.iter().collect();
    let joiners: Vec<Node> = (0..JOINERS)
        .map(|i| lab.joiner(&format!("vm{i}"), 31 + i, &peers, "    votes: 0\n"))
        .collect();
    for node in &joiners {
        let verdict = node.verdict();
        assert_eq!(verdict["state"], "configured", "{verdict:#}");
        // Whoever joins makes good what a cut join has left, of any node of the lab: another one may
        // have been there first.
        let votes = detail(&verdict, "votes");
        let well = [
            "1 -> 0, as corosync counts them",
            "0, as corosync counts them",
        ];
        assert!(well.contains(&&*votes), "{verdict:#}");
    }
    let mut expected: Vec<(String, String)> = ["alpha", "beta", "gamma"]
        .map(|name| (name.to_owned(), "1".to_owned()))
        .to_vec();
    expected.extend(joiners.iter().map(|n| (n.name.clone(), "0".to_owned())));
    for node in stable.iter().chain(&joiners) {
        node.wait("the votes", || counted(node) == expected);
    }
    for node in &joiners {
        node.assert_member(&stable[0]);
    }
}

#[test]
#[ignore = "takes minutes; scripts/test runs it"]
fn a_retired_member_boots_without_its_cluster() {
    let lab = Lab::new();
    let stable = lab.cluster(&["alpha", "beta"]);
    let peers: Vec<&Node> = stable.iter().collect();
    let node = lab.joiner("vm42", 42, &peers, "    votes: 0\n");
    node.verdict();
    node.assert_member(&stable[0]);
    node.cut();
    stable[0].wait("vm42 gone", || {
        let members: Value = serde_json::from_str(&stable[0].members()).unwrap_or_default();
        members["nodelist"]["vm42"]["online"] == 0
    });
    stable[0].must(&["pvecm", "delnode", "vm42"]);

    let seed = node.root.join("root/seed");
    fs::write(seed.join("meta-data"), "instance-id: vm42-2\n").unwrap();
    let text = "#cloud-config\nhostname: vm42\nproxmox:\n  retired: true\n";
    fs::write(seed.join("user-data"), text).unwrap();
    let hosts = fs::read(node.root.join("etc/hosts")).unwrap();
    node.local();
    // What a seed with the node's network would have left; a place has no network card.
    fs::write(node.root.join("etc/hosts"), hosts).unwrap();
    for file in ["authkey", "corosync.conf"] {
        let path = node.root.join("etc/corosync").join(file);
        assert!(!path.exists(), "{}", path.display());
    }
    let aside = node.root.join("var/lib/pve-cluster/retired/config.db");
    assert!(aside.exists());
    node.boot();
    let verdict = node.verdict();
    assert_eq!(verdict["state"], "configured", "{verdict:#}");
    assert!(detail(&verdict, "retired").contains("authkey removed"));
    node.wait("pmxcfs", || node.members().contains("vm42"));
    assert!(!node.members().contains("cluster"), "{}", node.members());
    assert_eq!(node.read("/etc/corosync/corosync.conf"), "");
    for other in &stable {
        let expected = ["alpha", "beta"].map(|name| (name.to_owned(), "1".to_owned()));
        assert_eq!(counted(other), expected);
    }
}

/// What follows `proxmox: cluster:` in the seed.
const STORAGE_AND_HA: &str = "    votes: 0
  storage:
    - {id: lab-nfs, server: 127.0.0.9, export: /srv/lab}
    - {id: few-nfs, server: 127.0.0.9, export: /srv/few}
    - {id: odd-nfs, server: 127.0.0.9, export: /srv/odd}
  ha: {groups: [prefer], rules: [keep, gone]}
";

/// A setting of a section in a file of `/etc/pve`.
fn setting(node: &Node, file: &str, id: &str, key: &str) -> Vec<String> {
    let text = node.read(file);
    let section = sections::find(&text, id).unwrap_or_else(|| panic!("no {id}: {text}"));
    let mut words: Vec<String> = sections::list(section.get(key).unwrap_or_default())
        .into_iter()
        .map(str::to_owned)
        .collect();
    words.sort();
    words
}

#[test]
#[ignore = "takes minutes; scripts/test runs it"]
fn nodes_that_join_together_are_all_in_storages_and_rules() {
    let lab = Lab::new();
    let stable = lab.cluster(&["alpha", "beta"]);
    let first = &stable[0];
    for (id, export) in [("few-nfs", "/srv/few"), ("odd-nfs", "/srv/other")] {
        let add = ["pvesm", "add", "nfs", id, "--server", "127.0.0.9"];
        let more = [
            "--export",
            export,
            "--content",
            "images",
            "--nodes",
            "alpha",
        ];
        first.must(&[&add[..], &more[..]].concat());
    }
    first.must(&["ha-manager", "add", "ct:100"]);
    let add = ["ha-manager", "rules", "add", "node-affinity", "keep"];
    let more = ["--resources", "ct:100", "--nodes", "alpha:2,beta"];
    first.must(&[&add[..], &more[..]].concat());

    let peers: Vec<&Node> = stable.iter().collect();
    let joiners: Vec<Node> = (0..JOINERS)
        .map(|i| lab.joiner(&format!("vm{i}"), 31 + i, &peers, STORAGE_AND_HA))
        .collect();
    let mut names: Vec<String> = joiners.iter().map(|node| node.name.clone()).collect();
    for node in &joiners {
        let verdict = node.verdict();
        assert_eq!(verdict["state"], "configured", "{verdict:#}");
        let odd = "odd-nfs is left as it is, because this cannot be changed: export is \
                   /srv/other, not /srv/odd";
        let storage = detail(&verdict, "storage");
        ends(&storage, odd);
        let ha = detail(&verdict, "ha");
        let added = format!("{} added to the HA rule keep", node.name);
        has(&ha, &added);
        has(&ha, "the cluster has no HA group prefer");
        has(&ha, "the cluster has no HA rule gone");
        has(&ha, "no working watchdog");
    }
    names.push("alpha".to_owned());
    names.sort();
    let mut nodes = names.clone();
    nodes.extend(["alpha:2", "beta"].map(str::to_owned));
    nodes.retain(|name| name != "alpha");
    nodes.sort();
    const STORAGE: &str = "/etc/pve/storage.cfg";
    for node in stable.iter().chain(&joiners) {
        node.wait("the lists", || {
            setting(node, STORAGE, "few-nfs", "nodes") == names
                && setting(node, "/etc/pve/ha/rules.cfg", "keep", "nodes") == nodes
        });
        // The cluster's own stays where the seed says nothing of it.
        assert_eq!(setting(node, STORAGE, "few-nfs", "content"), ["images"]);
        let added = ["images", "rootdir"];
        assert_eq!(setting(node, STORAGE, "lab-nfs", "content"), added);
        assert_eq!(setting(node, STORAGE, "odd-nfs", "nodes"), ["alpha"]);
    }
}
