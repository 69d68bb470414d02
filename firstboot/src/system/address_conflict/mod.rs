//! Whether another machine in the network has an address of this one: address conflict detection, by ARP
//! (RFC 5227) and by neighbour discovery (RFC 4862, section 5.4).
//!
//! Asked is as a machine that does not have the address yet, so nobody notes the sender, and the
//! traffic of the machine that has it is not disturbed. Each probe goes out twice: from the interface's own
//! MAC, and from one that is made up. A virtual machine that was copied has the same MAC; what it answers to
//! that MAC comes to itself.
//!
//! RFC 5227 waits for up to seven seconds, because a switch may be silent after the cable was plugged in,
//! and because hundreds are switched on together. Here the network has been up for some time, bridges
//! forward at once, and whoever hears nothing is asked again; so three probes in [`TIME`] are enough.

mod frames;
mod interfaces;
mod packet_socket;

use crate::system::root::Root;
use anyhow::Result;
use frames::{Answer, Mac, Probe};
use interfaces::Interface;
use packet_socket::PacketSocket;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often is asked.
const PROBES: u32 = 3;
/// How long an answer may take before the next probe: a tunnel over the internet takes a tenth of it.
const PAUSE: Duration = Duration::from_millis(300);
/// How long the question takes where nobody answers.
#[cfg(test)]
const TIME: Duration = Duration::from_millis(900);

/// Another machine has this one's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// The interface on which it was asked.
    pub interface: String,
    /// Who answered; `None` where the kernel found it, which does not tell.
    mac: Option<Mac>,
    /// Whether this machine's interface has that very MAC.
    same_mac: bool,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, interface) = (self.address, &self.interface);
        write!(
            f,
            "another machine on {interface} has this one's address {address}"
        )?;
        match self.mac {
            Some(mac) if self.same_mac => write!(f, ", and its MAC {mac} too"),
            Some(mac) => write!(f, ": its MAC is {mac}"),
            None => Ok(()),
        }
    }
}

/// Asks for those of the addresses that this machine has, on an interface that speaks Ethernet; the
/// first conflict that is seen. Takes 0.9 s where nobody answers, and no time where there is nothing to
/// ask. The error is that of `ip`, or the kernel's.
pub(crate) fn ask(root: &Root, addresses: &[IpAddr]) -> Result<Option<Conflict>> {
    let interfaces = interfaces::list(root)?;
    let own: Vec<Mac> = interfaces.iter().filter_map(|i| i.mac).collect();
    let mut questions = Vec::new();
    for address in addresses {
        let Some(interface) = interfaces.iter().find(|i| i.addresses.contains(address)) else {
            continue;
        };
        if interface.refused.contains(address) {
            return Ok(Some(Conflict {
                address: *address,
                interface: interface.name.clone(),
                mac: None,
                same_mac: false,
            }));
        }
        if let Some(mac) = interface.mac {
            questions.push(Question::new(*address, interface, mac)?);
        }
    }
    for _ in 0..PROBES {
        if questions.is_empty() {
            break;
        }
        for question in &questions {
            question.send();
        }
        let deadline = Instant::now() + PAUSE;
        // One after the other: what comes meanwhile is kept by the kernel.
        for question in &mut questions {
            if let Some(conflict) = question.hear(deadline, &own)? {
                return Ok(Some(conflict));
            }
        }
    }
    Ok(None)
}

/// One address, and what it is asked with.
struct Question<'a> {
    address: IpAddr,
    interface: &'a Interface,
    socket: PacketSocket,
    /// From the own MAC, and from another one.
    probes: [Probe; 2],
    mac: Mac,
    /// Whether the network gives back what it was given: then an answer with the own MAC may be this
    /// machine's own.
    echoes: bool,
}

impl<'a> Question<'a> {
    fn new(address: IpAddr, interface: &'a Interface, mac: Mac) -> Result<Self> {
        Ok(Question {
            address,
            interface,
            socket: PacketSocket::open(&interface.name, interface.index, frames::kind(address))?,
            probes: [mac, Mac::random()].map(|from| Probe::new(address, from)),
            mac,
            echoes: false,
        })
    }

    /// An interface that is down has no other machine behind it.
    fn send(&self) {
        for probe in &self.probes {
            self.socket.send(&probe.frame);
        }
    }

    /// The first answer until `deadline` that another machine has given.
    fn hear(&mut self, deadline: Instant, own: &[Mac]) -> Result<Option<Conflict>> {
        while let Some(frame) = self.socket.next(deadline)? {
            // Where frames never end, those that matter were among them.
            if Instant::now() > deadline + PAUSE {
                break;
            }
            if self.probes.iter().any(|probe| probe.is_seen_in(&frame)) {
                self.echoes = true;
                continue;
            }
            let Some(Answer { mac }) = frames::answer(&frame, self.address) else {
                continue;
            };
            let same_mac = mac == self.mac;
            // Another interface of this machine in the same network answers for all its addresses.
            let is_own = match same_mac {
                true => self.echoes,
                false => own.contains(&mac),
            };
            if !is_own
                && self
                    .probes
                    .iter()
                    .all(|probe| probe.from != mac || same_mac)
            {
                return Ok(Some(Conflict {
                    address: self.address,
                    interface: self.interface.name.clone(),
                    mac: Some(mac),
                    same_mac,
                }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
