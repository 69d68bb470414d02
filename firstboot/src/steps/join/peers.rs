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

/// What a peer says of its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The cluster's nodes, in no order.
    pub nodes: Vec<Listed>,
    /// The version of its `corosync.conf`; `None` when the peer does not tell.
    pub version: Option<u64>,
    /// Whether the peer has quorum; `None` when it does not tell.
    pub quorate: Option<bool>,
}

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
    version: Option<Number>,
}

/// JSON made by Perl: a number may be written as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

impl Number {
    fn value(&self) -> Option<u64> {
        match self {
            Number::Number(value) => Some(*value),
            Number::Text(text) => text.parse().ok(),
        }
    }
}

/// What the peer says of its cluster, or what became of the question.
pub fn listing(peer: &Peer, password: &str, name: &str) -> Result<Result<Listing, Verdict>> {
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
        meanwhile: &|| None,
    };
    let output = talk.run(&|_| {})?;
    Ok(read(&output).ok_or_else(|| match output.trim() {
        "" => Verdict::Unreachable(format!("no answer within {} s", LIMIT.as_secs())),
        _ => judge(&output, name),
    }))
}

/// The answer in what the client printed, if there is one.
fn read(output: &str) -> Option<Listing> {
    let line = output.lines().find_map(|line| line.strip_prefix(ANSWER));
    let answer: Answer = serde_json::from_str(line?).ok()?;
    let cluster = answer.status.iter().find(|state| state.r#type == "cluster");
    let of_cluster = |value: fn(&Status) -> &Option<Number>| value(cluster?).as_ref()?.value();
    let online = |name: &str| {
        let states = answer.status.iter().filter(|state| state.r#type == "node");
        let mut own = states.filter(|state| state.name.as_deref() == Some(name));
        Some(own.next()?.online.as_ref()?.value()? == 1)
    };
    let version = of_cluster(|state| &state.version);
    let quorate = of_cluster(|state| &state.quorate).map(|value| value != 0);
    let nodes = answer.nodes.into_iter().map(|node| {
        let name = node.name.unwrap_or(node.node);
        let votes = node.quorum_votes.and_then(|votes| votes.value());
        Listed {
            online: online(&name),
            address: node.ring0_addr.unwrap_or_default(),
            // corosync counts one where nothing is said.
            votes: votes.map_or(1, |votes| votes.try_into().unwrap_or(u32::MAX)),
            name,
        }
    });
    Some(Listing {
        nodes: nodes.collect(),
        version,
        quorate,
    })
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
        let listing = Listing {
            nodes: vec![
                listed("alpha", "10.99.0.11", 1, Some(true)),
                listed("beta", "10.99.0.12", 0, Some(false)),
            ],
            version: Some(2),
            quorate: Some(true),
        };
        assert_eq!(read(&output), Some(listing));
        // A peer that does not tell who is up (501 in transcript 23).
        let output = format!("cluster: {{\"nodes\":{nodes},\"status\":[]}}\n");
        let listing = read(&output).unwrap();
        assert_eq!(listing.nodes[0], listed("alpha", "10.99.0.11", 1, None));
        assert_eq!((listing.version, listing.quorate), (None, None));
        let none = read("cluster: {\"nodes\":[],\"status\":[]}\n");
        assert_eq!(none, Some(Listing::default()));
        let inquorate = status.replace("\"quorate\":1", "\"quorate\":0");
        let output = format!("cluster: {{\"nodes\":{nodes},\"status\":{inquorate}}}\n");
        assert_eq!(read(&output).unwrap().quorate, Some(false));
        assert!(read("401 authentication failure\n").is_none());
        assert!(read("cluster: [{\n").is_none());
    }
}
