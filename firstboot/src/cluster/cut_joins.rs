//! The votes of nodes whose join was cut.
//!
//! `pvecm add` gives each joiner one vote, and a node of this lab gives it back only when it has
//! quorum. One that is switched off in between leaves a vote that is missing: three of them take a
//! cluster of three its quorum. Whoever of the lab is a member takes such a vote away.

use crate::cluster::corosync_conf::store::{FILE, Pmxcfs, Store};
use crate::cluster::corosync_conf::{self, Conf};
use crate::cluster::members::Members;
use crate::cluster::votes::change;
use crate::contract::seed::{Cluster, names};
use crate::system::backoff;
use crate::system::root::Root;
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The nodes of this lab that are to have no vote, as the seed has them, one word a line.
const LAB: &str = "/var/lib/firstboot/without-vote";
/// How long a node is off before its join is taken for cut. A join takes less than a minute, and a
/// new version of the configuration in the middle of it may leave it behind.
const CUT: Duration = Duration::from_secs(150);
/// The longest moment at which one member begins, so that not all of them do.
const SPREAD: f64 = 10.0;

/// Remembers which nodes of the lab have no votes, for whoever watches; durable.
pub(crate) fn remember(root: &Root, cluster: &Cluster) -> Result<()> {
    if cluster.votes != Some(0) || cluster.lab.is_empty() {
        return root.remove_file(LAB).map(drop);
    }
    let text: String = cluster.lab.iter().map(|word| format!("{word}\n")).collect();
    root.ensure(LAB, text.as_bytes(), 0o600).map(drop)
}

/// Since when nodes of the lab have been off with a vote.
#[derive(Debug, Default)]
pub(crate) struct CutJoins {
    since: BTreeMap<String, Instant>,
    /// Since when others of the lab have been at work with a vote. A joiner gives its own back within
    /// seconds: who keeps one was given it, by a new seed or by an admin.
    at_work: BTreeMap<String, Instant>,
}

impl CutJoins {
    /// Takes the votes of those whose join was cut; says whose. For a node with quorum; an error is
    /// for the next time.
    pub(crate) fn take_votes(&mut self, root: &Root, name: &str) -> Option<String> {
        let words = root.read_text(LAB).ok().flatten()?;
        let words: Vec<String> = words.lines().map(str::to_owned).collect();
        let off = |conf: &Conf| with_vote(conf, &Members::of(root)?, &words, name, 0);
        let conf = corosync_conf::parse(&root.read_text(FILE).ok().flatten()?).ok()?;
        let at_work = with_vote(&conf, &Members::of(root)?, &words, name, 1)?;
        self.keep_their_votes(at_work, Instant::now());
        if !self.are_cut(off(&conf)?, Instant::now()) {
            return None;
        }
        std::thread::sleep(Duration::from_secs_f64(SPREAD * backoff::chance()));
        let cut = |conf: &Conf| -> Vec<(String, u32)> {
            let still = off(conf).unwrap_or_default().into_iter();
            let old = still.filter(|name| self.since.get(name).is_some_and(|s| s.elapsed() >= CUT));
            old.map(|name| (name, 0)).collect()
        };
        let mut taken = Vec::new();
        let store = Pmxcfs::new(root);
        let done = change(&store as &dyn Store, &cut, &mut |conf, _| {
            taken = cut(conf).into_iter().map(|(name, _)| name).collect();
            Ok(())
        });
        match done {
            Ok(()) if taken.is_empty() => None,
            Ok(()) => Some(format!(
                "the join of {} was cut: its vote was taken away, so that the others do not miss it",
                taken.join(", ")
            )),
            Err(error) => Some(format!("cannot take the vote of a cut join: {error:#}")),
        }
    }

    /// Notes who is at work with a vote.
    fn keep_their_votes(&mut self, at_work: Vec<String>, now: Instant) {
        for name in at_work {
            self.at_work.entry(name).or_insert(now);
        }
    }

    /// Whether some of those that are `off` have been so for long enough.
    fn are_cut(&mut self, off: Vec<String>, now: Instant) -> bool {
        let was_given = |name: &String| {
            let since = self.at_work.get(name);
            since.is_some_and(|since| now.duration_since(*since) >= CUT)
        };
        let off: Vec<String> = off.into_iter().filter(|name| !was_given(name)).collect();
        self.since.retain(|name, _| off.contains(name));
        for name in off {
            self.since.entry(name).or_insert(now);
        }
        let mut times = self.since.values();
        times.any(|since| now.duration_since(*since) >= CUT)
    }
}

