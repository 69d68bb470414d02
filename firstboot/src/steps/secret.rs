//! `secret`: the cluster's password is no longer on the seed disk of a node that has joined.
//!
//! The seed disk is a file on a student's PC, and what has no use any more has no place there.

use super::{Context, Outcome};
use crate::media::Source;
use crate::media::scrub::{self, Scrubbed};
use crate::seed::Seed;
use anyhow::Result;

/// Overwrites the password. A disk that cannot be written to is told, and is no failure: the
/// node is a member all the same.
pub fn run(context: &Context) -> Result<Outcome> {
    if !has_password(context.seed) {
        return Ok(Outcome::unchanged_because(
            "no cluster password in the seed",
        ));
    }
    Ok(match scrub::password(context.source) {
        Ok(Scrubbed::Done) => {
            Outcome::changed("the cluster's password was removed from the seed disk")
        }
        Ok(Scrubbed::Elsewhere(place)) => Outcome::changed(format!(
            "the cluster's password was removed from the seed disk; the same letters are still at \
             {place}"
        )),
        Ok(Scrubbed::AlreadyDone | Scrubbed::NoPassword | Scrubbed::NoSeed) => Outcome::unchanged(),
        Ok(Scrubbed::ReadOnly(why)) => Outcome::unchanged_because(format!(
            "the cluster's password stays on the seed disk, which cannot be written to: {why}"
        )),
        Err(error) => Outcome::unchanged_because(format!(
            "the cluster's password stays on the seed disk: {error:#}"
        )),
    })
}

/// On a node that has joined before and finds a seed that was made anew: the same, silently.
pub fn again(seed: &Seed, source: &Source) {
    if has_password(seed) {
        let _ = scrub::password(source);
    }
}

fn has_password(seed: &Seed) -> bool {
    seed.cluster()
        .is_some_and(|cluster| !cluster.credential.is_removed())
}
