//! The members of a cluster that can be asked, and how root logs in there.
//!
//! Proxmox answers every refusal alike, and an account may be locked after some of them (pam_faillock's
//! own limit is three, that of Proxmox's TOTP eight). So a wrong answer is asked for once more, at a
//! terminal only, and then never again in this run.

mod factor;
mod file;

use crate::config::lab::{self, Cluster};
use crate::peer::{self, Factors, Failure, Login, MEMBER_LINE, PORT, Pins, Standing};
use crate::system::ask::{self, Answers};
use crate::system::clock;
use crate::system::interrupt::Interrupted;
use crate::system::ui::Ui;
use anyhow::{Context, Result, anyhow, bail};
use factor::{factor, wanted};
use firstboot::contract::seed::{Peer, Secret, Ticket};
use std::path::PathBuf;

/// How often a wrong password or second factor is taken.
const TRIES: usize = 2;
/// Two clocks that differ by more seconds are told.
const SKEW: u64 = 120;

/// What root logs in with, as it was asked for on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// The root password, asked for at the terminal.
    Terminal,
    /// The root password is the first line of standard input, a second factor the second.
    StandardInput,
    /// A file with a ticket that was made on a member.
    TicketFile(PathBuf),
    /// The root password of a VM's own `password_file`.
    PasswordFile(PathBuf),
}

impl Credentials {
    /// The two options that every command has which asks a member.
    pub(crate) fn of_options(ticket_file: Option<PathBuf>, password_stdin: bool) -> Self {
        match ticket_file {
            Some(file) => Credentials::TicketFile(file),
            None if password_stdin => Credentials::StandardInput,
            None => Credentials::Terminal,
        }
    }

    /// The option that chooses it.
    pub(super) fn option(&self) -> Option<&'static str> {
        match self {
            Credentials::Terminal | Credentials::PasswordFile(_) => None,
            Credentials::StandardInput => Some("--password-stdin"),
            Credentials::TicketFile(_) => Some("--ticket-file"),
        }
    }

    /// Refuses an option that is for one cluster where there are more.
    pub(super) fn check_one_cluster(&self, clusters: &[Cluster<'_>]) -> Result<()> {
        let labels: Vec<String> = clusters.iter().map(Cluster::label).collect();
        match (self.option(), labels.len()) {
            (Some(option), 2..) => bail!(
                "{option} is for one cluster, and these VMs join {}: {}\n  right: a run for each",
                labels.len(),
                labels.join("; ")
            ),
            _ => Ok(()),
        }
    }

    /// Who answers when a password is asked for. Fails where somebody has to, and nobody can.
    fn answers(&self) -> Result<Answers> {
        let answers = match self {
            Credentials::StandardInput => Answers::from_stdin()?,
            Credentials::Terminal => Answers::at_the_terminal(),
            Credentials::PasswordFile(file) => Answers::one(lab::read_secret(file)?),
            // It answers all.
            Credentials::TicketFile(_) => return Ok(Answers::Nobody),
        };
        if let Answers::Nobody = answers {
            bail!(
                "the cluster's root password has to be asked for, and standard input is no \
                 terminal\n  right: at a terminal; or --password-stdin; or --ticket-file FILE \
                 with what this prints on a member, as root:\n    {MEMBER_LINE}"
            );
        }
        Ok(answers)
    }
}

/// A cluster's members that can be asked, each once, with all that is known of their certificates.
pub(super) struct Members {
    pub label: String,
    peers: Vec<Peer>,
    purpose: Purpose,
}

/// What they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A ticket for seeds, which may as well come from elsewhere.
    Join,
    /// What only they can tell.
    Look,
}

/// A login that was taken.
pub(super) struct Granted<'a> {
    /// Worth two hours.
    pub ticket: Ticket,
    /// The address of the peer that gave it; `None` for one of a file that nobody could be asked
    /// about.
    pub peer: Option<&'a str>,
}

/// What a peer is sent.
#[derive(Debug, Clone, Copy)]
enum Sent {
    /// The root password, or a second factor after it.
    Password,
    /// A ticket that was made elsewhere.
    Ticket,
}

