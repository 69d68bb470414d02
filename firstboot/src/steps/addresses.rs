//! `addresses`: the static addresses of the seed are this machine's own by now.
//!
//! The network service is somebody else's, and a machine whose network did not come up is not
//! configured, whatever was written.

use crate::step::{Context, Outcome, RetryLater};
use crate::system::{addresses, wait};
use anyhow::{Result, bail};
use std::net::IpAddr;
use std::time::Duration;

/// How long an address may take after the network service has ended: an IPv6 one is looked
/// for on the wire first.
const WAIT: Duration = Duration::from_secs(30);

/// Fails while one of the addresses is missing; a node that joins a cluster waits for it.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    if !context.root.is_live() {
        return Ok(Outcome::unchanged_because("not the running machine"));
    }
    if let Some(locked) = context.locked_outcome() {
        return Ok(locked);
    }
    let Some(network) = &context.seed.network else {
        return Ok(Outcome::unchanged_because("no network in the seed"));
    };
    let wanted: Vec<IpAddr> = network.static_addresses().collect();
    let every = Duration::from_millis(500);
    let missing = wait::until(WAIT, every, || addresses::missing(&wanted), Vec::is_empty)?;
    if missing.is_empty() {
        return Ok(Outcome::unchanged());
    }
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let reason = format!(
        "the network did not come up: no interface has {}; see journalctl -u networking",
        list.join(", ")
    );
    // A cable may be plugged in later, and the join waits for as long as it takes.
    if context.seed.cluster().is_some() {
        return Err(RetryLater::because(reason).into());
    }
    bail!(reason)
}
