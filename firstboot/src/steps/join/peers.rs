//! What a peer says of the cluster's nodes, before anything is asked of it.
//!
//! Asked with Proxmox's own client, `PVE::APIClient::LWP`, which is what `pvecm add` uses and so is
//! wherever pvecm is: it pins the certificate's fingerprint before the password is sent. The
//! smallest client of our own (rustls 0.23 with ring, a pin, no HTTP yet) was measured: 1.07 MB
//! more for this program of 2.4 MB, and a TLS stack to be kept up in bases that nobody
//! updates. This costs the start of perl.

use super::judge::{Verdict, judge};
use super::talk::Talk;
use crate::seed::Peer;
use anyhow::Result;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// How long the peer may be silent at a time. A peer that swallows packets costs `pvecm add` a
/// minute; asked here first, it costs this.
const SILENCE: Duration = Duration::from_secs(15);
/// The longest that the question may take at all.
const LIMIT: Duration = Duration::from_secs(90);
/// What the line with the answer begins with.
const ANSWER: &str = "cluster: ";

/// Arguments: host, seconds, fingerprints of which the peer must show one. The password is the first line of standard input. It
/// prints the client's own words when something goes wrong, as pvecm does.
const CLIENT: &str = r#"
use strict;
use warnings;
use JSON::PP;
use PVE::APIClient::LWP;
my ($host, $seconds, @fingerprints) = @ARGV;
my $password = <STDIN>;
chomp $password;
my $answer = eval {
    my $client = PVE::APIClient::LWP->new(
        username => 'root@pam',
        password => $password,
        cookie_name => 'PVEAuthCookie',
        protocol => 'https',
        host => $host,
        port => 8006,
        timeout => $seconds,
        cached_fingerprints => { map { $_ => 1 } @fingerprints },
    );
    $client->login();
    my $nodes = $client->get('/cluster/config/nodes');
    # Who of them is up. Without it the join goes on, only less careful.
    my $status = eval { $client->get('/cluster/status') } // [];
    return { nodes => $nodes, status => $status };
};
if (my $error = $@) {
    chomp $error;
    print "$error\n";
    exit 1;
}
print "cluster: ", JSON::PP->new->ascii->encode($answer), "\n";
"#;

/// A node in the cluster's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its address on the first link (`ring0_addr`).
    pub address: String,
    /// Its votes in the quorum.
    pub votes: u32,
    /// Whether the peer sees it; `None` when the peer does not tell.
    pub online: Option<bool>,
}

#[derive(Deserialize)]
struct Answer {
    nodes: Vec<Node>,
    status: Vec<Status>,
}

/// An entry of `/cluster/config/nodes`. More keys are there; numbers come as texts.
#[derive(Deserialize)]
struct Node {
    name: Option<String>,
    node: String,
    ring0_addr: Option<String>,
    quorum_votes: Option<Number>,
}

/// An entry of `/cluster/status`: one for the cluster, and one for each node.
#[derive(Deserialize)]
struct Status {
    r#type: String,
    name: Option<String>,
    online: Option<Number>,
    quorate: Option<Number>,
}

/// JSON made by Perl: a number may be written as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

impl Number {
    fn value(&self) -> Option<u32> {
        match self {
            Number::Number(value) => Some(*value),
            Number::Text(text) => text.parse().ok(),
        }
    }
}

/// The nodes that the peer's cluster lists, or what became of the question.
pub fn nodes(peer: &Peer, password: &str, name: &str) -> Result<Result<Vec<Listed>, Verdict>> {
    let args = [
        "-e".to_owned(),
        CLIENT.to_owned(),
        peer.address.clone(),
        SILENCE.as_secs().to_string(),
    ];
    let args = [&args[..], &peer.fingerprints[..]].concat();
    let talk = Talk {
        program: "perl",
        folder: Path::new("/root"),
        args: &args,
        password,
        limit: LIMIT,
        hopeless: &|| None,
    };
    let output = talk.run(&|_| {})?;
    Ok(read(&output).unwrap_or_else(|| {
        Err(match output.trim() {
            "" => Verdict::Unreachable(format!("no answer within {} s", LIMIT.as_secs())),
            _ => judge(&output, name),
        })
    }))
}

