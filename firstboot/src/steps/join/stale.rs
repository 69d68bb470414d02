//! A corosync whose configuration is older than the cluster's, on a node that is not a member yet.
//!
//! No member lets it in by ssh, so it is the cluster's API that tells of a newer version. Such a
//! corosync may stay, and disturbs all others for as long as it runs (transcript 28): it is stopped at
//! once, and the join is repaired.

use super::machine::Observed;
use super::observe::observe;
use super::pass::Pass;
use crate::cluster::corosync::{self, Corosync};
use crate::cluster::peers::{Answer, Listing};
use crate::cluster::pmxcfs::{self, LAG};
use crate::cluster::votes;
use crate::contract::seed::{Cluster, Peer};
use crate::step::Context;
use crate::system::root::Root;
use anyhow::{Error, Result};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// How long corosync may be without quorum before a peer is asked.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a peer is asked. It costs the start of perl here, and an answer there.
const PAUSE: Duration = Duration::from_secs(15);

/// Stops a corosync that runs with an older configuration than the peer's cluster has; says whether it
/// did.
pub(super) fn stop(context: &Context, peer: &Peer, listing: &Listing) -> Result<bool> {
    let root = context.root;
    let Some((own, theirs)) = older(root, listing) else {
        return Ok(false);
    };
    if corosync::state(root)? != Corosync::Active {
        return Ok(false);
    }
    corosync::hold(root, true)?;
    (context.log)(&format!(
        "corosync ran with version {own} of its configuration, and the cluster of {} has version \
         {theirs}: stopped, so that it disturbs nobody before the join is repaired",
        peer.address
    ));
    Ok(true)
}

/// The own version and the cluster's, where the own one is older.
fn older(root: &Root, listing: &Listing) -> Option<(u64, u64)> {
    let (own, theirs) = (
        corosync::effective_conf(root).ok()?.version,
        listing.version?,
    );
    (own < theirs).then_some((own, theirs))
}

/// Starts corosync on a node whose join was cut, where the peer's cluster has no quorum and the same
/// configuration: this node's vote may be the one that is missing.
pub(super) fn lend_vote(context: &Context, listing: &Listing) -> Result<()> {
    let root = context.root;
    let same = corosync::own_conf(root).is_ok_and(|own| Some(own.version) == listing.version);
    if listing.quorate == Some(false) && same && corosync::state(root)? == Corosync::Inactive {
        (context.log)("corosync is started: the cluster has no quorum, and this node has a vote");
        corosync::release(root)?;
        root.systemctl(&["start", "corosync"])?;
    }
    Ok(())
}

/// What is looked after while a node waits for quorum, in `pvecm add` and after it.
pub(super) struct QuorumWait<'a> {
    context: &'a Context<'a>,
    cluster: &'a Cluster,
    peers: Vec<&'a Peer>,
    ask_after: Cell<Instant>,
    voted: Cell<bool>,
    vote_after: Cell<Instant>,
    /// Whether the caller has the right to start and stop corosync.
    has_services: bool,
    /// The version that a corosync has which ran before pvecm was started.
    runs_with: Cell<Option<u64>>,
    /// Since when corosync has quorum, and pmxcfs takes no part in it.
    hangs_since: Cell<Option<Instant>>,
    /// Why nothing can be learned of the cluster any more.
    refused: RefCell<Option<Error>>,
}

impl<'a> QuorumWait<'a> {
    /// From now on; `peers` are asked in turn until one answers.
    pub(super) fn new(
        context: &'a Context<'a>,
        cluster: &'a Cluster,
        peers: Vec<&'a Peer>,
    ) -> Self {
        QuorumWait {
            context,
            cluster,
            peers,
            ask_after: Cell::new(Instant::now() + PATIENCE),
            voted: Cell::new(false),
            vote_after: Cell::new(Instant::now()),
            has_services: false,
            runs_with: Cell::new(None),
            hangs_since: Cell::new(None),
            refused: RefCell::new(None),
        }
    }

    /// The same, for a caller that has the right to start and stop corosync; see
    /// [`services`](corosync::services).
    pub(super) fn with_services(mut self) -> Self {
        self.has_services = true;
        self
    }

    /// The same, over a corosync that runs already, with this node's configuration of now. pvecm only
    /// starts corosync, which leaves one that runs as it is, and then waits for ever. It is not stopped
    /// before, because its vote may be the one that gives the peer its quorum.
    pub(super) fn over_a_running_corosync(self) -> Self {
        let own = corosync::own_conf(self.context.root).ok();
        self.runs_with.set(Some(own.map_or(0, |own| own.version)));
        self
    }

