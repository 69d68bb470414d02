//! One attempt to join: the machine's actions, carried out.

mod repair;

use super::machine::{self, Action, Entry, State};
use super::observe::observe;
use super::pass::Pass;
use super::race;
use super::refusals::Refusals;
use super::stale::{self, QuorumWait};
use crate::cluster::classify::{JoinVerdict, classify};
use crate::cluster::corosync::{self, Corosync};
use crate::cluster::own_address;
use crate::cluster::password_command::{self, PasswordCommand};
use crate::cluster::peers::Listed;
use crate::cluster::pmxcfs;
use crate::cluster::pvecm;
use crate::contract::seed::{Cluster, Peer};
use crate::step::{Context, RetryLater};
use crate::system::backoff;
use crate::system::{hosts, wait};
use anyhow::{Result, bail};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// How long pmxcfs may take when it was started again.
const RESTART_WAIT: Duration = Duration::from_secs(30);
/// In how many attempts of a boot a join of this lab that is under way, or was cut, is waited for. With
/// the standard pauses that is two or three minutes; a join takes less than one.
const POLITE: u32 = 4;
/// How long to wait before a refused password is given once more.
const SECOND_LOOK: Duration = Duration::from_secs(3);
/// How long the cluster may take to show a member that it has just added.
const SETTLE: Duration = Duration::from_secs(30);
/// How often others may be faster in one attempt.
const MOST_ROUNDS: u32 = 8;
/// More actions than any way through the machine has; then it runs in a circle.
const MOST_ACTIONS: usize = 16;

pub(super) struct Attempt<'a> {
    context: &'a Context<'a>,
    cluster: &'a Cluster,
    /// The peers that have not failed in this attempt.
    candidates: VecDeque<&'a Peer>,
    /// The peer that has answered, and what it says of this node.
    answered: Option<(&'a Peer, Entry)>,
    /// Which of its certificates that peer has shown.
    shown: Option<String>,
    /// What lets this node in.
    pass: Pass<'a>,
    /// The names of the cluster's nodes as they were when this attempt was spread.
    seen: Option<BTreeSet<String>>,
    /// How often it was spread, because others were faster.
    rounds: u32,
    /// Why the peers so far were of no use.
    refusals: Refusals,
    /// What this attempt has done for the join.
    done: Option<String>,
    /// What was tried and left nothing better.
    tried: Vec<&'static str>,
    /// Why corosync could not be brought back by other members.
    left_behind: Option<String>,
    /// Whether this machine's address is known to be its own.
    alone: bool,
}

impl<'a> Attempt<'a> {
    /// Begins with the first peer.
    pub(super) fn new(context: &'a Context<'a>, cluster: &'a Cluster) -> Result<Self> {
        let instance = &context.seed.meta_data.instance_id;
        let pass = Pass::new(context.root, instance, &cluster.credential, context.log)?;
        Ok(Attempt {
            context,
            cluster,
            candidates: cluster.peers.iter().collect(),
            answered: None,
            shown: None,
            pass,
            seen: None,
            rounds: 0,
            refusals: Refusals::default(),
            done: None,
            tried: Vec::new(),
            left_behind: None,
            alone: false,
        })
    }

    /// The cluster's name, and what was done for it. The error is a [`RetryLater`] where time may
    /// help.
    pub(super) fn join(mut self) -> Result<(String, Option<String>)> {
        password_command::end_leftovers();
        // At a boot it may still be on its way up; later nobody but this program starts it.
        let limit = match self.context.attempt {
            1 => pmxcfs::MOUNT_WAIT,
            _ => Duration::from_secs(3),
        };
        self.wait_until(limit, |state| *state != State::NoFileSystem)?;
        for _ in 0..MOST_ACTIONS {
            let state = self.state()?;
            let entry = self.answered.as_ref().map(|(_, entry)| entry);
            let action = machine::next(&state, entry);
            if matches!(action, Action::Ask | Action::BringBack | Action::Add { .. }) {
                self.must_be_alone()?;
            }
            match action {
                Action::Done => {
                    let State::Member(cluster) = state else {
                        bail!("the join ended in the state {state:?}, which is a bug in firstboot");
                    };
                    return Ok((cluster, self.done));
                }
                Action::Refuse(why) => bail!(why),
                Action::Doubt(why) => {
                    let peer = self.answered.take().map(|(peer, _)| peer.address.as_str());
                    let reason = format!("{} says: {why}", peer.unwrap_or("a peer"));
                    self.refusals.note(reason, Some(Duration::ZERO));
                }
                Action::Ask => self.ask()?,
                Action::BringBack => self.bring_back()?,
                Action::Add { force } => {
                    if force && !is_left_behind(&state) {
                        pvecm::no_guests(self.context.root)?;
                    }
                    self.add(force)?;
                }
                Action::Wait => self.wait_for_quorum()?,
                Action::StartFileSystem => {
                    self.once("start", not_mounted(&self.context.name), || {
                        let root = self.context.root;
                        root.query("systemctl", &["reset-failed", "pve-cluster"])?;
                        root.query("systemctl", &["start", "pve-cluster"]).map(drop)
                    })?
                }
                Action::RestartFileSystem => self.once("restart", state.words(), || {
                    let root = self.context.root;
                    root.query("systemctl", &["restart", "pve-cluster"])
                        .map(drop)
                })?,
                Action::RenewCertificate => self.renew_certificate(&state)?,
            }
        }
        Err(RetryLater::because(format!(
            "the join makes no progress: {}",
            self.state()?.words()
        ))
        .into())
    }

