//! The bytes of a probe and of its answer, each a whole Ethernet frame.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86DD;
const BROADCAST: Mac = Mac([0xFF; 6]);
/// The shortest frame without its checksum (IEEE 802.3); drivers need not fill one up.
const SHORTEST: usize = 60;
/// Ethernet, IPv4, their lengths (RFC 826); the operation follows.
const ARP_HEADER: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const ARP_REQUEST: u16 = 1;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The option with the MAC of the target (RFC 4861, section 4.6.1).
const TARGET_MAC: u8 = 2;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mac(pub [u8; 6]);

impl Mac {
    /// One that no machine has, from those that are administered locally and are no group.
    pub(super) fn random() -> Mac {
        let mut bytes = [0; 6];
        // Without random numbers it is still one that no card has.
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
        bytes[0] = bytes[0] & 0xFC | 0x02;
        Mac(bytes)
    }

    /// `52:54:00:12:34:56`.
    pub(super) fn parse(text: &str) -> Option<Mac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
        }
        parts.next().is_none().then_some(Mac(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The type of the frames that answer for an address.
pub(super) fn kind(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => ETHERTYPE_ARP,
        IpAddr::V6(_) => ETHERTYPE_IPV6,
    }
}

/// The question who has an address, from a machine that has none.
pub(super) struct Probe {
    /// Whose it is.
    pub from: Mac,
    pub frame: Vec<u8>,
}

impl Probe {
    pub(super) fn new(address: IpAddr, from: Mac) -> Probe {
        let frame = match address {
            IpAddr::V4(address) => arp_probe(address, from),
            IpAddr::V6(address) => solicitation(address, from),
        };
        Probe { from, frame }
    }

    /// Whether a frame is this probe, which the network gave back.
    pub(super) fn is_seen_in(&self, frame: &[u8]) -> bool {
        frame.starts_with(&self.frame)
    }
}

/// An answer: somebody has the address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub mac: Mac,
}

/// RFC 5227, section 2.1.1: a request with the sender's MAC, 0.0.0.0 as its address, and zeros for what
/// is asked for.
fn arp_probe(address: Ipv4Addr, from: Mac) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, from, ETHERTYPE_ARP);
    frame.extend(ARP_HEADER);
    frame.extend(ARP_REQUEST.to_be_bytes());
    frame.extend(from.0);
    frame.extend(Ipv4Addr::UNSPECIFIED.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(SHORTEST, 0);
    frame
}

/// RFC 4862, section 5.4.2: a solicitation from `::`, without the sender's MAC in it, to the group of those
/// whose address ends like this.
fn solicitation(address: Ipv6Addr, from: Mac) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(
        0xFF02,
        0,
        0,
        0,
        0,
        1,
        0xFF00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    let mut message = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    let sum = checksum(Ipv6Addr::UNSPECIFIED, group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = ethernet(Mac([0x33, 0x33, 0xFF, a, b, c]), from, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    // A neighbour takes only what no router has passed on: a hop limit of 255.
    frame.extend([ICMPV6, 255]);
    frame.extend(Ipv6Addr::UNSPECIFIED.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame
}

/// The sum of an ICMPv6 message (RFC 4443, section 2.3), whose own field is 0 in it.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let mut bytes = [from.octets(), to.octets()].concat();
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, ICMPV6]);
    bytes.extend(message);
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => u16::from_be_bytes([pair[0], 0]),
    });
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whether a frame says that somebody has the address, and who.
pub(super) fn answer(frame: &[u8], address: IpAddr) -> Option<Answer> {
    let kind = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    let body = &frame[14..];
    let mac = match address {
        IpAddr::V4(address) if kind == ETHERTYPE_ARP => arp_sender(body, address)?,
        IpAddr::V6(address) if kind == ETHERTYPE_IPV6 => {
            let inside = advertised(body, address)?;
            inside.unwrap_or(Mac(frame[6..12].try_into().ok()?))
        }
        _ => return None,
    };
    Some(Answer { mac })
}

/// The MAC of an ARP packet, request or reply, whose sender has the address (RFC 5227, section 2.1.1).
fn arp_sender(body: &[u8], address: Ipv4Addr) -> Option<Mac> {
    let rest = body.strip_prefix(&ARP_HEADER)?;
    let (mac, sender) = (rest.get(2..8)?, rest.get(8..12)?);
    (sender == address.octets()).then_some(Mac(mac.try_into().ok()?))
}