/// The lab's other nodes that have a vote and are `online` (1) or off (0); `None` where this node is
/// without quorum.
fn with_vote(
    conf: &Conf,
    members: &Members,
    lab: &[String],
    name: &str,
    online: u8,
) -> Option<Vec<String>> {
    members.online_in(name).ok()?;
    let is_so = |node: &str| {
        members
            .nodelist
            .get(node)
            .is_some_and(|n| n.online == online)
    };
    let nodes = conf.nodes.iter().filter(|node| {
        node.votes > 0 && node.name != name && names::contain(lab, &node.name) && is_so(&node.name)
    });
    Some(nodes.map(|node| node.name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::{joining, seed};
    use crate::system::root::tests::tree;

    const CONF: &str = "nodelist {\n\
        node {\nname: alpha\nquorum_votes: 1\n}\n\
        node {\nname: vm41\nquorum_votes: 1\n}\n\
        node {\nname: vm42\nquorum_votes: 0\n}\n\
        node {\nname: vm43\nquorum_votes: 1\n}\n\
        node {\nname: vm99\nquorum_votes: 1\n}\n\
        }\ntotem {\nconfig_version: 9\n}\n";

    fn members(quorate: u8, off: &[&str]) -> Members {
        let node = |name: &str| {
            let online = u8::from(!off.contains(&name));
            format!("\"{name}\": {{\"id\": 1, \"online\": {online}}}")
        };
        let nodes = ["alpha", "vm41", "vm42", "vm43", "vm99"].map(node);
        let text = format!(
            "{{\"nodename\": \"vm42\", \"version\": 3, \"cluster\": {{\"name\": \"c\", \"quorate\": \
             {quorate}}}, \"nodelist\": {{{}}}}}",
            nodes.join(", ")
        );
        Members::parse(&text).unwrap()
    }

    #[test]
    fn only_the_labs_own_that_are_off_with_a_vote() {
        let conf = corosync_conf::parse(CONF).unwrap();
        let lab = ["vm[41:50]".to_owned()];
        let off =
            |quorate, list: &[&str]| with_vote(&conf, &members(quorate, list), &lab, "vm42", 0);
        assert_eq!(off(1, &["alpha", "vm41", "vm99"]).unwrap(), ["vm41"]);
        assert_eq!(off(1, &["vm41", "vm43"]).unwrap(), ["vm41", "vm43"]);
        assert_eq!(off(1, &["alpha", "vm99"]).unwrap().len(), 0);
        assert_eq!(off(0, &["vm41"]), None);
    }

    #[test]
    fn a_join_has_time() {
        let mut cut = CutJoins::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let vm41 = || vec!["vm41".to_owned()];
        assert!(!cut.are_cut(vm41(), at(0)));
        assert!(!cut.are_cut(vm41(), at(149)));
        assert!(cut.are_cut(vm41(), at(151)));
        // It came on meanwhile.
        assert!(!cut.are_cut(Vec::new(), at(152)));
        assert!(!cut.are_cut(vm41(), at(153)));
        assert!(!cut.are_cut(vm41(), at(300)));
        // At work with its vote for long: it was given.
        cut.keep_their_votes(vm41(), at(400));
        cut.keep_their_votes(vm41(), at(560));
        assert!(!cut.are_cut(vm41(), at(600)));
        assert!(!cut.are_cut(vm41(), at(900)));
    }

    #[test]
    fn what_is_remembered_is_what_the_seed_says() {
        let (_folder, root) = tree();
        root.write(LAB, b"vm[1:2]\n", 0o600).unwrap();
        let seed = seed(&joining("    lab: [alone, \"vm[41:50]\"]\n"));
        let mut cluster = seed.cluster().unwrap().clone();
        remember(&root, &cluster).unwrap();
        assert_eq!(root.read_text(LAB).unwrap().unwrap(), "alone\nvm[41:50]\n");
        cluster.votes = None;
        remember(&root, &cluster).unwrap();
        assert!(!root.exists(LAB).unwrap());
    }
}
