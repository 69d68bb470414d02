//! What Proxmox and corosync write and print.

use super::{has_all_lines, text};
use crate::cluster::classify::classify;
use crate::cluster::members::Members;
use crate::cluster::sections::{digest, find, list, read};
use crate::cluster::{corosync, corosync_conf, peers, pvecm, quorum};

/// Votes that were given are read again, and every other line stays.
pub(super) fn corosync_conf(data: &[u8]) {
    let Some(before) = text(data) else { return };
    let conf = match corosync_conf::parse(before) {
        Ok(conf) => conf,
        Err(problem) => return assert!(problem.to_string().len() < 8 * before.len() + 256),
    };
    for node in &conf.nodes {
        let votes = node.votes.wrapping_add(1);
        let Ok(Some(after)) = corosync_conf::with_votes(before, &[(&node.name, votes)]) else {
            continue;
        };
        let now = corosync_conf::parse(&after).expect("what was written is read");
        assert_eq!(now.votes(&node.name), Some(votes));
        assert_eq!(now.version, conf.version + 1);
        let others = |conf: &corosync_conf::Conf| {
            let nodes = conf.nodes.iter().filter(|other| other.name != node.name);
            nodes.cloned().collect::<Vec<_>>()
        };
        assert_eq!(others(&now), others(&conf));
        let is_kept = |line: &&str| {
            !["quorum_votes", "config_version"]
                .iter()
                .any(|key| line.contains(key))
        };
        let kept: Vec<&str> = before.split('\n').filter(is_kept).collect();
        assert!(has_all_lines(&after, kept), "{before:?} {after:?}");
        let again = corosync_conf::with_votes(&after, &[(&node.name, votes)]);
        assert_eq!(again, Ok(None));
    }
}

/// `storage.cfg`, `ha/groups.cfg`, `ha/rules.cfg`.
pub(super) fn sections(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for section in read(text).into_iter().take(20) {
        assert!(find(text, &section.id).is_some());
        for value in section.settings.values() {
            assert!(list(value).iter().all(|word| !word.is_empty()));
        }
        // Written as Proxmox writes it, it is the same.
        let lines = section
            .settings
            .iter()
            .map(|(key, value)| format!("\t{key} {value}\n"));
        let written = format!(
            "{}: {}\n{}",
            section.kind,
            section.id,
            lines.collect::<String>()
        );
        assert_eq!(read(&written), [section], "{written:?}");
    }
    assert_eq!(digest(text).len(), 40);
}

/// What `pvecm add` printed.
pub(super) fn pvecm_words(data: &[u8]) {
    let output = String::from_utf8_lossy(data);
    let verdict = classify(&output, "vm42");
    let reason = verdict.reason("10.120.0.1", "vm42");
    assert!(!reason.is_empty() && reason.len() < 2 * output.len() + 1024);
}

/// The answers of corosync's tools, of a peer, and pmxcfs's lists.
pub(super) fn cluster_state(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = quorum::parse(text);
    let _ = corosync::is_quorate(text);
    let _ = corosync::version(text);
    assert!(corosync::connected_nodes(text) <= text.len());
    let _ = pvecm::guests(text);
    if let Ok(members) = Members::parse(text) {
        let words = members.online_in("vm42");
        let words = words.unwrap_or_else(|words| words);
        assert!(words.len() <= text.len() + 256);
    }
    if let Some(answer) = peers::parse_answer(text) {
        let nodes = answer.cluster.map(|listing| listing.nodes.len());
        assert!(nodes.unwrap_or_default() <= text.len());
    }
}
