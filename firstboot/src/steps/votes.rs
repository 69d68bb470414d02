//! `votes`: this node has the votes in the cluster's quorum that the seed says.
//!
//! `pvecm add --votes 0` leaves one vote; only `quorum_votes` in `corosync.conf` counts. The step
//! ends when corosync itself counts the new votes.

use crate::cluster::corosync_conf::store::{FILE, Pmxcfs, Store};
use crate::cluster::votes::{counted, holds, set_votes};
use crate::cluster::{cut_joins, pmxcfs};
use crate::step::{Context, Outcome, RetryLater};
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};

/// How often it is looked at whether the change is still there once corosync counts it.
const ROUNDS: usize = 3;
/// How long corosync may take before it is told to read its file again. pmxcfs tells it one
/// second after the change, which may be before another node has the file.
const RELOAD_AFTER: Duration = Duration::from_secs(10);
/// How long corosync may take in all.
const COUNT_WAIT: Duration = Duration::from_secs(30);

/// Sets the votes, and waits until they count.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let Some(votes) = context.seed.cluster().and_then(|c| c.votes) else {
        return Ok(Outcome::unchanged_because("no votes in the seed"));
    };
    if !context.root.is_live() {
        return Ok(Outcome::unchanged_because("not the running machine"));
    }
    if !pmxcfs::is_member(context)? {
        return Ok(Outcome::unchanged_because("this node is in no cluster"));
    }
    if let Some(cluster) = context.seed.cluster() {
        cut_joins::remember(context.root, cluster)?;
    }
    let store = Pmxcfs::new(context.root);
    let mut before = None;
    for _ in 0..ROUNDS {
        let up = counted(context)?.others;
        let was = set_votes(&store, &context.name, votes, up)?;
        before = before.or(was);
        wait_until_counted(context, &store, votes)?;
        if holds(&store, &context.name, votes)? {
            return Ok(match before {
                Some(was) => Outcome::changed(format!("{was} -> {votes}, as corosync counts them")),
                None => Outcome::unchanged_because(format!("{votes}, as corosync counts them")),
            });
        }
    }
    Err(RetryLater::because(format!(
        "{FILE} did not keep the votes of this node: others keep changing it"
    ))
    .into())
}

/// Ends early when the file does not hold the votes any more: others have written over it.
fn wait_until_counted(context: &Context, store: &dyn Store, votes: u32) -> Result<()> {
    let start = Instant::now();
    let mut reloaded = false;
    loop {
        let seen = counted(context).map(|count| count.own);
        if matches!(seen, Ok(own) if own == votes) || !holds(store, &context.name, votes)? {
            return Ok(());
        }
        if start.elapsed() > COUNT_WAIT {
            let seen = match seen {
                Ok(own) => format!("corosync counts {own} votes of this node, not {votes}"),
                Err(error) => format!("{error:#}"),
            };
            return Err(RetryLater::because(format!(
                "{seen}, {} s after {FILE} says so; see journalctl -u corosync",
                COUNT_WAIT.as_secs()
            ))
            .into());
        }
        if start.elapsed() > RELOAD_AFTER && !reloaded {
            reloaded = true;
            (context.log)("corosync is told to read its configuration again");
            context
                .root
                .run("corosync-cfgtool", &["-R"], b"")
                .context("corosync does not read its configuration again")
                .map_err(|error| RetryLater::because(format!("{error:#}")))?;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
