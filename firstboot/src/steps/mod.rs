//! The steps: each makes one thing true, and says whether it had to change anything.

pub mod addresses;
pub mod cluster_keys;
pub mod ha;
pub mod hostname;
pub mod hosts;
pub mod join;
pub mod mailname;
pub mod network;
pub mod ntp;
pub mod openvpn;
pub mod pmxcfs;
pub mod postfix;
pub mod retired;
pub mod root_password;
pub mod root_size;
pub mod rrd;
pub mod secret;
pub mod sections;
pub mod settle;
pub mod ssh_host_keys;
pub mod ssh_keys;
pub mod sshd;
pub mod storage;
pub mod timezone;
pub mod tunnel;
pub mod votes;

use crate::contract::seed::Seed;
use crate::contract::values::Cidr;
use crate::contract::volumes::Source;
use crate::system::root::Root;
use std::net::IpAddr;
use std::time::Duration;

/// One step: its name in the journal and on the status port, and what runs it.
#[derive(Clone, Copy)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Makes it true. Reads, compares, writes only a difference.
    pub run: fn(&Context) -> anyhow::Result<Outcome>,
}

/// What a step is given.
pub struct Context<'a> {
    /// The system that is configured.
    pub root: &'a Root,
    /// Where the seed is.
    pub source: &'a Source,
    /// What it should become.
    pub seed: &'a Seed,
    /// The short host name it is to have.
    pub name: String,
    /// The full name; the short one when the seed gives no domain.
    pub fqdn: String,
    /// Short names that this machine had before, which may still stand in files.
    pub old_names: Vec<String>,
    /// Whether neither the seed nor the machine itself has a name.
    pub unnamed: bool,
    /// Why name and address stay as they are, on a node that has joined a cluster.
    pub kept: Option<String>,
    /// How often this step has been run in this boot, this time included.
    pub attempt: u32,
    /// Takes a line for the status port: what a program says while it runs.
    pub log: &'a dyn Fn(&str),
}

/// The error of a step of the second stage that time may mend, such as a cluster without
/// quorum: the step is run again after a pause, for as long as the seed says. Any other error
/// ends the stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Later {
    /// Why it did not succeed, for a human.
    pub reason: String,
    /// The shortest pause that makes sense; the runner's own may be longer.
    pub at_least: Duration,
}

impl Later {
    /// To be tried again after the runner's own pause.
    pub fn because(reason: impl Into<String>) -> Self {
        Later {
            reason: reason.into(),
            at_least: Duration::ZERO,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything had to be changed.
    pub changed: bool,
    /// One line for a human.
    pub detail: Option<String>,
}

impl Outcome {
    /// Something was changed.
    pub fn changed(detail: impl Into<String>) -> Self {
        Outcome {
            changed: true,
            detail: Some(detail.into()),
        }
    }

    /// All was as it should be.
    pub fn unchanged() -> Self {
        Outcome {
            changed: false,
            detail: None,
        }
    }

    /// Nothing was done, for a reason worth saying.
    pub fn unchanged_because(detail: impl Into<String>) -> Self {
        Outcome {
            changed: false,
            detail: Some(detail.into()),
        }
    }

    /// Changed with this detail, or unchanged.
    pub fn changed_if(changed: bool, detail: impl Into<String>) -> Self {
        if changed {
            Outcome::changed(detail)
        } else {
            Outcome::unchanged()
        }
    }
}

impl Context<'_> {
    /// The outcome of a step that must not touch name or address, when this is such a node.
    pub fn keep(&self) -> Option<Outcome> {
        let reason = self.kept.as_deref()?;
        Some(Outcome::unchanged_because(reason))
    }

    /// The outcome of a step about the name, when there is a reason to leave the name alone.
    pub fn keep_name(&self) -> Option<Outcome> {
        let unnamed = || {
            let why = "the seed gives no name, and this machine has none";
            self.unnamed.then(|| Outcome::unchanged_because(why))
        };
        self.keep().or_else(unnamed)
    }

    /// The address that the node's name stands for; see [`node_address`].
    pub fn address(&self) -> Option<IpAddr> {
        node_address(self.seed)
    }
}

/// The address that the node's name stands for: the first cluster link if the seed names one,
/// else the first static address of a network card, else of a bridge. `None` with DHCP only.
pub fn node_address(seed: &Seed) -> Option<IpAddr> {
    let links = seed.cluster().map(|cluster| cluster.all_links());
    if let Some((_, link)) = links.and_then(|links| links.first().copied()) {
        return Some(link);
    }
    let network = seed.network.as_ref()?;
    let cards = network.ethernets.values().flat_map(|e| &e.addresses);
    let bridges = network.bridges.values().flat_map(|b| &b.addresses);
    cards.chain(bridges).next().map(Cidr::address)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a step of a machine named vm42 is given, in its first attempt.
    pub fn context<'a>(root: &'a Root, source: &'a Source, seed: &'a Seed) -> Context<'a> {
        Context {
            root,
            source,
            seed,
            name: "vm42".to_owned(),
            fqdn: "vm42".to_owned(),
            old_names: Vec::new(),
            unnamed: false,
            kept: None,
            attempt: 1,
            log: &|_| {},
        }
    }
}