    fn state(&self) -> Result<State> {
        let observed = observe(self.context.root, &self.context.name)?;
        Ok(State::of(&observed, &self.context.name))
    }

    /// Looks again and again until the state is the wanted one or the time is over.
    fn wait_until(&self, limit: Duration, wanted: impl Fn(&State) -> bool) -> Result<State> {
        let every = Duration::from_secs(1);
        wait::until(limit, every, || self.state(), wanted)
    }

    /// Looks once in an attempt whether another machine has this one's address: before it speaks to
    /// anybody with it.
    fn must_be_alone(&mut self) -> Result<()> {
        if self.alone {
            return Ok(());
        }
        let root = self.context.root;
        let links = self.links()?.into_iter().map(|(_, address)| address);
        let mut addresses: Vec<IpAddr> = links.collect();
        if addresses.is_empty() {
            addresses.extend(self.own_address()?);
        }
        match own_address::conflict(root, &addresses) {
            Ok(Some(words)) => return Err(RetryLater::because(words).into()),
            Ok(None) => {}
            // Nothing speaks for another one.
            Err(error) => (self.context.log)(&format!(
                "whether another machine has this one's address cannot be asked: {error:#}"
            )),
        }
        self.alone = true;
        own_address::forget(root)
    }

    /// Asks the candidates in turn for the list of nodes, until one answers.
    fn ask(&mut self) -> Result<()> {
        if let (Err(gone), Some(before)) = (self.pass.secret(&self.context.name), &self.left_behind)
        {
            // Another member may be switched on, and know the way back.
            return Err(RetryLater::because(format!("{before}. And {gone}")).into());
        }
        while let Some(peer) = self.candidates.pop_front() {
            let mut answer = self.pass.ask(peer, &self.context.name)?;
            if answer.cluster == Err(JoinVerdict::WrongPassword) {
                // It ends the join, so a peer that was only overloaded is given another chance.
                std::thread::sleep(SECOND_LOOK);
                answer = self.pass.ask(peer, &self.context.name)?;
            }
            self.shown = answer.fingerprint;
            let listing = match answer.cluster {
                Ok(listing) => listing,
                Err(verdict) => {
                    self.refused(peer, &verdict)?;
                    continue;
                }
            };
            stale::stop(self.context, peer, &listing)?;
            // A peer without quorum adds nobody and repairs nobody.
            if listing.quorate == Some(false) {
                stale::lend_vote(self.context, &listing)?;
                self.refused(peer, &JoinVerdict::NoQuorum)?;
                continue;
            }
            let entry = Entry::of(&listing.nodes, &self.context.name, self.own_address()?);
            if entry == Entry::Absent && !self.my_turn(peer, &listing.nodes)? {
                continue;
            }
            self.answered = Some((peer, entry));
            return Ok(());
        }
        Err(self.refusals.no_peer_left(&self.context.name))
    }

    /// Whether a node that the cluster does not know yet may be added now. The PCs of a room are
    /// switched on together; of nodes that join at the same moment all but one are left behind,
    /// with a vote that is missing until they are repaired. So each listens before it speaks: it
    /// waits for a moment of its own, and then asks once more whether somebody was faster.
    fn my_turn(&mut self, peer: &'a Peer, nodes: &[Listed]) -> Result<bool> {
        if let Some(why) = race::no_room(nodes) {
            let reason = format!("{} says: {why}", peer.address);
            return Err(RetryLater::because(reason).into());
        }
        let unfinished = race::unfinished(nodes, &self.cluster.lab);
        let is_polite = self.cluster.votes == Some(0) && self.context.attempt <= POLITE;
        if is_polite && !unfinished.is_empty() {
            let names = unfinished.join(", ");
            return Err(RetryLater::because(format!(
                "one after the other: the join of {names} is under way, or was cut"
            ))
            .into());
        }
        // The API gives them in a new order each time (seen: transcripts 22 and 23).
        let names: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
        if self.seen.as_ref() == Some(&names) {
            return Ok(true);
        }
        self.seen = Some(names);
        if self.rounds == MOST_ROUNDS {
            return Err(RetryLater::because(
                "other nodes are joining at the same time, and were faster",
            )
            .into());
        }
        self.rounds += 1;
        self.spread();
        self.candidates.push_front(peer);
        Ok(false)
    }

