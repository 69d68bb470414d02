//! What other members have as their `corosync.conf`, asked as Proxmox's own programs ask each other:
//! by root's ssh key.

use crate::cluster::corosync::CONF;
use crate::cluster::corosync_conf::{self, Conf, Node};
use crate::system::backoff;
use crate::system::root::Root;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How many answers are enough: a member that was off itself may have an old file, too.
const ENOUGH: usize = 3;
/// How many are asked at a time.
const AT_A_TIME: usize = 4;
/// The longest that one may take. It is seconds away, or off.
const ONE: Duration = Duration::from_secs(8);
/// How many silent ones are named.
const NAMED: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub from: String,
    /// What is read out of the text.
    pub conf: Conf,
    pub text: String,
}

/// What became of the question.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The newest file of those that answered.
    pub newest: Option<Answer>,
    /// Why the others did not, one each: `vm43: Connection timed out`.
    pub silent: Vec<String>,
}

impl Asked {
    /// The reasons in one line that stays short in a cluster of hundreds.
    pub(super) fn reasons(&self) -> String {
        let shown = &self.silent[..self.silent.len().min(NAMED)];
        let more = self.silent.len() - shown.len();
        match (shown.is_empty(), more) {
            (true, _) => "there is no other member".to_owned(),
            (_, 0) => shown.join("; "),
            _ => format!("{}; and {more} more", shown.join("; ")),
        }
    }
}

/// Asks members of `conf` other than `name` for their file, several at a time, those with a vote
/// first because they are rarely off, until enough have answered or `limit` is over.
pub(super) fn ask(root: &Root, conf: &Conf, name: &str, limit: Duration) -> Asked {
    let deadline = Instant::now() + limit;
    let nodes = order(&conf.nodes, name);
    let mut asked = Asked::default();
    let mut answers = 0;
    for some in nodes.chunks(AT_A_TIME) {
        let (send, receive) = mpsc::channel();
        for node in some {
            let (root, node, send) = (root.clone(), (*node).clone(), send.clone());
            let limit = ONE.min(deadline.saturating_duration_since(Instant::now()));
            // One that is still at work when enough have answered ends with its limit.
            std::thread::spawn(move || send.send((one_of(&root, &node, limit), node.name)));
        }
        drop(send);
        for (answer, from) in receive {
            match answer {
                Ok((conf, text)) => {
                    answers += 1;
                    let newest = asked.newest.as_ref();
                    if newest.is_none_or(|newest| conf.version > newest.conf.version) {
                        asked.newest = Some(Answer { from, conf, text });
                    }
                }
                Err(why) => asked.silent.push(format!("{from}: {why}")),
            }
            if answers == ENOUGH {
                return asked;
            }
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    asked.silent.sort();
    asked
}

/// The others, voters first, each group in an order of this moment: the PCs of a room are not all to
/// ask the same three.
fn order<'a>(nodes: &'a [Node], name: &str) -> Vec<&'a Node> {
    let others = nodes.iter().filter(|node| node.name != name);
    let mut order: Vec<(bool, f64, &Node)> = others
        .map(|node| (node.votes == 0, backoff::chance(), node))
        .collect();
    order.sort_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(a.0.cmp(&b.0)));
    order.into_iter().map(|(_, _, node)| node).collect()
}

/// One member's file, by whichever of its links leads there.
fn one_of(root: &Root, node: &Node, limit: Duration) -> Result<(Conf, String), String> {
    let start = Instant::now();
    let mut why = "it has no address".to_owned();
    for address in &node.links {
        let rest = limit.saturating_sub(start.elapsed());
        if rest.is_zero() {
            break;
        }
        match one(root, node, address, rest) {
            Ok(answer) => return Ok(answer),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The name is what its host key is known by, the address is where it is. The local file is asked for,
/// because `/etc/pve` may hang there.
fn one(root: &Root, node: &Node, address: &str, limit: Duration) -> Result<(Conf, String), String> {
    let alias = format!("HostKeyAlias={}", node.name);
    let known = format!(
        "UserKnownHostsFile=/etc/pve/nodes/{}/ssh_known_hosts",
        node.name
    );
    let target = format!("root@{address}");
    let words = [
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=3",
        // A PC that is switched off in the middle of it.
        "-o",
        "ServerAliveInterval=2",
        "-o",
        "ServerAliveCountMax=2",
        "-o",
        &alias,
        "-o",
        &known,
        &target,
        "cat",
        CONF,
    ];
    let ended = root.run_within("ssh", &words, limit);
    let ended = ended.map_err(|error| format!("{error:#}"))?;
    let Some(ended) = ended else {
        return Err(format!("no answer within {} s", limit.as_secs()));
    };
    if !ended.status.success() {
        return Err(match ended.last_words() {
            "" => format!("ssh ended with {}", ended.status),
            words => words.trim_start_matches("ssh: ").to_owned(),
        });
    }
    let conf = corosync_conf::parse(&ended.output)
        .map_err(|problem| format!("its {CONF} cannot be used: {problem}"))?;
    Ok((conf, ended.output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_a_vote_are_asked_first_and_this_one_never() {
        let node = |name: &str, votes| Node {
            name: name.to_owned(),
            address: String::new(),
            links: Vec::new(),
            votes,
        };
        let nodes = [
            node("vm41", 0),
            node("alpha", 1),
            node("vm42", 0),
            node("beta", 1),
        ];
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let order: Vec<&str> = order(&nodes, "vm42").iter().map(|n| &*n.name).collect();
            assert_eq!(order.len(), 3);
            assert_eq!(order[2], "vm41");
            firsts.insert(order[0].to_owned());
        }
        assert_eq!(firsts.len(), 2, "{firsts:?}");
    }

    #[test]
    fn the_reasons_stay_short() {
        let silent = |count| Asked {
            newest: None,
            silent: (0..count)
                .map(|n| format!("vm{n}: No route to host"))
                .collect(),
        };
        assert_eq!(silent(0).reasons(), "there is no other member");
        assert_eq!(
            silent(2).reasons(),
            "vm0: No route to host; vm1: No route to host"
        );
        assert!(
            silent(200)
                .reasons()
                .ends_with("vm2: No route to host; and 197 more")
        );
    }
}
