//! The join as a state machine: from what is observed to the next action.
//!
//! Nothing here reads or writes anything; `observe` looks, `attempt` acts. What
//! each state looks like was seen on a running cluster of pvecm 9.1.6, whose output and files the
//! tests below are made of.
//!
//! # States
//!
//! | state | authkey | /etc/pve/corosync.conf | `.members` | corosync |
//! | --- | --- | --- | --- | --- |
//! | `NoFileSystem` | any | cannot be read | cannot be read | any |
//! | `OtherName` | no | no | another `nodename` | any |
//! | `Alone` | no | no | no `cluster` | any |
//! | `HalfJoined` | yes | no, empty or unreadable | no `cluster` | any (active after a reboot) |
//! | `HalfJoined` | there, and none | any | not quorate, or not online | any (active with zeros for a key, which no member has) |
//! | `LeftBehind` | either is there | | not quorate, or none | failed or stopped |
//! | `Waiting` | either is there | | not quorate, or not online | active |
//! | `NoCertificate` | any | yes | quorate, online | any; the certificate does not verify |
//! | `Member` | any | yes | quorate, online | any; the certificate verifies |
//!
//! # Transitions
//!
//! "Entry" is what the cluster's list of nodes, asked of a peer, says of this node.
//!
//! | state | entry | action | row of "joins that go wrong" |
//! | --- | --- | --- | --- |
//! | `NoFileSystem` | – | reset and start pve-cluster | the name resolved to nothing or to 127.0.1.1 |
//! | `OtherName` | – | restart pve-cluster | a database of an old name slipped in |
//! | `Alone` | absent | add | – |
//! | `Alone` | own | add `--force` | died after the peer added it, before its own authkey; lost response |
//! | `Alone`, `HalfJoined`, `LeftBehind` | running | another peer, then later | the VM was started twice |
//! | `HalfJoined` | absent, own | add `--force` | died after authkey, before the new database; rebooted before the repair |
//! | `LeftBehind` | – | bring corosync back with the newest configuration, else ask | a member was off while others joined |
//! | `LeftBehind` | own | add `--force` | two nodes at once: its corosync stopped for good |
//! | `LeftBehind`, with the cluster's database | absent | another peer, then later | it was deleted; or this peer knows an old state only |
//! | `LeftBehind`, without it | absent | add `--force` | the member that added it lost its quorum at that moment, and the cluster never heard of it |
//! | any of these | other's | refuse | another machine has this name, or this address |
//! | `Waiting` | – | wait; where a peer has a newer configuration, corosync is stopped (`stale`) | died while waiting for quorum; UDP 5405 blocked; a majority is off; others joined |
//! | `NoCertificate` | – | a key that is none removed, `pvecm updatecerts --force` | quorum came after the join had died; a cut while the key was made |
//! | `Member` | – | done | – |
//!
//! What `pvecm add` says decides how to go on ([`after`]):
//!
//! | verdict | another peer | then |
//! | --- | --- | --- |
//! | added | no | look again |
//! | peer does not answer (off, black hole, port closed) | yes | later |
//! | peer has no quorum, or is in no cluster | yes | later |
//! | the peer says something that is not known here | no | later |
//! | connection broke after the request | no | later (the entry then tells) |
//! | name taken meanwhile | no | later (the entry then tells) |
//! | a lock is held or was left behind | no | later, 130 s at least |
//! | ended while waiting for quorum | no | later |
//! | pmxcfs is down, own name does not resolve, link address not there yet | no | later |
//! | anything unknown | no | later |
//! | wrong fingerprint, wrong password (root's is each node's own) | yes | final, where no other peer gives hope |
//! | two factors wanted, other links than the cluster's, guests on this node, wrong usage | no | final |

use crate::cluster::classify::JoinVerdict;
use crate::cluster::corosync::Corosync;
use crate::cluster::members::Members;
use crate::cluster::peers::Listed;
use crate::cluster::pmxcfs::LOCK_GONE;
use std::net::IpAddr;
use std::time::Duration;

