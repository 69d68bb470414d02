//! Tickets for the VMs whose lab says `join: ticket`: one login per cluster and run.

use crate::commands::members::{Credentials, Members, Purpose};
use crate::config::lab::{self, Cluster, JoinWith, Lab, Vm};
use crate::system::clock;
use crate::system::ui::Ui;
use crate::vm::files::read_seed;
use crate::vm::folder::VmFolder;
use anyhow::{Result, bail};
use firstboot::contract::seed::{Credential, Secret, Ticket};
use firstboot::contract::values::HostName;
use serde_json::json;
use std::collections::BTreeMap;

/// Where the tickets of one run come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TicketSource {
    /// A login at a member.
    Member(Credentials),
    /// The seeds that are there.
    Kept,
}

impl TicketSource {
    /// The option that chooses it.
    fn option(&self) -> Option<&'static str> {
        match self {
            TicketSource::Member(credentials) => credentials.option(),
            TicketSource::Kept => Some("--keep-ticket"),
        }
    }
}

/// The tickets of one run.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    by_vm: BTreeMap<HostName, Secret>,
    given: Vec<Given>,
}

/// A ticket and who has it.
#[derive(Debug)]
struct Given {
    label: String,
    vms: Vec<HostName>,
    /// Until when it is taken, in seconds since 1970.
    until: u64,
}

impl Tickets {
    /// Gets what these VMs need. Without `join: ticket` among them nothing is asked.
    pub(super) fn get(lab: &Lab, vms: &[&Vm], source: &TicketSource, ui: &Ui) -> Result<Self> {
        let joining: Vec<&Vm> = vms.iter().copied().filter(|vm| needs_one(vm)).collect();
        let clusters = lab::clusters(&lab.domain, &joining);
        if let (Some(option), true) = (source.option(), clusters.is_empty()) {
            bail!(
                "{option} is for VMs whose `cluster` says `join: ticket`, and none of these does"
            );
        }
        let mut tickets = Tickets::default();
        if clusters.is_empty() {
            return Ok(tickets);
        }
        let credentials = match source {
            TicketSource::Kept => return Self::kept(lab, &joining, ui),
            TicketSource::Member(credentials) => credentials,
        };
        credentials.check_one_cluster(&clusters)?;
        for cluster in &clusters {
            let members = Members::of(cluster, Purpose::Join);
            let granted = members.log_in(credentials, ui)?;
            tickets.give(cluster, &granted.ticket);
        }
        Ok(tickets)
    }

    /// What the seeds have already. One that was used is nothing but `x`, and stays that.
    fn kept(lab: &Lab, joining: &[&Vm], ui: &Ui) -> Result<Self> {
        let mut tickets = Tickets::default();
        let mut without = Vec::new();
        for vm in joining {
            let seed = read_seed(&VmFolder::of(lab, vm).path).ok();
            let credential = seed.as_ref().and_then(|seed| seed.cluster());
            match credential.map(|cluster| &cluster.credential) {
                Some(Credential::Ticket(text)) => {
                    tickets.by_vm.insert(vm.name.clone(), text.clone());
                }
                _ => without.push(vm.name.as_str()),
            }
            let ticket = credential.and_then(|cluster| cluster.credential.ticket());
            if let Some(ticket) = ticket.filter(|t| t.valid_until() <= clock::now()) {
                ui.warn(&format!(
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
        let vms: Vec<HostName> = cluster.vms.iter().map(|(vm, _)| vm.name.clone()).collect();
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
    pub(super) fn of(&self, vm: &Vm) -> Option<&Secret> {
        self.by_vm.get(&vm.name)
    }

    /// Says until when the seeds can join.
    pub(super) fn show_result(&self, ui: &Ui) {
        for given in &self.given {
            if ui.is_json() {
                ui.event(&json!({
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
                ui.line(&format!(
                    "{who} can join for 2 h by the cluster's clock, and by this PC's no more: set the \
                     clock that is wrong, then imgbuild seed once more"
                ));
                continue;
            }
            ui.line(&format!(
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
