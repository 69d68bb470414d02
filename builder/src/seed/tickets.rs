//! Tickets for the VMs whose lab says `join: ticket`: one question per cluster and run.
//!
//! Proxmox answers every refusal alike, and an account may be locked after some of them (pam_faillock's
//! own limit is three, that of Proxmox's TOTP eight). So a wrong answer is asked for once more, at a
//! terminal only, and then never again in this run.

use super::files::read_seed;
use crate::ask::Answers;
use crate::cli::SeedArgs;
use crate::clock;
use crate::interrupt::Interrupted;
use crate::lab::{self, Cluster, JoinWith, Lab, Vm};
use crate::peer::{self, Factors, Failure, Login, MEMBER_LINE, PORT, Pins};
use crate::report::Report;
use anyhow::{Result, anyhow, bail};
use firstboot::seed::{Credential, Peer, Secret, Ticket};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// How often a wrong password or second factor is taken.
const TRIES: usize = 2;
/// Two clocks that differ by more seconds are told.
const SKEW: u64 = 120;

/// The tickets of one run.
#[derive(Debug, Default)]
pub struct Tickets {
    by_vm: BTreeMap<String, Secret>,
    given: Vec<Given>,
}

/// A ticket and who has it.
#[derive(Debug)]
struct Given {
    label: String,
    vms: Vec<String>,
    /// Until when it is taken, in seconds since 1970.
    until: u64,
}

/// A cluster's members that can be asked, each once, with all that is known of their certificates.
struct Members {
    label: String,
    peers: Vec<Peer>,
}

impl Tickets {
    /// Gets what these VMs need. Without `join: ticket` among them nothing is asked.
    pub fn get(lab: &Lab, vms: &[&Vm], args: &SeedArgs, report: &Report) -> Result<Self> {
        let joining: Vec<&Vm> = vms.iter().copied().filter(|vm| needs_one(vm)).collect();
        let clusters = lab::clusters(lab, &joining);
        let option = match (&args.ticket_file, args.password_stdin, args.keep_ticket) {
            (Some(_), _, _) => Some("--ticket-file"),
            (None, true, _) => Some("--password-stdin"),
            (None, false, true) => Some("--keep-ticket"),
            (None, false, false) => None,
        };
        match (option, clusters.len()) {
            (Some(option), 0) => bail!(
                "{option} is for VMs whose `cluster` says `join: ticket`, and none of these does"
            ),
            (Some(option), 2..) if !args.keep_ticket => bail!(
                "{option} is for one cluster, and these VMs join {}: {}\n  right: a run for each",
                clusters.len(),
                clusters
                    .iter()
                    .map(Cluster::label)
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
            _ => {}
        }
        let mut tickets = Tickets::default();
        if clusters.is_empty() {
            return Ok(tickets);
        }
        if args.keep_ticket {
            return Self::kept(lab, &joining, report);
        }
        let mut answers = match args.password_stdin {
            true => Answers::from_stdin()?,
            false => Answers::at_the_terminal(),
        };
        if let (Answers::Nobody, None) = (&answers, &args.ticket_file) {
            bail!(
                "the cluster's root password has to be asked for, and standard input is no \
                 terminal\n  right: at a terminal; or --password-stdin; or --ticket-file FILE \
                 with what this prints on a member, as root:\n    {MEMBER_LINE}"
            );
        }
        for cluster in &clusters {
            let members = Members::of(cluster);
            let ticket = match &args.ticket_file {
                Some(file) => members.of_a_file(file, report)?,
                None => members.ask(&mut answers, report)?,
            };
            tickets.give(cluster, &ticket);
        }
        Ok(tickets)
    }

    /// What the seeds have already. One that was used is nothing but `x`, and stays that.
    fn kept(lab: &Lab, joining: &[&Vm], report: &Report) -> Result<Self> {
        let mut tickets = Tickets::default();
        let mut without = Vec::new();
        for vm in joining {
            let seed = read_seed(&lab.folder.join(&vm.name)).ok();
            let credential = seed.as_ref().and_then(|seed| seed.cluster());
            match credential.map(|cluster| &cluster.credential) {
                Some(Credential::Ticket(text)) => {
                    tickets.by_vm.insert(vm.name.clone(), text.clone());
                }
                _ => without.push(vm.name.as_str()),
            }
            let ticket = credential.and_then(|cluster| cluster.credential.ticket());
            if let Some(ticket) = ticket.filter(|t| t.valid_until() <= clock::now()) {
                report.warn(&format!(
                    "{}: the ticket that it keeps has expired (valid until {}), and was not used",
                    vm.name,
                    clock::minute(ticket.valid_until())
                ));
            }
        }
        if !without.is_empty() {
            bail!(
                "--keep-ticket: no seed with a ticket is there for {}\n  right: without \
                 --keep-ticket for these",
                without.join(", ")
            );
        }
        Ok(tickets)
    }

    fn give(&mut self, cluster: &Cluster<'_>, ticket: &Ticket) {
        let vms: Vec<String> = cluster.vms.iter().map(|(vm, _)| vm.name.clone()).collect();
        for vm in &vms {
            self.by_vm.insert(vm.clone(), ticket.text().clone());
        }
        self.given.push(Given {
            label: cluster.label(),
            vms,
            until: ticket.valid_until(),
        });
    }

    /// The ticket of a VM.
    pub fn of(&self, vm: &Vm) -> Option<&Secret> {
        self.by_vm.get(&vm.name)
    }

    /// Says until when the seeds can join.
    pub fn tell(&self, report: &Report) {
        for given in &self.given {
            if report.is_json() {
                report.event(&json!({
                    "event": "ticket", "cluster": given.label, "vms": given.vms,
                    "until": clock::utc(given.until),
                }));
                continue;
            }
            let who = match (self.given.len(), &given.vms[..]) {
                (1, [_]) => "this seed".to_owned(),
                (1, _) => "these seeds".to_owned(),
                (_, _) => format!("the seeds for {}", given.label),
            };
            report.line(&format!(
                "{who} can join until {}, {} from now; a VM that is first started later needs a \
                 new seed",
                clock::minute(given.until),
                clock::span(given.until.saturating_sub(clock::now())),
            ));
        }
    }
}

fn needs_one(vm: &Vm) -> bool {
    vm.cluster
        .as_ref()
        .is_some_and(|join| join.with == JoinWith::Ticket)
}

/// The addresses of peers that did not serve, and why.
type Failures<'a> = Vec<(&'a str, Failure)>;

