//! `firstboot` turns a clone of the golden image into its own machine.
//!
//! The library is shared with the builder in one direction only: `imgbuild seed` reads
//! back what it wrote with [`contract`], the very code that the guest runs.
//!
//! Who knows whom: `stage` → `steps` → `cluster` → `step` → `contract` and `system`, which know nobody;
//! no step knows another.

pub mod args;
pub mod cluster;
pub mod contract;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod stage;
mod step;
mod steps;
pub mod system;

use step::{Context, Outcome, Step};

/// The first stage, in order: before anything has the machine's name.
pub const LOCAL: &[Step] = &[
    step("retired", steps::retired::run),
    step("hostname", steps::hostname::run),
    step("hosts", steps::hosts::run),
    step("mailname", steps::mailname::run),
    step("postfix", steps::postfix::run),
    step("rrd", steps::rrd::run),
    step("ssh-host-keys", steps::ssh_host_keys::run),
    step("root-password", steps::root_password::run),
    step("ssh-keys", steps::ssh_keys::run),
    step("sshd", steps::sshd::run),
    step("network", steps::network::run),
    step("openvpn", steps::openvpn::run),
    step("timezone", steps::timezone::run),
    step("ntp", steps::ntp::run),
    step("root-size", steps::root_size::run),
];

/// The second stage: after the network.
pub const JOIN: &[Step] = &[
    step("addresses", steps::addresses::run),
    step("tunnel", steps::tunnel::run),
    step("join", steps::join::run),
    step("cluster-keys", steps::cluster_keys::run),
    step("secret", steps::secret::run),
    step("votes", steps::votes::run),
    step("storage", steps::storage::run),
    step("ha", steps::ha::run),
];

const fn step(name: &'static str, run: fn(&Context) -> anyhow::Result<Outcome>) -> Step {
    Step { name, run }
}
