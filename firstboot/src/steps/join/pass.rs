//! What lets this node into the cluster, as it is now: the seed's password, or the newest ticket.
//!
//! A ticket is worth two hours, and a join may wait for a night. Each login with a ticket as the password
//! gives a new one (seen: transcript 30), so it lives on as long as a peer answers now and then.
//! The newest one is remembered, and taken up again after a power cut; a seed that was made anew for the
//! same instance may bring a newer one still.
//!
//! Only the peer knows whether it takes a ticket. This machine's clock, which may be wrong, merely
//! chooses the words for it.

use super::machine::{After, after};
use crate::cluster::classify::JoinVerdict;
use crate::cluster::peers::{self, Answer};
use crate::cluster::renewed_tickets;
use crate::contract::clock;
use crate::contract::seed::{Credential, Peer, Secret, Seed, TICKET_LIFE, Ticket};
use crate::system::root::Root;
use anyhow::{Result, anyhow};
use std::time::{Duration, Instant};

/// A ticket that is so much older than a new one, in seconds, is worth a write to the disk.
const WORTH_A_WRITE: u64 = 10 * 60;
/// From this age on, in seconds, a ticket is renewed in the pauses of the join. One attempt may take
/// an hour, and the next pause may find every peer off for a while.
const RENEWED_FROM: u64 = TICKET_LIFE / 4;
/// How far clocks may differ, in seconds, before one of them is called wrong. A member takes no
/// ticket that comes from further ahead (PVE::AccessControl).
const CLOCKS_DIFFER: u64 = 300;
/// How often it is looked whether the ticket is to be renewed, in a long pause.
const LOOK: Duration = Duration::from_secs(10 * 60);

/// What lets this node in.
pub(crate) struct Pass<'a> {
    root: &'a Root,
    instance: &'a str,
    credential: &'a Credential,
    /// The newest ticket, where the seed gives one.
    ticket: Option<Ticket>,
    log: &'a dyn Fn(&str),
}

impl<'a> Pass<'a> {
    /// The seed's credential, or the newer ticket that is remembered for this instance.
    pub(crate) fn new(
        root: &'a Root,
        instance: &'a str,
        credential: &'a Credential,
        log: &'a dyn Fn(&str),
    ) -> Result<Self> {
        let ticket = match credential {
            Credential::Password(_) => None,
            Credential::Ticket(_) => {
                let both = credential.ticket().into_iter();
                let both = both.chain(renewed_tickets::newest(root, instance)?);
                both.max_by_key(Ticket::made)
            }
        };
        Ok(Pass {
            root,
            instance,
            credential,
            ticket,
            log,
        })
    }

    /// What goes to Proxmox's programs by standard input. The error says that it is gone.
    pub(crate) fn secret(&self, name: &str) -> Result<&Secret> {
        let gone = |what: &str| {
            anyhow!(
                "{what} is no longer in the seed: it was removed after an earlier join. On the \
                 host, with the VM switched off: imgbuild seed {name}"
            )
        };
        match self.credential {
            Credential::Password(_) if self.credential.is_removed() => {
                Err(gone("the cluster's password"))
            }
            Credential::Password(password) => Ok(password),
            Credential::Ticket(_) => match &self.ticket {
                Some(ticket) => Ok(ticket.text()),
                None => Err(gone("the ticket")),
            },
        }
    }

    /// Asks a peer for the list of nodes, and keeps the new ticket that it gives.
    pub(crate) fn ask(&mut self, peer: &Peer, name: &str) -> Result<Answer> {
        let mut answer = peers::ask(peer, self.secret(name)?.reveal(), name)?;
        if let Some(new) = answer.ticket.take() {
            self.renew(new);
        }
        Ok(answer)
    }

    /// Takes a new ticket in the old one's place, where that is worth a write.
    fn renew(&mut self, new: Ticket) {
        let Some(old) = &self.ticket else {
            return;
        };
        if new.made() < old.made() + WORTH_A_WRITE {
            return;
        }
        let until = clock::utc(new.valid_until());
        match renewed_tickets::remember(self.root, self.instance, &new) {
            Ok(()) => (self.log)(&format!(
                "the ticket was renewed; it is valid until {until}"
            )),
            Err(error) => (self.log)(&format!(
                "the ticket was renewed, until {until}, but would be lost in a power cut: {error:#}"
            )),
        }
        self.ticket = Some(new);
    }

