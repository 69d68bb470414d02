//! The members of a cluster that can be asked for a ticket, and what they answer.

use super::factor::{factor, wanted};
use crate::ask::Answers;
use crate::clock;
use crate::interrupt::Interrupted;
use crate::lab::Cluster;
use crate::peer::{self, Factors, Failure, Login, MEMBER_LINE, PORT, Pins};
use crate::report::Report;
use anyhow::{Result, anyhow, bail};
use firstboot::seed::{Peer, Secret, Ticket};

/// How often a wrong password or second factor is taken.
const TRIES: usize = 2;
/// Two clocks that differ by more seconds are told.
const SKEW: u64 = 120;

/// A cluster's members that can be asked, each once, with all that is known of their certificates.
pub(super) struct Members {
    pub label: String,
    peers: Vec<Peer>,
}

/// The addresses of peers that did not serve, and why.
pub(super) type Failures<'a> = Vec<(&'a str, Failure)>;

impl Members {
    pub(super) fn of(cluster: &Cluster<'_>) -> Self {
        let mut peers: Vec<Peer> = Vec::new();
        let joins = cluster.vms.iter().filter_map(|(vm, _)| vm.cluster.as_ref());
        for peer in joins.flat_map(|join| &join.peers) {
            let Some(known) = peers.iter_mut().find(|p| p.address == peer.address) else {
                peers.push(peer.clone());
                continue;
            };
            for fingerprint in &peer.fingerprints {
                if !known.fingerprints.contains(fingerprint) {
                    known.fingerprints.push(fingerprint.clone());
                }
            }
        }
        Members {
            label: cluster.label(),
            peers,
        }
    }

    /// The first that shows one of its certificates, and why those before it did not. `None` when
    /// there is none.
    pub(super) fn first(&self) -> Result<(Option<&Peer>, Failures<'_>)> {
        let mut failures = Vec::new();
        for peer in &self.peers {
            match peer::connect(&peer.address, PORT, Pins::One(&peer.fingerprints)) {
                Ok(_) => return Ok((Some(peer), failures)),
                Err(refused) => match refused.failure {
                    Failure::Interrupted => return Err(Interrupted::default().into()),
                    failure => failures.push((peer.address.as_str(), failure)),
                },
            }
        }
        Ok((None, failures))
    }

    /// Asks for the password, and for the second factor where one is wanted.
    pub(super) fn ask(&self, answers: &mut Answers, report: &Report) -> Result<Ticket> {
        let (peer, failures) = self.first()?;
        let Some(peer) = peer else {
            return Err(self.nobody(&failures));
        };
        warn_of_strangers(&failures, report);
        let label = &self.label;
        let question = format!("Password of root@pam in {label}, for {}", peer.address);
        let login = self.until_taken(answers, &question, report, |answer| {
            if answer.reveal().is_empty() {
                return Ok(Err("an empty password is never right".to_owned()));
            }
            self.at(peer, report, |connection| {
                peer::log_in(connection, &peer.address, answer)
            })
            .map(Ok)
        });
        match login? {
            Some(Login::Ticket { ticket, cluster }) => {
                self.judge(peer, &ticket, cluster.as_deref(), report)
            }
            Some(Login::Half { challenge, factors }) => {
                self.second(peer, &challenge, factors, answers, report)
            }
            None => bail!(
                "{} refuses root@pam{}: authentication failure, which is all that Proxmox VE says\n  \
                 right: the root password of {label}; when it was right, the account is locked or \
                 disabled (on that member: journalctl -u pvedaemon -n 5). {AGAIN}",
                peer.address,
                times(answers),
            ),
        }
    }

    fn second(
        &self,
        peer: &Peer,
        challenge: &Secret,
        factors: Factors,
        answers: &mut Answers,
        report: &Report,
    ) -> Result<Ticket> {
        if !factors.can_be_typed() {
            bail!(
                "root@pam in {} has a second factor that only a browser can ask for\n  right: a TOTP \
                 or recovery keys for root@pam; or --ticket-file FILE with what this prints on a \
                 member, as root (it asks for no second factor):\n    {MEMBER_LINE}",
                self.label
            );
        }
        let wanted = wanted(factors);
        let question = format!("Second factor of root@pam ({wanted})");
        let mut given = false;
        let login = self.until_taken(answers, &question, report, |answer| {
            given = true;
            match factor(answer.reveal(), factors) {
                Err(words) => Ok(Err(words)),
                Ok(factor) => self
                    .at(peer, report, |connection| {
                        peer::finish(connection, &peer.address, challenge, &factor)
                    })
                    .map(Ok),
            }
        });
        match login? {
            Some(Login::Ticket { ticket, cluster }) => {
                self.judge(peer, &ticket, cluster.as_deref(), report)
            }
            Some(Login::Half { .. }) => bail!(
                "{} asks for the second factor again, which is no answer that is known",
                peer.address
            ),
            None if !given => bail!(
                "root@pam in {} has a second factor ({wanted}), and there is none in the second \
                 line of standard input",
                self.label
            ),
            None => bail!(
                "{} refuses the second factor of root@pam{}\n  right: {wanted}; a code is taken once, \
                 so wait for the next one. After eight wrong codes Proxmox VE locks them (on a \
                 member: pveum user tfa unlock root@pam). {AGAIN}",
                peer.address,
                times(answers),
            ),
        }
    }