/// Everything that the state follows from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    /// pmxcfs's `.members`; `None` when it is not mounted.
    pub members: Option<Members>,
    /// `/etc/corosync/authkey` is there.
    pub authkey: bool,
    /// It is no key: its bytes never reached the disk.
    pub torn_key: bool,
    /// `/etc/pve/corosync.conf` is there and can be read.
    pub cluster_conf: bool,
    /// The cluster's database came to this node once: `/etc/pve/nodes` is there. A node that was
    /// added, and never had quorum, has none (transcript 16c).
    pub database: bool,
    pub corosync: Corosync,
    /// Why the node's certificate does not verify against the cluster's authority; only looked
    /// at where everything else is right.
    pub certificate: Option<String>,
}

/// How far this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    NoFileSystem,
    /// pmxcfs runs under this name, and in no cluster.
    OtherName(String),
    /// In no cluster, and nothing of a join is there.
    Alone,
    /// A join was cut before this node had the cluster's database.
    HalfJoined,
    /// It was added, and its corosync has stopped for good.
    LeftBehind {
        /// Whether it has been a part of the cluster, and has its database.
        has_database: bool,
    },
    /// It was added, and waits for quorum; what is missing.
    Waiting(String),
    /// All but the certificate, and what is wrong with that.
    NoCertificate(String),
    /// All is proven; the cluster's name.
    Member(String),
}

impl State {
    /// The state of the node `name`.
    pub(crate) fn of(observed: &Observed, name: &str) -> State {
        let Some(members) = &observed.members else {
            return State::NoFileSystem;
        };
        if !observed.authkey && !observed.cluster_conf && members.cluster.is_none() {
            return match members.nodename == name {
                true => State::Alone,
                false => State::OtherName(members.nodename.clone()),
            };
        }
        let torn = observed.torn_key && members.online_in(name).is_err();
        if torn || !observed.cluster_conf && members.cluster.is_none() {
            return State::HalfJoined;
        }
        let missing = match (members.online_in(name), observed.corosync) {
            (Ok(cluster), _) => {
                return match &observed.certificate {
                    None => State::Member(cluster),
                    Some(why) => State::NoCertificate(why.clone()),
                };
            }
            (Err(missing), Corosync::Active) => missing,
            (Err(_), Corosync::Inactive | Corosync::Failed) => {
                return State::LeftBehind {
                    has_database: observed.database,
                };
            }
        };
        State::Waiting(missing)
    }

    /// It in a few words, for the status.
    pub(crate) fn words(&self) -> String {
        match self {
            State::NoFileSystem => "pmxcfs does not run".to_owned(),
            State::OtherName(other) => format!("pmxcfs runs under the name {other}"),
            State::Alone => "in no cluster".to_owned(),
            State::HalfJoined => "an earlier join was cut half-way".to_owned(),
            State::LeftBehind { .. } => {
                "an earlier join left corosync behind: it has stopped".to_owned()
            }
            State::Waiting(missing) => format!("added, and waiting: {missing}"),
            State::NoCertificate(_) => "in the cluster, without a certificate from it".to_owned(),
            State::Member(cluster) => format!("member of {cluster}"),
        }
    }
}

/// What the cluster's list of nodes says of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Neither its name nor its address is there.
    Absent,
    /// Its name is there, with its own address: an earlier join of this node was cut.
    Own,
    /// The same, and the cluster sees that node at work, which this one is not.
    Running,
    /// Its name is there with another address, or its address under another name; in words.
    Others(String),
}