    /// Waits for a moment of this node's own.
    fn spread(&self) {
        let spread = self.cluster.retry.spread as f64 * backoff::chance();
        std::thread::sleep(Duration::from_secs_f64(spread));
    }

    /// The address that this node has, or is to have, on the cluster's first link: the seed's, but
    /// where it keeps the one that its cluster knows.
    fn own_address(&self) -> Result<Option<IpAddr>> {
        let root = self.context.root;
        let hosts = root.read_text(hosts::FILE)?.unwrap_or_default();
        let there = hosts::address_of(&hosts, &self.context.name);
        Ok(match self.context.identity_locked {
            Some(_) => there.or(self.context.address()),
            None => self.context.address().or(there),
        })
    }

    /// What is given to pvecm; without one it takes what the name stands for, which DHCP gave.
    fn links(&self) -> Result<Vec<(u8, IpAddr)>> {
        let own = match self.context.address() {
            Some(_) => self.own_address()?,
            None => None,
        };
        Ok(pvecm::links(self.cluster, own))
    }

    /// Lets pvecm join through the peer that has answered.
    fn add(&mut self, force: bool) -> Result<()> {
        let Some((peer, _)) = self.answered.take() else {
            return Ok(());
        };
        if force {
            // Those that were left behind by the same join do not come back in the same moment.
            self.spread();
            (self.context.log)("repairing an earlier join of this node that was cut");
        }
        let root = self.context.root;
        self.let_the_boot_settle(force)?;
        let busy = self.services()?;
        corosync::release(root)?;
        // From now on `failed` means that it has failed in this join.
        root.query("systemctl", &["reset-failed", "corosync"])?;
        let mut waiting = QuorumWait::new(self.context, self.cluster, vec![peer]).with_services();
        if corosync::state(root)? == Corosync::Active {
            waiting = waiting.over_a_running_corosync();
        }
        let fingerprint = self.shown.take().unwrap_or_default();
        let command = PasswordCommand {
            program: "pvecm",
            folder: Path::new("/root"),
            args: &pvecm::arguments(peer, &fingerprint, &self.links()?, force),
            password: self.pass.secret(&self.context.name)?.reveal(),
            limit: self.cluster.retry.attempt_limit(),
            // pvecm waits for quorum without end.
            meanwhile: &|| waiting.look(),
        };
        let verdict = classify(&command.run(self.context.log)?, &self.context.name);
        drop(busy);
        // pvecm and pmxcfs do not wait for the disk, and the password is removed after this.
        rustix::fs::sync();
        if verdict == JoinVerdict::WrongPassword {
            let reason = format!(
                "{} accepted the {} at first and then refused it",
                peer.address,
                self.pass.word()
            );
            return Err(RetryLater::because(reason).into());
        }
        if verdict != JoinVerdict::Added {
            self.refused(peer, &verdict)?;
            return Ok(());
        }
        self.done = Some(match force {
            true => format!("through {}, an earlier join repaired", peer.address),
            false => format!("through {}", peer.address),
        });
        match self.wait_until(SETTLE, |state| matches!(state, State::Member(_)))? {
            State::NoFileSystem | State::Alone | State::HalfJoined | State::LeftBehind { .. } => {
                Err(RetryLater::because(format!(
                    "pvecm says that it added {} through {}, but this node is not a member: {}",
                    self.context.name,
                    peer.address,
                    self.state()?.words()
                ))
                .into())
            }
            _ => Ok(()),
        }
    }

    /// Notes why a peer was of no use. The error ends the attempt: no other peer would do better.
    fn refused(&mut self, peer: &Peer, verdict: &JoinVerdict) -> Result<()> {
        let name = &self.context.name;
        if let Some(end) = self.pass.end(verdict, name) {
            return Err(end);
        }
        let (reason, after) = self.pass.explain(verdict, peer, name);
        self.refusals.note(reason, after.patience);
        match (after.other_peer, after.patience) {
            (true, _) => Ok(()),
            (false, None) => Err(self.refusals.end(&self.context.name)),
            (false, Some(_)) => Err(self.refusals.later()),
        }
    }
}

fn is_left_behind(state: &State) -> bool {
    matches!(state, State::LeftBehind { .. })
}

/// Why pmxcfs may not run.
pub(super) fn not_mounted(name: &str) -> String {
    format!(
        "the cluster file system is not mounted at /etc/pve. It does not start when /etc/hosts \
         gives {name} no address, or 127.0.1.1; see journalctl -u pve-cluster"
    )
}
