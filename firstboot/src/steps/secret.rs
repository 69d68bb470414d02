//! `secret`: what let this node into the cluster is no longer on its seed disk, nor in the machine.
//!
//! The seed disk is a file on a student's PC, and so is the machine's own. What has no use any more
//! has no place there.

use crate::cluster::renewed_tickets;
use crate::contract::seed::{Credential, Seed};
use crate::contract::volumes::Source;
use crate::contract::volumes::credential_removal::{self, Scrubbed};
use crate::step::{Context, Outcome};
use anyhow::Result;

/// Overwrites the password, or the ticket and what it was renewed to. A disk that cannot be written to is
/// told, and is no failure: the node is a member all the same.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let renewed = match renewed_tickets::forget(context.root) {
        Ok(false) => Outcome::unchanged(),
        Ok(true) => Outcome::changed("the renewed ticket was removed"),
        Err(error) => Outcome::unchanged_because(format!("the renewed ticket stays: {error:#}")),
    };
    let seed = match secret_of(context.seed) {
        Some(credential) => of_seed(context.source, named(credential)),
        None if renewed.detail.is_some() => Outcome::unchanged(),
        None => Outcome::unchanged_because("no cluster password or ticket in the seed"),
    };
    Ok(seed.and(renewed))
}

/// Overwrites it in the seed; `what` is its name.
fn of_seed(source: &Source, what: &str) -> Outcome {
    match credential_removal::credential(source) {
        Ok(Scrubbed::Done) => Outcome::changed(format!("{what} was removed from the seed disk")),
        Ok(Scrubbed::Elsewhere(place)) => Outcome::changed(format!(
            "{what} was removed from the seed disk; the same letters are still at {place}"
        )),
        Ok(Scrubbed::AlreadyDone | Scrubbed::NothingThere | Scrubbed::NoSeed) => {
            Outcome::unchanged()
        }
        Ok(Scrubbed::ReadOnly(why)) => Outcome::unchanged_because(format!(
            "{what} stays on the seed disk, which cannot be written to: {why}"
        )),
        Err(error) => {
            Outcome::unchanged_because(format!("{what} stays on the seed disk: {error:#}"))
        }
    }
}

/// On a node that has joined before and finds a seed that was made anew: the same, silently.
pub(crate) fn again(seed: &Seed, source: &Source) {
    if secret_of(seed).is_some() {
        let _ = credential_removal::credential(source);
    }
}

fn named(credential: &Credential) -> &'static str {
    match credential {
        Credential::Password(_) => "the cluster's password",
        Credential::Ticket(_) => "the ticket",
    }
}

fn secret_of(seed: &Seed) -> Option<&Credential> {
    let credential = &seed.cluster()?.credential;
    (!credential.is_removed()).then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::seed::{Ticket, parse};
    use crate::step::tests::context;
    use crate::system::root::Root;
    use std::fs;

    const TICKET: &str = "PVE:root@pam:6B0844C3::rZ9xX/+wOpQ9xw==";

    /// Runs the step on a seed folder with this credential, a renewed ticket in the machine or none;
    /// what it says, and the user-data afterwards.
    fn run_on(credential: &str, renewed: bool) -> (Outcome, String) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path().join("root"));
        let seed = folder.path().join("seed");
        fs::create_dir(&seed).unwrap();
        let (meta, fingerprint) = ("instance-id: i-1\n", ["AB"; 32].join(":"));
        let user = format!(
            "#cloud-config\nhostname: vm42\nproxmox:\n  cluster:\n    peers: [{{address: a, \
             fingerprint: \"{fingerprint}\"}}]\n    {credential}\n"
        );
        fs::write(seed.join("meta-data"), meta).unwrap();
        fs::write(seed.join("user-data"), &user).unwrap();
        if renewed {
            let ticket = Ticket::parse("PVE:root@pam:6B084BCB::renewed").unwrap();
            renewed_tickets::remember(&root, "i-1", &ticket).unwrap();
        }
        let source = Source::Folder(seed.clone());
        let seed_read = parse(meta, &user, None).unwrap();
        let context = context(&root, &source, &seed_read);
        let outcome = run(&context).unwrap();
        assert_eq!(renewed_tickets::newest(&root, "i-1").unwrap(), None);
        (outcome, fs::read_to_string(seed.join("user-data")).unwrap())
    }

    #[test]
    fn the_ticket_and_what_it_became_are_removed() {
        let (outcome, user) = run_on(&format!("ticket: {TICKET}"), true);
        assert_eq!(
            outcome,
            Outcome::changed(
                "the ticket was removed from the seed disk; the renewed ticket was removed"
            )
        );
        let x = "x".repeat(TICKET.len());
        assert!(user.ends_with(&format!("    ticket: {x}\n")), "{user}");
        let (outcome, _) = run_on(&format!("ticket: {TICKET}"), false);
        let words = "the ticket was removed from the seed disk";
        assert_eq!(outcome, Outcome::changed(words));
        let (outcome, _) = run_on("password: Geheim42", false);
        let words = "the cluster's password was removed from the seed disk";
        assert_eq!(outcome, Outcome::changed(words));
    }

    /// The power went between the two, or the lab has changed to a password meanwhile.
    #[test]
    fn each_of_the_two_may_be_there_alone() {
        let (outcome, _) = run_on("ticket: xxxx", true);
        assert_eq!(outcome, Outcome::changed("the renewed ticket was removed"));
        let (outcome, _) = run_on("ticket: xxxx", false);
        let words = "no cluster password or ticket in the seed";
        assert_eq!(outcome, Outcome::unchanged_because(words));
        // Its removal was cut by the power in the middle of the head.
        let (outcome, user) = run_on("ticket: PVE:rxxx@pam:6B0844C3::rZ9x", false);
        assert!(outcome.changed);
        assert!(
            user.ends_with(&format!("ticket: {}\n", "x".repeat(27))),
            "{user}"
        );
    }
}