/// The answer in what the client printed, if there is one. A peer without quorum adds nobody and
/// repairs nobody, so it is not asked any further.
fn read(output: &str) -> Option<Result<Vec<Listed>, Verdict>> {
    let line = output.lines().find_map(|line| line.strip_prefix(ANSWER));
    let answer: Answer = serde_json::from_str(line?).ok()?;
    let quorate = |state: &Status| state.quorate.as_ref().and_then(Number::value);
    if answer.status.iter().any(|state| quorate(state) == Some(0)) {
        return Some(Err(Verdict::NoQuorum));
    }
    let online = |name: &str| {
        let states = answer.status.iter().filter(|state| state.r#type == "node");
        let mut own = states.filter(|state| state.name.as_deref() == Some(name));
        Some(own.next()?.online.as_ref()?.value()? == 1)
    };
    let nodes = answer.nodes.into_iter().map(|node| {
        let name = node.name.unwrap_or(node.node);
        Listed {
            online: online(&name),
            address: node.ring0_addr.unwrap_or_default(),
            // corosync counts one where nothing is said.
            votes: node.quorum_votes.and_then(|v| v.value()).unwrap_or(1),
            name,
        }
    });
    Some(Ok(nodes.collect()))
}

/// Why one more node must not be added now: were it switched off in the middle of its join,
/// its vote would be missing, and the nodes that are up would have no majority any more. Nobody
/// could join or change anything then, those that were cut before included.
///
/// A cluster whose nodes are all up takes one more in any case: with one or two nodes there is
/// no other way to grow.
pub fn no_room(nodes: &[Listed]) -> Option<String> {
    let missing: Vec<&Listed> = nodes
        .iter()
        .filter(|node| node.votes > 0 && node.online == Some(false))
        .collect();
    let all: u32 = nodes.iter().map(|node| node.votes).sum();
    let up = all - missing.iter().map(|node| node.votes).sum::<u32>();
    let then = all + 1;
    let majority = then / 2 + 1;
    if missing.is_empty() || up >= majority {
        return None;
    }
    let names: Vec<&str> = missing.iter().map(|node| node.name.as_str()).collect();
    Some(format!(
        "{up} of the cluster's {all} votes are up, and one more node that is switched off in the \
         middle of its join would take it its quorum. Off, or joining: {}",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, address: &str, votes: u32, online: Option<bool>) -> Listed {
        Listed {
            name: name.to_owned(),
            address: address.to_owned(),
            votes,
            online,
        }
    }

    #[test]
    fn the_answer_of_a_real_peer() {
        // Transcript 23, GET /cluster/config/nodes; /cluster/status as the API's documentation has it.
        let nodes = r#"[{"name":"alpha","node":"alpha","quorum_votes":"1","ring0_addr":"10.99.0.11","nodeid":"1"},{"ring0_addr":"10.99.0.12","nodeid":"2","name":"beta","quorum_votes":"0","node":"beta"}]"#;
        let status = r#"[{"type":"cluster","id":"cluster","name":"labcluster","nodes":2,"quorate":1,"version":2},{"type":"node","id":"node/alpha","name":"alpha","nodeid":1,"ip":"10.99.0.11","local":1,"online":1,"level":""},{"type":"node","name":"beta","online":"0"}]"#;
        let output = format!("cluster: {{\"nodes\":{nodes},\"status\":{status}}}\n");
        assert_eq!(
            read(&output).unwrap().unwrap(),
            [
                listed("alpha", "10.99.0.11", 1, Some(true)),
                listed("beta", "10.99.0.12", 0, Some(false)),
            ]
        );
        // A peer that does not tell who is up (501 in transcript 23).
        let output = format!("cluster: {{\"nodes\":{nodes},\"status\":[]}}\n");
        assert_eq!(
            read(&output).unwrap().unwrap()[0],
            listed("alpha", "10.99.0.11", 1, None)
        );
        assert_eq!(
            read("cluster: {\"nodes\":[],\"status\":[]}\n").unwrap(),
            Ok(Vec::new())
        );
        let inquorate = status.replace("\"quorate\":1", "\"quorate\":0");
        let output = format!("cluster: {{\"nodes\":{nodes},\"status\":{inquorate}}}\n");
        assert_eq!(read(&output).unwrap(), Err(Verdict::NoQuorum));
        assert!(read("401 authentication failure\n").is_none());
        assert!(read("cluster: [{\n").is_none());
    }

    #[test]
    fn a_join_must_not_be_able_to_take_the_quorum() {
        let cluster = |states: &[(u32, bool)]| -> Vec<Listed> {
            let node = |(number, (votes, online)): (usize, &(u32, bool))| {
                listed(&format!("n{number}"), "", *votes, Some(*online))
            };
            states.iter().enumerate().map(node).collect()
        };
        let (on, off) = ((1, true), (1, false));
        // All are up: one more in any case.
        for size in 1..5 {
            assert_eq!(no_room(&cluster(&vec![on; size])), None);
        }
        assert_eq!(no_room(&cluster(&[on, on, on, off])), None);
        // Three up of five, and a sixth that goes off: three of six are no majority.
        let why = no_room(&cluster(&[on, on, on, off, off])).unwrap();
        assert!(
            why.starts_with("3 of the cluster's 5 votes are up"),
            "{why}"
        );
        assert!(why.ends_with("Off, or joining: n3, n4"), "{why}");
        assert!(no_room(&cluster(&[on, on, off])).is_some());
        assert_eq!(no_room(&cluster(&[on, on, on, on, on, off, off])), None);
        // Nodes without a vote may be off.
        let many = [on, on, on, (0, false), (0, false), (0, false)];
        assert_eq!(no_room(&cluster(&many)), None);
        // Nobody tells who is up.
        assert_eq!(no_room(&[listed("a", "", 1, None)]), None);
    }
}
