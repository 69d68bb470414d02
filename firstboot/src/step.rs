//! One step: what it is given, how it ends, and when it is to be tried again.

use crate::contract::seed::Seed;
use crate::contract::status::StepResult;
use crate::contract::volumes::Source;
use crate::system::root::Root;
use std::net::IpAddr;
use std::time::Duration;

/// One step: its name in the journal and on the status port, and what runs it.
#[derive(Clone, Copy)]
pub struct Step {
    pub name: &'static str,
    /// Makes it true. Reads, compares, writes only a difference.
    pub run: fn(&Context) -> anyhow::Result<Outcome>,
}

pub struct Context<'a> {
    /// The system that is configured.
    pub root: &'a Root,
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
    pub identity_locked: Option<String>,
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
pub(crate) struct RetryLater {
    /// Why it did not succeed, for a human.
    pub reason: String,
    /// The shortest pause that makes sense; the runner's own may be longer.
    pub at_least: Duration,
}

impl RetryLater {
    /// To be tried again after the runner's own pause.
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        RetryLater {
            reason: reason.into(),
            at_least: Duration::ZERO,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything had to be changed.
    pub changed: bool,
    /// One line for a human.
    pub detail: Option<String>,
}

impl Outcome {
    pub fn changed(detail: impl Into<String>) -> Self {
        Outcome::with_details(true, vec![detail.into()])
    }

    pub fn unchanged() -> Self {
        Outcome::with_details(false, Vec::new())
    }

    /// Nothing was done, for a reason worth saying.
    pub fn unchanged_because(detail: impl Into<String>) -> Self {
        Outcome::with_details(false, vec![detail.into()])
    }

    /// With all of these details, where there are any.
    pub fn with_details(changed: bool, details: Vec<String>) -> Self {
        Outcome {
            changed,
            detail: (!details.is_empty()).then(|| details.join("; ")),
        }
    }

    /// What two parts of a step come to.
    pub fn and(self, other: Outcome) -> Self {
        let details = self.detail.into_iter().chain(other.detail).collect();
        Outcome::with_details(self.changed || other.changed, details)
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

impl From<&Outcome> for StepResult {
    fn from(outcome: &Outcome) -> Self {
        match outcome.changed {
            true => StepResult::Changed,
            false => StepResult::Unchanged,
        }
    }
}

impl Context<'_> {
    /// The outcome of a step that must not touch name or address, when this is such a node.
    pub fn locked_outcome(&self) -> Option<Outcome> {
        let reason = self.identity_locked.as_deref()?;
        Some(Outcome::unchanged_because(reason))
    }

    /// The outcome of a step about the name, when there is a reason to leave the name alone.
    pub fn name_locked_outcome(&self) -> Option<Outcome> {
        let unnamed = || {
            let why = "the seed gives no name, and this machine has none";
            self.unnamed.then(|| Outcome::unchanged_because(why))
        };
        self.locked_outcome().or_else(unnamed)
    }

    /// The address that the node's name stands for; see [`node_address`].
    pub fn address(&self) -> Option<IpAddr> {
        node_address(self.seed)
    }
}

/// The address that the node's name stands for: the first cluster link if the seed names one,
/// else the first static address of a network card, else of a bridge. `None` with DHCP only.
pub(crate) fn node_address(seed: &Seed) -> Option<IpAddr> {
    let links = seed.cluster().map(|cluster| cluster.all_links());
    if let Some((_, link)) = links.and_then(|links| links.first().copied()) {
        return Some(link);
    }
    seed.network.as_ref()?.static_addresses().next()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::contract::seed;

    /// What a step of a machine named vm42 is given, in its first attempt.
    pub(crate) fn context<'a>(root: &'a Root, source: &'a Source, seed: &'a Seed) -> Context<'a> {
        Context {
            root,
            source,
            seed,
            name: "vm42".to_owned(),
            fqdn: "vm42".to_owned(),
            old_names: Vec::new(),
            unnamed: false,
            identity_locked: None,
            attempt: 1,
            log: &|_| {},
        }
    }

    /// The seed of a machine named vm42.
    pub(crate) fn seed(user_data: &str) -> Seed {
        let meta_data = "instance-id: a\nlocal-hostname: vm42\n";
        let user_data = format!("#cloud-config\n{user_data}\n");
        seed::parse(meta_data, &user_data, None).unwrap()
    }

    /// Gives a step what it gets, for a machine named vm42.
    pub(crate) fn with_context<T>(
        root: &Root,
        user_data: &str,
        run: impl FnOnce(&Context) -> T,
    ) -> T {
        let source = Source::Folder("/nowhere".into());
        run(&context(root, &source, &seed(user_data)))
    }

    /// A seed that joins a cluster, with this beside `cluster` in `proxmox`.
    pub(crate) fn joining(beside: &str) -> String {
        let fingerprint = ["AA"; 32].join(":");
        format!(
            "proxmox:\n  cluster:\n    peers: [{{address: 10.99.0.11, fingerprint: \
             \"{fingerprint}\"}}]\n    password: x\n    votes: 0\n{beside}"
        )
    }
}
