//! Tickets for the VMs whose lab says `join: ticket`: one question per cluster and run.
//!
//! Proxmox answers every refusal alike, and an account may be locked after some of them (pam_faillock's
//! own limit is three, that of Proxmox's TOTP eight). So a wrong answer is asked for once more, at a
//! terminal only, and then never again in this run.

mod factor;
mod file;
mod members;

use crate::cli::SeedArgs;
use crate::config::lab::{self, Cluster, JoinWith, Lab, Vm};
use crate::peer::MEMBER_LINE;
use crate::system::ask::Answers;
use crate::system::clock;
use crate::system::ui::Report;
use crate::vm::files::read_seed;
use anyhow::{Result, bail};
use firstboot::contract::seed::{Credential, Secret, Ticket};
use members::Members;
use serde_json::json;
use std::collections::BTreeMap;

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

impl Tickets {
    /// Gets what these VMs need. Without `join: ticket` among them nothing is asked.
    pub fn get(lab: &Lab, vms: &[&Vm], args: &SeedArgs, report: &Report) -> Result<Self> {
        let joining: Vec<&Vm> = vms.iter().copied().filter(|vm| needs_one(vm)).collect();
        let clusters = lab::clusters(&lab.domain, &joining);
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
            if given.until <= clock::now() {
                report.line(&format!(
                    "{who} can join for 2 h by the cluster's clock, and by this PC's no more: set the \
                     clock that is wrong, then imgbuild seed once more"
                ));
                continue;
            }
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
