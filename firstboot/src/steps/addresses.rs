//! `addresses`: the static addresses of the seed are this machine's own by now.
//!
//! The network service is somebody else's, and a machine whose network did not come up is not
//! configured, whatever was written.

use super::{Context, Later, Outcome};
use anyhow::{Result, bail};
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long an address may take after the network service has ended: an IPv6 one is looked
/// for on the wire first.
const WAIT: Duration = Duration::from_secs(30);

/// Fails while one of the addresses is missing; a node that joins a cluster waits for it.
pub fn run(context: &Context) -> Result<Outcome> {
    if !context.root.is_live() {
        return Ok(Outcome::unchanged_because("not the running machine"));
    }
    if let Some(kept) = context.keep() {
        return Ok(kept);
    }
    let Some(network) = &context.seed.network else {
        return Ok(Outcome::unchanged_because("no network in the seed"));
    };
    let wanted: Vec<IpAddr> = network.static_addresses().collect();
    let deadline = Instant::now() + WAIT;
    loop {
        let missing = missing(&wanted)?;
        if missing.is_empty() {
            return Ok(Outcome::unchanged());
        }
        if Instant::now() >= deadline {
            let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let reason = format!(
                "the network did not come up: no interface has {}; see journalctl -u networking",
                list.join(", ")
            );
            // A cable may be plugged in later, and the join waits for as long as it takes.
            if context.seed.cluster().is_some() {
                return Err(Later::because(reason).into());
            }
            bail!(reason);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Whether a text is an address that this machine has.
pub fn is_own(text: &str) -> bool {
    let address = text.parse().ok();
    address.is_some_and(|address| missing(&[address]).is_ok_and(|missing| missing.is_empty()))
}

/// Those that no interface has. The kernel binds a socket to its own addresses only.
pub fn missing(wanted: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let mut missing = Vec::new();
    for address in wanted {
        match UdpSocket::bind((*address, 0)) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::AddrNotAvailable => missing.push(*address),
            Err(e) => bail!("cannot find out whether {address} is this machine's own: {e}"),
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_address_is_missing_and_an_own_one_is_not() {
        // TEST-NET-1 of RFC 5737 is nobody's.
        let wanted = ["127.0.0.1", "192.0.2.42"].map(|a| a.parse().unwrap());
        assert_eq!(missing(&wanted).unwrap(), wanted[1..]);
    }
}
