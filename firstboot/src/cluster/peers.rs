//! What a peer says of the cluster's nodes, before anything is asked of it.
//!
//! Asked with Proxmox's own client, `PVE::APIClient::LWP`, which is what `pvecm add` uses and so is
//! wherever pvecm is: it pins the certificate's fingerprint before the password is sent. The
//! smallest client of our own (rustls 0.23 with ring, a pin, no HTTP yet) was measured: 1.07 MB
//! more for this program of 2.4 MB, and a TLS stack to be kept up in bases that nobody
//! updates. This costs the start of perl.

use crate::cluster::classify::{JoinVerdict, classify};
use crate::cluster::password_command::PasswordCommand;
use crate::contract::seed::{Peer, Secret, Ticket};
use crate::contract::values::Fingerprint;
use anyhow::Result;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long the peer may be silent at a time. A peer that swallows packets costs `pvecm add` a
/// minute; asked here first, it costs this.
const SILENCE: Duration = Duration::from_secs(15);
/// The longest that the question may take at all.
const LIMIT: Duration = Duration::from_secs(90);
/// What the line with the answer begins with.
const ANSWER: &str = "cluster: ";

/// Arguments: host, seconds, fingerprints of which the peer must show one. The password, or a ticket in
/// its place, is the first line of standard input. It prints the client's own words when something
/// goes wrong, as pvecm does.
///
/// pvecm takes one fingerprint only, so one is pinned at a time, and which one it was is told. With a pin
/// the client asks for nothing else of the certificate, neither its names nor its dates
/// (`verify_hostname` is 0 then, and OpenSSL's own verdict is left out; seen with version 3.4.2 and
/// certificates of 2020 and of 2040), so this machine's clock has no say in it.
const CLIENT: &str = r#"
use strict;
use warnings;
use JSON::PP;
use PVE::APIClient::LWP;
my ($host, $seconds, @fingerprints) = @ARGV;
my $password = <STDIN>;
chomp $password;
my $connect = sub {
    my $client = PVE::APIClient::LWP->new(
        username => 'root@pam',
        password => $password,
        cookie_name => 'PVEAuthCookie',
        protocol => 'https',
        host => $host,
        port => 8006,
        timeout => $seconds,
        cached_fingerprints => { $_[0] => 1 },
    );
    $client->login();
    return $client;
};
my $answer = eval {
    my $fingerprint = $fingerprints[0];
    my $client = eval { $connect->($fingerprint) };
    if (my $error = $@) {
        my ($shown) = "$error" =~ /fingerprint '([^']+)' not verified/;
        die $error if !defined($shown) || !grep { $_ eq $shown } @fingerprints;
        $fingerprint = $shown;
        $client = $connect->($fingerprint);
    }
    my $nodes = $client->get('/cluster/config/nodes');
    # Who of them is up. Without it the join goes on, only less careful.
    my $status = eval { $client->get('/cluster/status') } // [];
    my %answer = (nodes => $nodes, status => $status, fingerprint => $fingerprint);
    # A login with a ticket gives a new one.
    $answer{ticket} = $client->{ticket} if $password =~ /^PVE:/;
    return \%answer;
};
if (my $error = $@) {
    chomp $error;
    print "$error\n";
    exit 1;
}
print "cluster: ", JSON::PP->new->ascii->encode($answer), "\n";
"#;

/// What became of the question to a peer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it says of its cluster, or why it is of no use.
    pub cluster: Result<Listing, JoinVerdict>,
    /// Which of the pinned certificates it has.
    pub fingerprint: Option<String>,
    /// A new ticket for the one that was given, which is worth two hours from now.
    pub ticket: Option<Ticket>,
}

/// What a peer says of its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The cluster's nodes, in no order.
    pub nodes: Vec<Listed>,
    /// The version of its `corosync.conf`; `None` when the peer does not tell.
    pub version: Option<u64>,
    /// Whether the peer has quorum; `None` when it does not tell.
    pub quorate: Option<bool>,
}

/// A node in the cluster's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: String,
    /// Its address on its first link (`ring0_addr`).
    pub address: String,
    /// Its votes in the quorum.
    pub votes: u32,
    /// Whether the peer sees it; `None` when the peer does not tell.
    pub online: Option<bool>,
}

#[derive(Deserialize)]
struct Said {
    nodes: Vec<Node>,
    status: Vec<Status>,
    fingerprint: Option<String>,
    ticket: Option<Secret>,
}

/// An entry of `/cluster/config/nodes`; numbers come as texts.
#[derive(Deserialize)]
struct Node {
    name: Option<String>,
    node: String,
    quorum_votes: Option<Number>,
    /// `ring0_addr`, `ring1_addr` …, of which a cluster may lack the first, and more.
    #[serde(flatten)]
    more: BTreeMap<String, serde_json::Value>,
}