impl Entry {
    /// Looks for the node `name` with the link address `own`.
    pub(crate) fn of(nodes: &[Listed], name: &str, own: Option<IpAddr>) -> Entry {
        let is_own = |node: &Listed| own.is_some() && node.address.parse().ok() == own;
        if let Some(node) = nodes.iter().find(|node| node.name == name) {
            return match is_own(node) {
                true if node.online == Some(true) => Entry::Running,
                true => Entry::Own,
                false => Entry::Others(format!(
                    "the cluster has a node {name} already, at {}, and this machine has {}",
                    node.address,
                    own.map_or_else(|| "no static address".to_owned(), |own| own.to_string()),
                )),
            };
        }
        match nodes.iter().find(|node| is_own(node)) {
            Some(node) => Entry::Others(format!(
                "the cluster knows the address {} as that of its node {}, and this machine is {name}",
                node.address, node.name
            )),
            None => Entry::Absent,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Let systemd start pmxcfs again.
    StartFileSystem,
    /// Let pmxcfs take up the machine's name.
    RestartFileSystem,
    /// Ask a peer for the list of nodes.
    Ask,
    /// Take the cluster's newest configuration from another member, and start corosync; where
    /// that was tried already, ask.
    BringBack,
    /// `pvecm add`; with `force` where an earlier join of this very node is to be repaired.
    Add {
        force: bool,
    },
    Wait,
    /// `pvecm updatecerts`.
    RenewCertificate,
    /// Nothing is left to do.
    Done,
    /// This peer's word is not enough to go on: another one, then later.
    Doubt(String),
    /// Never go on by itself, for this reason.
    Refuse(String),
}

/// The next action in a state; `entry` is what the peer said in this attempt.
pub(crate) fn next(state: &State, entry: Option<&Entry>) -> Action {
    match (state, entry) {
        (State::NoFileSystem, _) => Action::StartFileSystem,
        (State::OtherName(_), _) => Action::RestartFileSystem,
        (State::Waiting(_), _) => Action::Wait,
        (State::NoCertificate(_), _) => Action::RenewCertificate,
        (State::Member(_), _) => Action::Done,
        (State::Alone | State::HalfJoined, None) => Action::Ask,
        (State::LeftBehind { .. }, None) => Action::BringBack,
        // Such a node is seen as offline: its pmxcfs takes no part. So it is another machine, or
        // this one a moment ago, before its power went.
        (_, Some(Entry::Running)) => Action::Doubt(
            "the cluster sees a machine with this name and address at work. If this VM was started \
             on two PCs, stop one of them"
                .to_owned(),
        ),
        (_, Some(Entry::Others(why))) => Action::Refuse(format!(
            "{why}. Give this machine another name or address, or remove that node from the \
             cluster; nothing was changed there"
        )),
        (State::Alone, Some(Entry::Absent)) => Action::Add { force: false },
        (State::Alone | State::LeftBehind { .. }, Some(Entry::Own)) => Action::Add { force: true },
        (State::HalfJoined, Some(_)) => Action::Add { force: true },
        // It has never been a member, so nobody has removed it, and no peer is behind.
        (
            State::LeftBehind {
                has_database: false,
            },
            Some(Entry::Absent),
        ) => Action::Add { force: true },
        // A peer that was off meanwhile, and has no quorum yet, says the same as the cluster says
        // of a node that was deleted. Neither gets --force.
        (State::LeftBehind { .. }, Some(Entry::Absent)) => Action::Doubt(
            "the cluster no longer lists this node. If it was removed, its disk must not come \
             back: for a new node of this name delete the VM's disk on the host and seed again"
                .to_owned(),
        ),
    }
}

/// How to go on after a `pvecm add`, or after a question to a peer, that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct After {
    /// Whether another peer may do better.
    pub other_peer: bool,
    /// The shortest pause before the next attempt; `None` means never by itself.
    pub patience: Option<Duration>,
}

/// The transition for a verdict; see the table above.
pub(crate) fn after(verdict: &JoinVerdict) -> After {
    let (other_peer, patience) = match verdict {
        JoinVerdict::Unreachable(_)
        | JoinVerdict::NotVerified(_)
        | JoinVerdict::NoQuorum
        | JoinVerdict::NoCluster => (true, Some(Duration::ZERO)),
        JoinVerdict::WrongFingerprint(_) | JoinVerdict::WrongPassword => (true, None),
        JoinVerdict::Locked(_) => (false, Some(LOCK_GONE)),
        JoinVerdict::NoPassword
        | JoinVerdict::TwoFactor
        | JoinVerdict::Usage(_)
        | JoinVerdict::Links(_) => (false, None),
        JoinVerdict::Refused(findings) if findings.iter().any(|f| f.contains("virtual guests")) => {
            (false, None)
        }
        JoinVerdict::Added
        | JoinVerdict::Lost(_)
        | JoinVerdict::NameTaken
        | JoinVerdict::NoFileSystem
        | JoinVerdict::OwnName(_)
        | JoinVerdict::Refused(_)
        | JoinVerdict::PeerSays(_)
        | JoinVerdict::Interrupted { .. }
        | JoinVerdict::Unknown(_) => (false, Some(Duration::ZERO)),
    };
    After {
        other_peer,
        patience,
    }
}

#[cfg(test)]
mod tests;