    /// Takes an answer, and at a terminal another one where the first is refused. `None` when
    /// none was right, or there was none.
    fn until_taken(
        &self,
        answers: &mut Answers,
        question: &str,
        report: &Report,
        mut attempt: impl FnMut(&Secret) -> Result<Result<Login, String>, Denied>,
    ) -> Result<Option<Login>> {
        for number in 1..=TRIES {
            let Some(answer) = answers.next(question)? else {
                return Ok(None);
            };
            let words = match attempt(&answer) {
                Ok(Ok(login)) => return Ok(Some(login)),
                Ok(Err(words)) => words,
                Err(Denied::Refused) => "that was refused".to_owned(),
                Err(Denied::Other(error)) => return Err(error),
            };
            if !answers.can_be_asked_again() {
                return Ok(None);
            }
            if number < TRIES {
                report.warn(&format!(
                    "{words}; it is asked for once more, and then not again"
                ));
            }
        }
        Ok(None)
    }

    /// One call at a peer, over a connection of its own: between two of them somebody types.
    pub(super) fn at(
        &self,
        peer: &Peer,
        report: &Report,
        call: impl FnOnce(&mut peer::Connection) -> Result<Login, Failure>,
    ) -> Result<Login, Denied> {
        let answer = match peer::connect(&peer.address, PORT, Pins::One(&peer.fingerprints)) {
            Ok(mut connection) => {
                let details = connection.certificate.details();
                if let Some(words) = details.and_then(|d| d.dates_are_wrong(clock::now())) {
                    report.warn(&format!("{}: {words}", peer.address));
                }
                call(&mut connection)
            }
            Err(refused) => Err(refused.failure),
        };
        answer.map_err(|failure| match failure {
            Failure::Denied => Denied::Refused,
            Failure::Interrupted => Denied::Other(Interrupted::default().into()),
            failure => Denied::Other(anyhow!("{}: {failure}", peer.address)),
        })
    }

    /// A ticket of a peer, as the guest will read it.
    pub(super) fn judge(
        &self,
        peer: &Peer,
        ticket: &Secret,
        cluster: Option<&str>,
        report: &Report,
    ) -> Result<Ticket> {
        let ticket = Ticket::parse(ticket.reveal())
            .map_err(|error| anyhow!("{}: what it gave {error}", peer.address))?;
        if cluster.is_none() {
            report.warn(&format!(
                "{} is in no cluster yet, so nothing can join it: on that node, pvecm create NAME",
                peer.address
            ));
        }
        warn_of_clocks(ticket.made().abs_diff(clock::now()), report);
        Ok(ticket)
    }

    pub(super) fn nobody(&self, failures: &[(&str, Failure)]) -> anyhow::Error {
        let mut text = format!("no peer of {} can be asked from this PC:", self.label);
        for (address, failure) in failures {
            text.push_str(&format!("\n  {address}: {failure}"));
        }
        let other = failures.iter().find_map(|(address, failure)| {
            matches!(failure, Failure::Certificate { .. }).then_some(address)
        });
        if let Some(address) = other {
            text.push_str(&format!(
                "\n  right: imgbuild peer {address}, compared with what that member itself prints; \
                 never without: whoever answers there would get the root password"
            ));
        } else {
            let silent = failures
                .iter()
                .any(|(_, failure)| matches!(failure, Failure::Silent(_)));
            let when = match silent {
                true => "where only the VPN leads to them,",
                false => "members of the cluster as `peers`; or",
            };
            text.push_str(&format!(
                "\n  right: {when} --ticket-file FILE with what this prints on a member, as root:\n    \
                 {MEMBER_LINE}"
            ));
        }
        anyhow!(text)
    }
}

/// What ends every refusal.
const AGAIN: &str =
    "It is not tried again by itself, because accounts are locked after some refusals";

/// Why a call gave nothing.
pub(super) enum Denied {
    /// The answer was wrong.
    Refused,
    /// Anything else.
    Other(anyhow::Error),
}

fn times(answers: &Answers) -> &'static str {
    match answers.can_be_asked_again() {
        true => " twice",
        false => "",
    }
}

/// A peer that shows another certificate is told even where the next one serves.
pub(super) fn warn_of_strangers(failures: &[(&str, Failure)], report: &Report) {
    for (address, failure) in failures {
        if let Failure::Certificate { .. } = failure {
            report.warn(&format!("{address} was passed over: {failure}"));
        }
    }
}

/// A VM has its PC's clock, and a ticket the cluster's. `seconds` is what the two differ by.
pub(super) fn warn_of_clocks(seconds: u64, report: &Report) {
    if seconds > SKEW {
        report.warn(&format!(
            "the clocks of the cluster and of this PC differ by {}: one of the two is wrong \
             (date -u on both)",
            clock::span(seconds)
        ));
    }
}