impl Node {
    fn first_address(&self) -> Option<&str> {
        let is_address = |key: &str| key.starts_with("ring") && key.ends_with("_addr");
        let (_, address) = self.more.iter().find(|(key, _)| is_address(key))?;
        address.as_str()
    }
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

/// Asks a peer for its cluster's nodes with the password or ticket `secret`, for the node `name`.
pub(crate) fn ask(peer: &Peer, secret: &str, name: &str) -> Result<Answer> {
    let mut args = vec![
        "-e".to_owned(),
        CLIENT.to_owned(),
        peer.address.to_string(),
        SILENCE.as_secs().to_string(),
    ];
    args.extend(peer.fingerprints.iter().map(Fingerprint::to_string));
    let command = PasswordCommand {
        program: "perl",
        folder: Path::new("/root"),
        args: &args,
        password: secret,
        limit: LIMIT,
        meanwhile: &|| None,
    };
    let output = command.run(&|_| {})?;
    Ok(parse_answer(&output).unwrap_or_else(|| Answer {
        cluster: Err(match output.trim() {
            "" => JoinVerdict::Unreachable(format!("no answer within {} s", LIMIT.as_secs())),
            _ => classify(&output, name),
        }),
        fingerprint: None,
        ticket: None,
    }))
}

/// The answer in what the client printed, if there is one.
pub(crate) fn parse_answer(output: &str) -> Option<Answer> {
    let line = output.lines().find_map(|line| line.strip_prefix(ANSWER));
    let said: Said = serde_json::from_str(line?).ok()?;
    let ticket = said.ticket.as_ref();
    Some(Answer {
        ticket: ticket.and_then(|ticket| Ticket::parse(ticket.reveal()).ok()),
        fingerprint: said.fingerprint.clone(),
        cluster: Ok(listing(said)),
    })
}

fn listing(said: Said) -> Listing {
    let cluster = said.status.iter().find(|state| state.r#type == "cluster");
    let of_cluster = |value: fn(&Status) -> &Option<Number>| value(cluster?).as_ref()?.value();
    let online = |name: &str| {
        let states = said.status.iter().filter(|state| state.r#type == "node");
        let mut own = states.filter(|state| state.name.as_deref() == Some(name));
        Some(own.next()?.online.as_ref()?.value()? == 1)
    };
    let version = of_cluster(|state| &state.version);
    let quorate = of_cluster(|state| &state.quorate).map(|value| value != 0);
    let nodes = said.nodes.into_iter().map(|node| {
        let address = node.first_address().unwrap_or_default().to_owned();
        let name = node.name.unwrap_or(node.node);
        let votes = node.quorum_votes.and_then(|votes| votes.value());
        Listed {
            online: online(&name),
            address,
            // corosync counts one where nothing is said.
            votes: votes.map_or(1, |votes| votes.try_into().unwrap_or(u32::MAX)),
            name,
        }
    });
    Listing {
        nodes: nodes.collect(),
        version,
        quorate,
    }
}

/// What is told of a peer that shows a certificate which is not among the pinned ones.
pub(crate) fn other_certificate(peer: &Peer, shown: &str) -> String {
    let address = &peer.address;
    match &peer.fingerprints[..] {
        [_] => JoinVerdict::WrongFingerprint(Some(shown.to_owned())).reason(address, ""),
        several => format!(
            "{address} has another certificate than any of the {} that the seed names: its \
             fingerprint is {shown}, and the seed has {}",
            several.len(),
            several.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str, votes: u32, online: Option<bool>) -> Listed {
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
        let listing = |output: &str| parse_answer(output).unwrap().cluster.unwrap();
        let expected = Listing {
            nodes: vec![
                node("alpha", "10.99.0.11", 1, Some(true)),
                node("beta", "10.99.0.12", 0, Some(false)),
            ],
            version: Some(2),
            quorate: Some(true),
        };
        assert_eq!(listing(&output), expected);
        // A peer that does not tell who is up (501 in transcript 23).
        let output = format!("cluster: {{\"nodes\":{nodes},\"status\":[]}}\n");
        let untold = listing(&output);
        assert_eq!(untold.nodes[0], node("alpha", "10.99.0.11", 1, None));
        assert_eq!((untold.version, untold.quorate), (None, None));
        let empty = parse_answer("cluster: {\"nodes\":[],\"status\":[]}\n").unwrap();
        assert_eq!(empty.cluster, Ok(Listing::default()));
        assert!(empty.ticket.is_none() && empty.fingerprint.is_none());
        let inquorate = status.replace("\"quorate\":1", "\"quorate\":0");
        let output = format!("cluster: {{\"nodes\":{nodes},\"status\":{inquorate}}}\n");
        assert_eq!(listing(&output).quorate, Some(false));
        assert!(parse_answer("401 authentication failure\n").is_none());
        assert!(parse_answer("cluster: [{\n").is_none());
    }

    #[test]
    fn a_peer_without_quorum_renews_the_ticket_all_the_same() {
        let output = "cluster: {\"fingerprint\":\"AA:BB\",\"nodes\":[],\"status\":[{\"quorate\":0,\
                      \"type\":\"cluster\"}],\"ticket\":\"PVE:root@pam:6B0844C3::rZ9\"}\n";
        let answer = parse_answer(output).unwrap();
        assert_eq!(answer.cluster.as_ref().unwrap().quorate, Some(false));
        assert_eq!(answer.fingerprint.as_deref(), Some("AA:BB"));
        assert_eq!(answer.ticket.as_ref().unwrap().made(), 0x6B0844C3);
        assert!(!format!("{answer:?}").contains("rZ9"));
    }

    #[test]
    fn a_cluster_without_link_0_is_known_by_its_first_one() {
        let nodes =
            r#"[{"node":"a","ring2_addr":"10.2.0.1","ring1_addr":"10.1.0.1","nodeid":"1"}]"#;
        let answer =
            parse_answer(&format!("cluster: {{\"nodes\":{nodes},\"status\":[]}}\n")).unwrap();
        let nodes = answer.cluster.unwrap().nodes;
        assert_eq!(nodes, [node("a", "10.1.0.1", 1, None)]);
    }
}