    /// Renews a ticket that is no longer fresh through the first peer that answers.
    fn keep_fresh(&mut self, cluster_peers: &[Peer], name: &str) {
        let is_due = |ticket: &Ticket| is_due(ticket, clock::unix_time());
        if !self.ticket.as_ref().is_some_and(is_due) {
            return;
        }
        for peer in cluster_peers {
            let Ok(secret) = self.secret(name) else {
                return;
            };
            // What is wrong with it, or with a peer, is told by the attempts.
            let answer = peers::ask(peer, secret.reveal(), name);
            if let Some(new) = answer.ok().and_then(|answer| answer.ticket) {
                return self.renew(new);
            }
        }
    }

    /// Why a verdict on this pass ends the join at once, whatever other peers would say.
    pub(crate) fn end(&self, verdict: &JoinVerdict, name: &str) -> Option<anyhow::Error> {
        let ticket = self.ticket.as_ref()?;
        // A peer whose clock is a little ahead refuses it a little earlier.
        let in_time = clock::unix_time() + CLOCKS_DIFFER < ticket.valid_until();
        if *verdict != JoinVerdict::WrongPassword || in_time {
            return None;
        }
        Some(anyhow!(
            "the ticket has expired (valid until {}): imgbuild seed {name} (on the host, with the VM \
             switched off); the next boot, or `firstboot retry`, then goes on",
            clock::utc(ticket.valid_until())
        ))
    }

    /// What a verdict means for this pass, in words, and how to go on.
    pub(crate) fn explain(
        &self,
        verdict: &JoinVerdict,
        peer: &Peer,
        name: &str,
    ) -> (String, After) {
        let reason = match (verdict, &self.ticket) {
            (JoinVerdict::WrongPassword, Some(ticket)) => {
                refused(ticket, &peer.address, clock::unix_time())
            }
            (JoinVerdict::WrongFingerprint(Some(shown)), _) => {
                peers::other_certificate(peer, shown)
            }
            _ => verdict.reason(&peer.address, name),
        };
        (reason, after(verdict))
    }

    /// What a human calls it.
    pub(crate) fn word(&self) -> &'static str {
        self.credential.word()
    }
}

/// Whether a ticket is to be renewed, seen at `now`. One that has expired cannot be; and where this
/// machine's clock is behind, nothing is known of its age.
fn is_due(ticket: &Ticket, now: u64) -> bool {
    if now + CLOCKS_DIFFER < ticket.made() {
        return true;
    }
    (RENEWED_FROM..TICKET_LIFE).contains(&now.saturating_sub(ticket.made()))
}

/// Why a peer may have refused a ticket that has not expired by this machine's clock.
fn refused(ticket: &Ticket, peer: &str, now: u64) -> String {
    let until = clock::utc(ticket.valid_until());
    if now + CLOCKS_DIFFER < ticket.made() {
        return format!(
            "{peer} refused the ticket (made {}, valid until {until}), and this machine's clock is \
             wrong: it says {}, so whether the ticket has expired cannot be told. Set the PC's \
             clock, or name time servers (`ntp` in lab.yaml)",
            clock::utc(ticket.made()),
            clock::utc(now)
        );
    }
    format!(
        "{peer} does not know the ticket (valid until {until}): it was made in another cluster, or \
         the keys of this one have changed since"
    )
}