impl Members {
    fn of(cluster: &Cluster<'_>) -> Self {
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
    fn first(&self) -> Result<(Option<&Peer>, Failures<'_>)> {
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
    fn ask(&self, answers: &mut Answers, report: &Report) -> Result<Ticket> {
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
    fn at(
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
    fn judge(
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

    /// A ticket that was made elsewhere. Where a peer answers, it is tried, and renewed by that.
    fn of_a_file(&self, file: &Path, report: &Report) -> Result<Ticket> {
        let text = lab::read_secret(file)?;
        let name = file.display();
        let ticket = Ticket::parse(text.reveal()).map_err(|error| {
            anyhow!(
                "the ticket in {name} {error}\n  right: what this prints on a member of {}, as \
                 root:\n    {MEMBER_LINE}",
                self.label
            )
        })?;
        let now = clock::now();
        if ticket.valid_until() <= now {
            bail!(
                "the ticket in {name} has expired (valid until {}; it is {} by this PC's clock)\n  \
                 right: a new one, which this prints on a member of {}, as root:\n    {MEMBER_LINE}",
                clock::minute(ticket.valid_until()),
                clock::minute(now),
                self.label,
            );
        }
        let (peer, failures) = self.first()?;
        let Some(peer) = peer else {
            let silent = |(_, failure): &(&str, Failure)| matches!(failure, Failure::Silent(_));
            if !failures.iter().all(silent) {
                return Err(self.nobody(&failures));
            }
            report.warn(&format!(
                "no peer of {} answers from this PC, so the ticket in {name} was not tried; it is \
                 used as it is",
                self.label
            ));
            warn_of_clocks(ticket.made().saturating_sub(now), report);
            return Ok(ticket);
        };
        warn_of_strangers(&failures, report);
        let renewed = self.at(peer, report, |connection| {
            peer::log_in(connection, &peer.address, ticket.text())
        });
        match renewed {
            Ok(Login::Ticket { ticket, cluster }) => {
                self.judge(peer, &ticket, cluster.as_deref(), report)
            }
            Ok(Login::Half { .. }) | Err(Denied::Refused) => bail!(
                "{} refuses the ticket in {name}: it is of another cluster, or older than two hours \
                 by that cluster's clock\n  right: a new one, which this prints on a member of {}, as \
                 root:\n    {MEMBER_LINE}",
                peer.address,
                self.label,
            ),
            Err(Denied::Other(error)) => Err(error),
        }
    }

    fn nobody(&self, failures: &[(&str, Failure)]) -> anyhow::Error {
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
            text.push_str(&format!(
                "\n  right: where only the VPN leads to them, --ticket-file FILE with what this prints \
                 on a member, as root:\n    {MEMBER_LINE}"
            ));
        }
        anyhow!(text)
    }
}

/// What ends every refusal.
const AGAIN: &str =
    "It is not tried again by itself, because accounts are locked after some refusals";

/// Why a call gave nothing.
enum Denied {
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
fn warn_of_strangers(failures: &[(&str, Failure)], report: &Report) {
    for (address, failure) in failures {
        if let Failure::Certificate { .. } = failure {
            report.warn(&format!("{address} was passed over: {failure}"));
        }
    }
}

/// A VM has its PC's clock, and a ticket the cluster's. `seconds` is what the two differ by.
fn warn_of_clocks(seconds: u64, report: &Report) {
    if seconds > SKEW {
        report.warn(&format!(
            "the clocks of the cluster and of this PC differ by {}: one of the two is wrong \
             (date -u on both)",
            clock::span(seconds)
        ));
    }
}

/// What is asked for, in words.
fn wanted(factors: Factors) -> String {
    let mut words = Vec::new();
    if factors.totp {
        words.push("the code of six digits");
    }
    if factors.yubico {
        words.push("the touch of the YubiKey");
    }
    if factors.recovery {
        words.push("a recovery key, which is used up by that");
    }
    words.join(", or ")
}

/// A second factor in Proxmox's form: `totp:123456`, `recovery:aaaa-bbbb-cccc-dddd`, `yubico:…`.
/// What cannot be one is refused here, where it costs no attempt.
fn factor(text: &str, factors: Factors) -> Result<Secret, String> {
    let text = text.trim();
    let digits: String = text.chars().filter(|c| *c != ' ').collect();
    let is_code = (6..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let groups: Vec<&str> = text.split('-').collect();
    let is_group = |group: &&str| group.len() == 4 && group.bytes().all(|b| b.is_ascii_hexdigit());
    let is_recovery = groups.len() == 4 && groups.iter().all(is_group);
    let is_yubico = text.len() == 44 && text.bytes().all(|b| b.is_ascii_lowercase());
    let form = match () {
        () if is_code && factors.totp => format!("totp:{digits}"),
        () if is_recovery && factors.recovery => format!("recovery:{}", text.to_lowercase()),
        () if is_yubico && factors.yubico => format!("yubico:{text}"),
        () => return Err(format!("that is not {}", wanted(factors))),
    };
    Ok(Secret::new(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_factors_in_proxmoxs_form() {
        let all = Factors {
            totp: true,
            recovery: true,
            yubico: true,
        };
        let code = Factors {
            totp: true,
            ..Factors::default()
        };
        let form = |text: &str, factors| factor(text, factors).map(|f| f.reveal().to_owned());
        assert_eq!(form(" 123 456\t", all), Ok("totp:123456".into()));
        assert_eq!(
            form("12AB-34cd-56ef-7890", all),
            Ok("recovery:12ab-34cd-56ef-7890".into())
        );
        let yubico = "c".repeat(44);
        assert_eq!(form(&yubico, all), Ok(format!("yubico:{yubico}")));
        for text in ["", "12345", "12345x", "12ab-34cd-56ef-7890", &yubico] {
            assert_eq!(
                form(text, code),
                Err("that is not the code of six digits".into()),
                "{text}"
            );
        }
    }
}