    /// Starts corosync again when pvecm has written a newer configuration under it.
    fn restart_with_the_new_one(&self) {
        let (Some(before), root) = (self.runs_with.get(), self.context.root) else {
            return;
        };
        if corosync::own_conf(root).is_ok_and(|own| own.version > before) {
            self.runs_with.set(None);
            (self.context.log)(
                "corosync is started again, with the configuration that pvecm wrote",
            );
            // What it fails with is seen in corosync's own state.
            let _ = root.query("systemctl", &["restart", "corosync"]);
        }
    }

    /// Once every few seconds: gives the vote back as soon as that is possible, and looks whether
    /// waiting makes sense. The reason why it does not, where that is so; corosync has stopped then.
    pub(super) fn look(&self) -> Option<String> {
        let (context, root) = (self.context, self.context.root);
        self.restart_with_the_new_one();
        let observed = observe(root, &context.name).ok()?;
        if observed.authkey && observed.corosync == Corosync::Failed {
            return Some("corosync has stopped".to_owned());
        }
        let members = observed.members.as_ref();
        if members.is_some_and(|members| members.online_in(&context.name).is_ok()) {
            self.give_vote_back();
            return None;
        }
        let busy = match self.has_services {
            true => None,
            // Whoever watches may be mending it at this moment.
            false => Some(corosync::services(root, Duration::ZERO)?),
        };
        self.restart_what_hangs(&observed);
        if observed.corosync != Corosync::Active || Instant::now() < self.ask_after.get() {
            return None;
        }
        let stopped = self.peers.iter().any(|peer| {
            let listing = self.ask(peer).and_then(|answer| answer.cluster.ok());
            listing.is_some_and(|listing| stop(context, peer, &listing).unwrap_or(false))
        });
        drop(busy);
        self.ask_after.set(Instant::now() + PAUSE);
        stopped.then(|| "the cluster's configuration is newer: another node joined".to_owned())
    }

    /// A peer's answer, where there is anything left to ask it with.
    fn ask(&self, peer: &Peer) -> Option<Answer> {
        let (context, credential) = (self.context, &self.cluster.credential);
        let instance = &context.seed.meta_data.instance_id;
        let mut pass = Pass::new(context.root, instance, credential, context.log).ok()?;
        let answer = pass.ask(peer, &context.name).ok()?;
        if let Err(verdict) = &answer.cluster {
            if let Some(end) = pass.end(verdict, &context.name) {
                self.refused.replace(Some(end));
            }
        }
        Some(answer)
    }

    /// Why the join is to end, where waiting has brought nothing and no peer tells anything any more, as
    /// when the ticket has expired. corosync is stopped then: whether it is stale cannot be known.
    pub(super) fn abort_if(&self) -> Option<Error> {
        let end = self.refused.take()?;
        let _ = corosync::hold(self.context.root, true);
        Some(end)
    }

    /// As the watcher does it for a whole member.
    fn restart_what_hangs(&self, observed: &Observed) {
        let root = self.context.root;
        let hangs = observed.corosync == Corosync::Active
            && observed.members.is_some()
            && observed.cluster_conf
            && corosync::has_quorum(root)
            && root.is_active("pve-cluster").unwrap_or(false);
        if !hangs {
            return self.hangs_since.set(None);
        }
        let since = self.hangs_since.get().unwrap_or_else(Instant::now);
        self.hangs_since.set(Some(since));
        if since.elapsed() >= LAG {
            (self.context.log)(&pmxcfs::restart(root));
            self.hangs_since.set(None);
        }
    }

    /// A node that is cut with a vote is one that the others miss; see [`crate::cluster::cut_joins`].
    fn give_vote_back(&self) {
        let is_due = !self.voted.get() && Instant::now() >= self.vote_after.get();
        let Some(votes) = self.cluster.votes.filter(|_| is_due) else {
            return;
        };
        match votes::claim(self.context, votes) {
            Ok(Some(was)) => {
                self.voted.set(true);
                (self.context.log)(&format!("votes: {was} -> {votes}"));
            }
            Ok(None) => self.voted.set(true),
            // The step `votes` tells, and waits for what is missing. Others want the lock, too.
            Err(_) => self.vote_after.set(Instant::now() + PAUSE),
        }
    }
}