/// Waits as long as a pause of the join is to last, and renews the ticket meanwhile.
pub(crate) fn pause(root: &Root, seed: &Seed, name: &str, length: Duration, log: &dyn Fn(&str)) {
    let deadline = Instant::now() + length;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(LOOK));
        if let Some(cluster) = seed.cluster().filter(|_| root.is_live()) {
            let pass = Pass::new(root, &seed.meta_data.instance_id, &cluster.credential, log);
            if let Ok(mut pass) = pass {
                pass.keep_fresh(&cluster.peers, name);
            }
        }
        if left <= LOOK {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;

    const MADE: u64 = 0x6B0844C3;

    fn ticket(made: u64) -> Ticket {
        Ticket::parse(&format!("PVE:root@pam:{made:08X}::rZ9{made}")).unwrap()
    }

    fn of_seed(made: u64) -> Credential {
        Credential::Ticket(ticket(made).text().clone())
    }

    /// A fingerprint of one pair of digits.
    fn of(pair: &str) -> String {
        [pair; 32].join(":")
    }

    fn peer(pairs: &[&str]) -> Peer {
        Peer {
            address: "10.120.0.1".parse().unwrap(),
            fingerprints: pairs.iter().map(|p| of(p).parse().unwrap()).collect(),
        }
    }

    fn secret(root: &Root, credential: &Credential) -> Result<String, String> {
        let pass = Pass::new(root, "i-1", credential, &|_| {}).unwrap();
        let secret = pass.secret("vm42").map(|secret| secret.reveal().to_owned());
        secret.map_err(|error| error.to_string())
    }

    #[test]
    fn the_newer_of_the_seed_s_and_the_remembered_ticket_is_used() {
        let (_folder, root) = tree();
        let text = |made| Ok(ticket(made).text().reveal().to_owned());
        let seed = of_seed(MADE);
        assert_eq!(secret(&root, &seed), text(MADE));
        renewed_tickets::remember(&root, "i-1", &ticket(MADE + 3600)).unwrap();
        assert_eq!(secret(&root, &seed), text(MADE + 3600));
        // What is on the seed disk is overwritten, wholly or in part, and the remembered one goes on.
        for gone in ["xxxxxxxx", "PVE:rxxx@pam:6B0844C3::rZ9"] {
            let gone = Credential::Ticket(Secret::new(gone));
            assert_eq!(secret(&root, &gone), text(MADE + 3600));
        }
        // A seed that was made anew.
        assert_eq!(secret(&root, &of_seed(MADE + 7200)), text(MADE + 7200));
        // Another instance's.
        renewed_tickets::remember(&root, "i-2", &ticket(MADE + 9000)).unwrap();
        assert_eq!(secret(&root, &seed), text(MADE));
        let password = Credential::Password(Secret::new("Geheim42"));
        assert_eq!(secret(&root, &password).as_deref(), Ok("Geheim42"));
    }

    #[test]
    fn what_was_removed_is_told() {
        let (_folder, root) = tree();
        let x = || Secret::new("xxx");
        let words = |credential| secret(&root, &credential).unwrap_err();
        let rest = "is no longer in the seed: it was removed after an earlier join. On the host, \
                    with the VM switched off: imgbuild seed vm42";
        assert_eq!(words(Credential::Ticket(x())), format!("the ticket {rest}"));
        assert_eq!(
            words(Credential::Password(x())),
            format!("the cluster's password {rest}")
        );
    }

    #[test]
    fn a_renewed_ticket_is_remembered_where_it_is_worth_it() {
        let (_folder, root) = tree();
        let said = std::cell::RefCell::new(Vec::new());
        let log = |text: &str| said.borrow_mut().push(text.to_owned());
        let credential = of_seed(MADE);
        let mut pass = Pass::new(&root, "i-1", &credential, &log).unwrap();
        pass.renew(ticket(MADE + 599));
        assert_eq!(renewed_tickets::newest(&root, "i-1").unwrap(), None);
        pass.renew(ticket(MADE + 600));
        assert_eq!(pass.ticket, Some(ticket(MADE + 600)));
        let newest = renewed_tickets::newest(&root, "i-1").unwrap();
        assert_eq!(newest, Some(ticket(MADE + 600)));
        assert_eq!(
            said.into_inner(),
            ["the ticket was renewed; it is valid until 2026-11-26 16:50 UTC"]
        );
        // A password is renewed by nobody.
        let password = Credential::Password(Secret::new("Geheim42"));
        let mut pass = Pass::new(&root, "i-3", &password, &|_| {}).unwrap();
        pass.renew(ticket(MADE + 9999));
        assert_eq!(pass.secret("vm42").unwrap().reveal(), "Geheim42");
        assert_eq!(renewed_tickets::newest(&root, "i-3").unwrap(), None);
    }

    #[test]
    fn it_is_renewed_from_a_quarter_of_its_life_on() {
        let due = |age: i64| is_due(&ticket(MADE), MADE.wrapping_add_signed(age));
        assert!(!due(0) && !due(-300) && !due(1799));
        assert!(due(1800) && due(7199));
        // Nothing renews what has expired.
        assert!(!due(7200) && !due(90_000));
        // A clock that begins in the past says nothing of the ticket's age.
        assert!(due(-301) && due(-(MADE as i64)));
    }

    #[test]
    fn a_refusal_is_told_by_the_ticket_s_time() {
        let words = |age: i64| refused(&ticket(MADE), "10.120.0.1", MADE.wrapping_add_signed(age));
        assert_eq!(
            words(60),
            "10.120.0.1 does not know the ticket (valid until 2026-11-26 16:40 UTC): it was made in \
             another cluster, or the keys of this one have changed since"
        );
        assert_eq!(
            words(-86_400),
            "10.120.0.1 refused the ticket (made 2026-11-26 14:40 UTC, valid until 2026-11-26 16:40 \
             UTC), and this machine's clock is wrong: it says 2026-11-25 14:40 UTC, so whether the \
             ticket has expired cannot be told. Set the PC's clock, or name time servers (`ntp` in \
             lab.yaml)"
        );
    }

    #[test]
    fn an_expired_ticket_ends_the_join_with_its_remedy() {
        let (_folder, root) = tree();
        let end = |credential: &Credential, verdict: &JoinVerdict| {
            let pass = Pass::new(&root, "i-1", credential, &|_| {}).unwrap();
            pass.end(verdict, "vm42").map(|error| error.to_string())
        };
        // Long ago by any clock.
        let old = of_seed(0x10000000);
        assert_eq!(
            end(&old, &JoinVerdict::WrongPassword).as_deref(),
            Some(
                "the ticket has expired (valid until 1978-07-04 23:24 UTC): imgbuild seed vm42 (on \
                 the host, with the VM switched off); the next boot, or `firstboot retry`, then goes \
                 on"
            )
        );
        // The peer decides, not the time.
        assert_eq!(end(&old, &JoinVerdict::NoQuorum), None);
        let almost = of_seed(clock::unix_time() - TICKET_LIFE + 200);
        assert!(end(&almost, &JoinVerdict::WrongPassword).is_some());
        let fresh = of_seed(clock::unix_time());
        assert_eq!(end(&fresh, &JoinVerdict::WrongPassword), None);
        let password = Credential::Password(Secret::new("Geheim42"));
        assert_eq!(end(&password, &JoinVerdict::WrongPassword), None);
    }

    #[test]
    fn what_a_peer_refuses_is_in_words() {
        let (_folder, root) = tree();
        let said = |credential: &Credential, verdict: JoinVerdict, fingerprints: &[&str]| {
            let pass = Pass::new(&root, "i-1", credential, &|_| {}).unwrap();
            pass.explain(&verdict, &peer(fingerprints), "vm42").0
        };
        let password = Credential::Password(Secret::new("Geheim42"));
        assert_eq!(
            said(&password, JoinVerdict::WrongPassword, &["AA"]),
            "10.120.0.1 refused root's password"
        );
        let fresh = of_seed(clock::unix_time());
        let words = said(&fresh, JoinVerdict::WrongPassword, &["AA"]);
        assert!(words.starts_with("10.120.0.1 does not know the ticket (valid until"));
        assert!(!words.contains("password"));
        let shown = || JoinVerdict::WrongFingerprint(Some("CC".to_owned()));
        assert_eq!(
            said(&fresh, shown(), &["AA"]),
            "10.120.0.1 has another certificate than the seed says: its fingerprint is CC"
        );
        assert_eq!(
            said(&fresh, shown(), &["AA", "BB"]),
            format!(
                "10.120.0.1 has another certificate than any of the 2 that the seed names: its \
                 fingerprint is CC, and the seed has {}, {}",
                of("AA"),
                of("BB")
            )
        );
    }
}
