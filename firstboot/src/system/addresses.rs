//! The addresses that this machine has at the moment.

use anyhow::{Result, bail};
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};

/// Whether a text is an address that this machine has.
pub(crate) fn is_own(text: &str) -> bool {
    let address = text.parse().ok();
    address.is_some_and(|address| missing(&[address]).is_ok_and(|missing| missing.is_empty()))
}

/// Those that no interface has. The kernel binds a socket to its own addresses only.
pub(crate) fn missing(wanted: &[IpAddr]) -> Result<Vec<IpAddr>> {
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
