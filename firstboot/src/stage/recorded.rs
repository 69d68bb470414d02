//! What a recorded join is worth: it is looked at again at every boot.
//!
//! pvecm writes corosync's key and configuration without waiting for the disk, and pmxcfs its
//! database: a power cut some seconds after a join can leave a whole key beside an empty
//! `corosync.conf` and a database without its table, while this program's record says that the
//! node has joined.

use crate::cluster::corosync::AUTHKEY;
use crate::cluster::pmxcfs::MOUNT_WAIT;
use crate::contract::seed::Seed;
use crate::stage::journal::{Journal, StageRecord};
use crate::steps::join::machine::State;
use crate::steps::join::observe::{clock_is_behind, observe};
use crate::system::root::Root;
use crate::system::wait;
use std::time::Duration;

/// Why the join that the journal has recorded is not there any more, in words; `None` where it is, or
/// where there never was one. A member that has no quorum, or whose corosync has stopped, is one all
/// the same: it is watched over.
pub(super) fn lost(root: &Root, journal: &Journal, seed: Option<&Seed>) -> Option<String> {
    let joins = seed.map(|seed| seed.cluster().is_some());
    let is_to_be = joins.unwrap_or_else(|| root.exists(AUTHKEY).unwrap_or(false));
    if !root.is_live() || !is_to_be {
        return None;
    }
    let state = || Ok(State::of(&observe(root, &journal.name)?, &journal.name));
    let is_mounted = |state: &State| *state != State::NoFileSystem;
    let state = wait::until(MOUNT_WAIT, Duration::from_secs(1), state, is_mounted).ok()?;
    if let State::NoCertificate(why) = &state {
        // The next boot looks again, with a better clock.
        if clock_is_behind(root, why).unwrap_or(false) {
            return None;
        }
    }
    is_lost(&state).then(|| {
        format!(
            "{} joined its cluster, but is no longer a complete member ({})",
            journal.name,
            state.words()
        )
    })
}

fn is_lost(state: &State) -> bool {
    match state {
        State::NoFileSystem
        | State::OtherName(_)
        | State::Alone
        | State::HalfJoined
        | State::NoCertificate(_) => true,
        State::LeftBehind { .. } | State::Waiting(_) | State::Member(_) => false,
    }
}

/// The journal of a machine that has been through the first stage and nothing else.
pub(super) fn before_the_join(journal: Journal) -> Journal {
    Journal {
        join: StageRecord::default(),
        ..journal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_only_without_quorum_is_a_member() {
        let waiting = State::Waiting("no quorum".to_owned());
        let left_behind = State::LeftBehind { has_database: true };
        for state in [waiting, left_behind, State::Member("c".to_owned())] {
            assert!(!is_lost(&state), "{state:?}");
        }
        for state in [
            State::Alone,
            State::HalfJoined,
            State::NoFileSystem,
            State::NoCertificate("empty key".to_owned()),
        ] {
            assert!(is_lost(&state), "{state:?}");
        }
    }

    #[test]
    fn the_first_stage_stays_done() {
        let mut journal = Journal::new("vm42-1", "vm42", vec!["base".to_owned()]);
        journal.local.finished = true;
        journal.join.finished = true;
        let before = before_the_join(journal);
        assert!(before.local.finished && !before.join.finished);
        assert_eq!(before.old_names, ["base"]);
        let folder = tempfile::tempdir().unwrap();
        // A folder is no running machine, and joins nothing.
        assert_eq!(lost(&Root::new(folder.path()), &before, None), None);
    }
}