/// The addresses of peers that did not serve, and why.
type Failures<'a> = Vec<(&'a str, Failure)>;

impl Members {
    pub(super) fn of(cluster: &Cluster<'_>, purpose: Purpose) -> Self {
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
            purpose,
        }
    }

    /// Logs root in.
    pub(super) fn log_in(&self, credentials: &Credentials, ui: &Ui) -> Result<Granted<'_>> {
        let mut answers = credentials.answers()?;
        match credentials {
            Credentials::TicketFile(file) => self.of_a_file(file, ui),
            Credentials::PasswordFile(file) => {
                let name = file.display();
                self.ask(&mut answers, ui)
                    .with_context(|| format!("cannot log in with the password in {name}"))
            }
            _ => self.ask(&mut answers, ui),
        }
    }

    /// What the peer that has taken the login tells of its cluster.
    pub(super) fn standing(&self, granted: &Granted<'_>) -> Result<Standing> {
        let Some(address) = granted.peer else {
            return Err(self.nobody(&[], Sent::Ticket));
        };
        let peers = self.peers.iter();
        let pins = peers
            .filter(|peer| peer.address == address)
            .flat_map(|peer| peer.fingerprints.clone())
            .collect::<Vec<_>>();
        let connect = || {
            let connection = peer::connect(address, PORT, Pins::One(&pins));
            connection.map_err(|refused| refused.failure)
        };
        match peer::standing(&connect, address, granted.ticket.text()) {
            Ok(standing) => Ok(standing),
            Err(Failure::Interrupted) => Err(Interrupted::default().into()),
            Err(failure) => Err(anyhow!("{address}: {failure}"))
                .with_context(|| format!("cannot learn how {} stands", self.label)),
        }
    }

    /// The number of the first that shows one of its certificates, and why those before it did
    /// not. `None` when there is none.
    fn first(&self) -> Result<(Option<usize>, Failures<'_>)> {
        let mut failures = Vec::new();
        for (number, peer) in self.peers.iter().enumerate() {
            match peer::connect(&peer.address, PORT, Pins::One(&peer.fingerprints)) {
                Ok(_) => return Ok((Some(number), failures)),
                Err(refused) => match refused.failure {
                    Failure::Interrupted => return Err(Interrupted::default().into()),
                    failure => failures.push((peer.address.as_str(), failure)),
                },
            }
        }
        Ok((None, failures))
    }

    /// Asks for the password, and for the second factor where one is wanted.
    fn ask(&self, answers: &mut Answers, ui: &Ui) -> Result<Granted<'_>> {
        let (first, failures) = self.first()?;
        let Some(first) = first else {
            return Err(self.nobody(&failures, Sent::Password));
        };
        warn_of_strangers(&failures, ui);
        let label = &self.label;
        let question = format!(
            "Password of root@pam in {label}, for {}",
            self.peers[first].address
        );
        let taken = until_taken(answers, &question, ui, |answer| {
            match answer.reveal().is_empty() {
                true => Err(Wrong::Form("an empty password is never right".to_owned())),
                false => self.call(first, Sent::Password, ui, |connection, host| {
                    peer::log_in(connection, host, answer)
                }),
            }
        });
        match taken? {
            Taken::Login(peer, Login::Ticket { ticket, cluster }) => {
                self.accept(peer, &ticket, cluster.as_deref(), ui)
            }
            Taken::Login(_, Login::Half { challenge, factors }) => {
                self.second(first, &challenge, factors, answers, ui)
            }
            Taken::Refused(peer, count) => bail!(
                "{peer} refuses root@pam{}: authentication failure, which is all that Proxmox VE \
                 says\n  right: the root password of that member; when it was right, the account is \
                 locked or disabled (there: journalctl -u pvedaemon -n 5). {AGAIN}",
                times(count),
            ),
            Taken::Nothing => bail!("no password was given, so nothing was made"),
        }
    }

    fn second(
        &self,
        first: usize,
        challenge: &Secret,
        factors: Factors,
        answers: &mut Answers,
        ui: &Ui,
    ) -> Result<Granted<'_>> {
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
        let taken = until_taken(answers, &question, ui, |answer| {
            let factor = factor(answer.reveal(), factors).map_err(Wrong::Form)?;
            self.call(first, Sent::Password, ui, |connection, host| {
                peer::finish(connection, host, challenge, &factor)
            })
        });
        match taken? {
            Taken::Login(peer, Login::Ticket { ticket, cluster }) => {
                self.accept(peer, &ticket, cluster.as_deref(), ui)
            }
            Taken::Login(peer, Login::Half { .. }) => {
                bail!(
                    "{peer} asks for the second factor again, and this imgbuild does not know what that means"
                )
            }
            Taken::Refused(peer, count) => bail!(
                "{peer} refuses the second factor of root@pam{}\n  right: {wanted}; a code is taken \
                 once, so wait for the next one. After eight wrong codes Proxmox VE locks them (on a \
                 member: pveum user tfa unlock root@pam). {AGAIN}",
                times(count),
            ),
            Taken::Nothing if answers.can_be_asked_again() => {
                bail!("no second factor was given ({wanted}), so nothing was made")
            }
            Taken::Nothing if answers.are_of_a_file() => bail!(
                "root@pam in {} has a second factor, which no file with a password answers\n  \
                 right: --password-stdin, with {wanted} in the second line; or --ticket-file FILE \
                 with what this prints on a member, as root (it asks for no second factor):\n    \
                 {MEMBER_LINE}",
                self.label
            ),
            Taken::Nothing => bail!(
                "root@pam in {} has a second factor, and the second line of standard input has \
                 none\n  right: {wanted}",
                self.label
            ),
        }
    }

    /// One call at the first peer, from this one on, that can answer it, over a connection of its
    /// own: between two of them somebody types. The members of a cluster know each other's tickets.
    fn call(
        &self,
        from: usize,
        sent: Sent,
        ui: &Ui,
        call: impl Fn(&mut peer::Connection, &str) -> Result<Login, Failure>,
    ) -> Result<(&str, Login), Wrong<'_>> {
        let mut failures = Vec::new();
        for peer in &self.peers[from..] {
            let address = peer.address.as_str();
            let answer = match peer::connect(address, PORT, Pins::One(&peer.fingerprints)) {
                Ok(mut connection) => {
                    let details = connection.certificate.details();
                    if let Some(words) = details.and_then(|d| d.dates_are_wrong(clock::now())) {
                        ui.warn(&format!("{address}: {words}"));
                    }
                    call(&mut connection, address)
                }
                Err(refused) => Err(refused.failure),
            };
            match answer {
                Ok(login) => {
                    for (address, failure) in &failures {
                        ui.warn(&format!("{address} was passed over: {failure}"));
                    }
                    return Ok((address, login));
                }
                Err(Failure::Denied) => return Err(Wrong::Refused(address)),
                Err(Failure::Interrupted) => {
                    return Err(Wrong::Otherwise(Interrupted::default().into()));
                }
                Err(failure) => failures.push((address, failure)),
            }
        }
        Err(Wrong::Otherwise(self.nobody(&failures, sent)))
    }

    /// A ticket of a peer, as the guest will read it.
    fn accept<'a>(
        &self,
        peer: &'a str,
        ticket: &Secret,
        cluster: Option<&str>,
        ui: &Ui,
    ) -> Result<Granted<'a>> {
        let ticket = Ticket::parse(ticket.reveal())
            .map_err(|error| anyhow!("{peer}: what it gave {error}"))?;
        if cluster.is_none() && self.purpose == Purpose::Join {
            ui.warn(&format!(
                "{peer} is in no cluster yet, so nothing can join it: on that node, pvecm create NAME"
            ));
        }
        warn_of_clocks(ticket.made().abs_diff(clock::now()), ui);
        Ok(Granted {
            ticket,
            peer: Some(peer),
        })
    }

    /// That none of them serves, and why.
    fn nobody(&self, failures: &[(&str, Failure)], sent: Sent) -> anyhow::Error {
        let mut text = format!("no peer of {} can be asked from this PC:", self.label);
        for (address, failure) in failures {
            text.push_str(&format!("\n  {address}: {failure}"));
        }
        let other = failures.iter().find_map(|(address, failure)| {
            matches!(failure, Failure::Certificate { .. }).then_some(address)
        });
        if let Some(address) = other {
            let what = match sent {
                Sent::Password => "the root password",
                Sent::Ticket => "the ticket, which is worth as much for two hours",
            };
            text.push_str(&format!(
                "\n  right: imgbuild peer {address}, compared with what that member itself prints; \
                 never without: whoever answers there would get {what}"
            ));
        } else if self.purpose == Purpose::Look {
            text.push_str(
                "\n  right: from a PC that reaches a member, with that one among `peers`",
            );
        } else if let Sent::Ticket = sent {
            // Silent ones alone are no reason to refuse it.
            text.push_str(
                "\n  right: members of the cluster as `peers`; the ticket is tried at one of them, \
                 unless none answers at all",
            );
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

/// Why an answer led to no login.
enum Wrong<'a> {
    /// It cannot be right, so nobody was asked.
    Form(String),
    /// The peer of this address refuses it.
    Refused(&'a str),
    /// Anything else.
    Otherwise(anyhow::Error),
}

/// What became of a question.
enum Taken<'a> {
    /// The peer of this address takes it.
    Login(&'a str, Login),
    /// The peer of this address has refused it, so many times.
    Refused(&'a str, usize),
    /// There was no answer that a peer could be asked about.
    Nothing,
}

/// Takes an answer, and at a terminal another one where the first was wrong.
fn until_taken<'a>(
    answers: &mut Answers,
    question: &str,
    ui: &Ui,
    mut attempt: impl FnMut(&Secret) -> Result<(&'a str, Login), Wrong<'a>>,
) -> Result<Taken<'a>> {
    let mut refused = None;
    for number in 1..=TRIES {
        let Some(answer) = fit(answers, question, ui)? else {
            break;
        };
        let words = match attempt(&answer) {
            Ok((peer, login)) => return Ok(Taken::Login(peer, login)),
            Err(Wrong::Form(words)) => words,
            Err(Wrong::Refused(peer)) => {
                let count = refused.map_or(0, |(_, count)| count);
                refused = Some((peer, count + 1));
                "that was refused".to_owned()
            }
            Err(Wrong::Otherwise(error)) => return Err(error),
        };
        let again = answers.can_be_asked_again();
        match number < TRIES && again {
            true => ui.warn(&format!(
                "{words}; it is asked for once more, and then not again"
            )),
            // A person has seen what was typed; a script is told.
            false if !again && refused.is_none() => bail!(words),
            false => break,
        }
    }
    Ok(match refused {
        Some((peer, count)) => Taken::Refused(peer, count),
        None => Taken::Nothing,
    })
}

/// The next answer that can be one. Another one costs no try: no peer has heard of it.
fn fit(answers: &mut Answers, question: &str, ui: &Ui) -> Result<Option<Secret>> {
    loop {
        let Some(answer) = answers.next(question)? else {
            return Ok(None);
        };
        match ask::cannot_be(&answer) {
            None => return Ok(Some(answer)),
            Some(words) if answers.can_be_asked_again() => {
                ui.warn(&format!("{words}; it is asked for again"));
            }
            Some(words) => bail!("what came on standard input is no answer: {words}"),
        }
    }
}

fn times(count: usize) -> &'static str {
    match count {
        2.. => " twice",
        _ => "",
    }
}

/// A peer that shows another certificate is told even where the next one serves.
fn warn_of_strangers(failures: &[(&str, Failure)], ui: &Ui) {
    for (address, failure) in failures {
        if let Failure::Certificate { .. } = failure {
            ui.warn(&format!("{address} was passed over: {failure}"));
        }
    }
}

/// A VM has its PC's clock, and a ticket the cluster's. `seconds` is what the two differ by.
fn warn_of_clocks(seconds: u64, ui: &Ui) {
    if seconds > SKEW {
        ui.warn(&format!(
            "the clocks of the cluster and of this PC differ by {}: one of the two is wrong \
             (date -u on both)",
            clock::span(seconds)
        ));
    }
}
