//! The votes of nodes in the cluster's `corosync.conf`, changed under the lock that Proxmox's own
//! changes take, so that no join is lost.

use crate::cluster::corosync_conf::store::{FILE, Pmxcfs, Store};
use crate::cluster::corosync_conf::{self, Conf, Problem};
use crate::cluster::pmxcfs::{LOCK_GONE, retry_if_passing};
use crate::cluster::quorum::{self, Count};
use crate::step::{Context, RetryLater};
use anyhow::Result;

/// How often the change is begun anew before it is left for later.
const TRIES: usize = 10;
/// Puts this node's votes into the file, as soon as it has quorum in the middle of its join: what it
/// had before, when that was another number. That they count is for the step to see.
pub(crate) fn claim(context: &Context, votes: u32) -> Result<Option<u32>> {
    let up = counted(context)?.others;
    set_votes(&Pmxcfs::new(context.root), &context.name, votes, up)
}

fn conf_text(store: &dyn Store) -> Result<String> {
    let text = store.read().map_err(retry_if_passing)?;
    let missing =
        || RetryLater::because(format!("this node is in no cluster: {FILE} is not there"));
    Ok(text.ok_or_else(missing)?)
}

/// Whether the file has these votes for the node `name`.
pub(crate) fn holds(store: &dyn Store, name: &str, votes: u32) -> Result<bool> {
    let conf = corosync_conf::parse(&conf_text(store)?).map_err(problem)?;
    Ok(conf.votes(name) == Some(votes))
}

/// A node that is not listed may be listed again (a join that lost a race is repaired); any
/// other problem needs a hand.
fn problem(problem: Problem) -> anyhow::Error {
    let text = format!("cannot use {FILE}: {problem}");
    match problem {
        Problem::NoNode(_) => RetryLater::because(text).into(),
        _ => anyhow::anyhow!(text),
    }
}

/// Makes the file hold the votes; returns what this node had before, when that was changed.
/// `up` are the votes of the other nodes that are switched on.
pub(crate) fn set_votes(store: &dyn Store, name: &str, votes: u32, up: u32) -> Result<Option<u32>> {
    let mut before = None;
    change(
        store,
        &|_| vec![(name.to_owned(), votes)],
        &mut |was, new| {
            keeps_quorum(new, votes, up)?;
            before = before.or(was.votes(name));
            Ok(())
        },
    )?;
    Ok(before)
}

/// Makes the file hold the votes that `wanted` says of what is there, under the cluster's lock and as
/// often as others come first. `allow` is shown the old and the new text before it is put in place.
pub(crate) fn change(
    store: &dyn Store,
    wanted: &dyn Fn(&Conf) -> Vec<(String, u32)>,
    allow: &mut dyn FnMut(&Conf, &str) -> Result<()>,
) -> Result<()> {
    // The new text, and what the old one says; `None` where nothing is to be changed.
    let plan = |text: &str| -> Result<Option<(Conf, String)>> {
        let conf = corosync_conf::parse(text).map_err(problem)?;
        let votes = wanted(&conf);
        let votes: Vec<(&str, u32)> = votes.iter().map(|(name, n)| (&**name, *n)).collect();
        let new = corosync_conf::with_votes(text, &votes).map_err(problem)?;
        Ok(new.map(|new| (conf, new)))
    };
    for _ in 0..TRIES {
        if plan(&conf_text(store)?)?.is_none() {
            return Ok(());
        }
        let Some(lock) = Locked::take(store)? else {
            return Err(RetryLater {
                reason: format!(
                    "another node is changing {FILE}, or died while it did: the lock is held"
                ),
                at_least: LOCK_GONE,
            }
            .into());
        };
        // Again, now that nobody who keeps to the lock can change it.
        let text = conf_text(store)?;
        if let Some((conf, new)) = plan(&text)? {
            allow(&conf, &new)?;
            store.prepare(&new).map_err(retry_if_passing)?;
            store.activate(&text).map_err(retry_if_passing)?;
        }
        lock.release()?;
        // Somebody without the lock may have come first, or last.
        if plan(&conf_text(store)?)?.is_none() {
            return Ok(());
        }
        store.pause();
    }
    Err(RetryLater::because(format!(
        "{FILE} was changed by others {TRIES} times while this node changed it"
    ))
    .into())
}

/// A vote taken away, or given, must not leave the nodes that are up without a majority:
/// nobody could write to the cluster until others are switched on.
fn keeps_quorum(new: &str, votes: u32, up: u32) -> Result<()> {
    let conf = corosync_conf::parse(new).map_err(problem)?;
    let all: u64 = conf.nodes.iter().map(|node| u64::from(node.votes)).sum();
    let up = u64::from(up) + u64::from(votes);
    if up * 2 > all {
        return Ok(());
    }
    Err(RetryLater::because(format!(
        "with {votes} votes for this node, only {up} of {all} votes would be up, and the cluster \
         would have no quorum"
    ))
    .into())
}

/// The lock, given back in every way out.
struct Locked<'a> {
    store: &'a dyn Store,
    held: bool,
}

impl<'a> Locked<'a> {
    fn take(store: &'a dyn Store) -> Result<Option<Self>> {
        let held = store.lock().map_err(retry_if_passing)?;
        Ok(held.then(|| Locked { store, held }))
    }

    fn release(mut self) -> Result<()> {
        self.held = false;
        self.store.unlock().map_err(retry_if_passing)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.held {
            // An error is on its way already, and the lock expires.
            let _ = self.store.unlock();
        }
    }
}

/// What corosync counts.
pub(crate) fn counted(context: &Context) -> Result<Count> {
    let text = context
        .root
        .run("corosync-quorumtool", &["-l"], b"")
        .map_err(|error| RetryLater::because(format!("corosync does not answer: {error:#}")))?;
    let missing =
        || RetryLater::because("corosync-quorumtool -l does not show this node".to_owned());
    Ok(quorum::parse(&text).ok_or_else(missing)?)
}

#[cfg(test)]
mod tests;