/// Whether a packet advertises the address, and the MAC that it names.
fn advertised(body: &[u8], address: Ipv6Addr) -> Option<Option<Mac>> {
    let message = body.get(40..)?;
    let is_message = body[0] >> 4 == 6 && body[6] == ICMPV6 && body[7] == 255;
    let is_advertisement = message.first() == Some(&NEIGHBOUR_ADVERTISEMENT);
    if !is_message || !is_advertisement || message.get(8..24)? != address.octets() {
        return None;
    }
    let option = message.get(24..32);
    let mac = option.filter(|option| option[..2] == [TARGET_MAC, 1]);
    Some(mac.and_then(|option| Some(Mac(option[2..].try_into().ok()?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    const OTHER: Mac = Mac([0x52, 0x54, 0, 0xAA, 0xBB, 0xCC]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 120, 0, 42);

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(pair).collect()
    }

    #[test]
    fn a_probe_by_arp() {
        let expected = "ffffffffffff 525400123456 0806 0001 0800 06 04 0001 525400123456 00000000 \
                        000000000000 0a78002a 000000000000000000000000000000000000";
        let probe = Probe::new(ADDRESS.into(), OWN);
        assert_eq!(probe.frame, bytes(expected));
        assert_eq!(probe.frame.len(), SHORTEST);
        assert!(probe.is_seen_in(&probe.frame));
        // Nobody notes anything of it, and it is no answer.
        assert_eq!(answer(&probe.frame, ADDRESS.into()), None);
    }

    /// What a Linux of another machine replies.
    #[test]
    fn an_answer_by_arp() {
        let reply = bytes(
            "525400123456 525400aabbcc 0806 0001 0800 06 04 0002 525400aabbcc 0a78002a \
             525400123456 00000000",
        );
        let of = |frame: &[u8]| answer(frame, ADDRESS.into());
        assert_eq!(of(&reply), Some(Answer { mac: OTHER }));
        // Somebody who announces it, or asks for another with it, has it too.
        let mut request = reply.clone();
        request[21] = 1;
        assert_eq!(of(&request), Some(Answer { mac: OTHER }));
        assert_eq!(answer(&reply, "10.120.0.43".parse().unwrap()), None);
        for length in 0..32 {
            assert_eq!(of(&reply[..length]), None, "{length}");
        }
        let mut other_kind = reply.clone();
        other_kind[13] = 0;
        assert_eq!(of(&other_kind), None);
    }

    /// The sum is what `tcpdump -vv` calls right.
    #[test]
    fn a_probe_by_neighbour_discovery() {
        let address: Ipv6Addr = "fd00::42".parse().unwrap();
        let frame = Probe::new(address.into(), OWN).frame;
        let expected = "3333ff000042 525400123456 86dd 60000000 0018 3a ff \
             00000000000000000000000000000000 ff0200000000000000000001ff000042 \
             8700 SUM 00000000 fd000000000000000000000000000042";
        let (before, after) = expected.split_once("SUM").unwrap();
        assert_eq!(frame[..56], bytes(before));
        assert_eq!(frame[58..], bytes(after));
        // With its own sum in it the message sums up to nothing.
        let group = "ff02::1:ff00:42".parse().unwrap();
        assert_eq!(checksum(Ipv6Addr::UNSPECIFIED, group, &frame[54..]), 0);
        assert_eq!(answer(&frame, address.into()), None);
    }

    #[test]
    fn an_answer_by_neighbour_discovery() {
        let address: IpAddr = "fd00::42".parse().unwrap();
        let frame = bytes(
            "333300000001 525400aabbcc 86dd 60000000 0020 3a ff fd000000000000000000000000000042 \
             ff020000000000000000000000000001 8800 0000 20000000 fd000000000000000000000000000042 \
             0201 525400aabbcc",
        );
        assert_eq!(answer(&frame, address), Some(Answer { mac: OTHER }));
        // Without the option the frame has it.
        assert_eq!(answer(&frame[..78], address), Some(Answer { mac: OTHER }));
        assert_eq!(answer(&frame, "fd00::43".parse().unwrap()), None);
        for length in 0..78 {
            assert_eq!(answer(&frame[..length], address), None, "{length}");
        }
        // A router passed it on.
        let mut far = frame.clone();
        far[21] = 254;
        assert_eq!(answer(&far, address), None);
    }

    #[test]
    fn macs() {
        assert_eq!(Mac::parse("52:54:00:12:34:56"), Some(OWN));
        assert_eq!(OWN.to_string(), "52:54:00:12:34:56");
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:xx",
        ] {
            assert_eq!(Mac::parse(bad), None, "{bad}");
        }
        let random = Mac::random();
        assert_eq!(random.0[0] & 3, 2);
        assert_ne!(random, Mac::random());
    }
}
