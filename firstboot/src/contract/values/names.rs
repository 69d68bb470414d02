//! Names: of machines, domains, time zones, interfaces and OpenVPN instances.

use super::network::machine_address;
use super::text::{ValueError, fitting, text_value};
use std::net::IpAddr;

text_value! {
    /// A host name with or without a domain (RFC 1123 section 2.1, RFC 1035 section 2.3.4). Neither
    /// its first nor its last part is digits alone: the resolver takes such a name for an address.
    HostName, host_name
}

text_value! {
    /// The domain of machines: what may stand behind a host's own name and a dot.
    HostDomain, host_domain
}

text_value! {
    /// An IP address or a host name: of a cluster's member, an NFS server, a time server.
    Host, host
}

text_value! {
    /// A DNS search domain. Unlike a host's, its parts may have underscores or be digits.
    Domain, domain
}

text_value! {
    /// A time zone's name in the tz database, `Europe/Paris`: a path below zoneinfo that does not
    /// lead out of there.
    Timezone, timezone
}

text_value! {
    /// The name of an OpenVPN instance: it becomes a file name and part of a unit's name.
    InstanceName, instance_name
}

text_value! {
    /// The name of a network interface: at most 15 bytes (IFNAMSIZ), one word for a file, and
    /// nothing that means something to QEMU's options or to a shell.
    InterfaceName, interface_name
}

/// The one of a lab that names none.
impl Default for InstanceName {
    fn default() -> Self {
        InstanceName("vpn-interco".to_owned())
    }
}

fn host_name(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "a host name: letters, digits and hyphens, 1 to 63 characters in each part, no \
                        hyphen at either end";
    let wrong = |message: &'static str| Err(ValueError::because(message, HINT));
    let parts: Vec<&str> = text.split('.').collect();
    if text.is_empty() {
        return wrong("is empty");
    }
    if parts.contains(&"") {
        return wrong("has an empty part between its dots");
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if !text.bytes().all(fits) {
        return wrong("has characters that no host name may have");
    }
    let is_one = parts.len() == 1;
    let either = |one, several| wrong(if is_one { one } else { several });
    if parts.iter().any(|p| p.starts_with('-') || p.ends_with('-')) {
        return either(
            "begins or ends with a hyphen",
            "has a part that begins or ends with a hyphen",
        );
    }
    if parts.iter().any(|part| part.len() > 63) {
        return either(
            "is longer than 63 characters",
            "has a part that is longer than 63 characters",
        );
    }
    if text.len() > 253 {
        return wrong("is longer than 253 characters");
    }
    let is_number =
        |part: Option<&&str>| part.is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let number = match (is_number(parts.first()), is_number(parts.last())) {
        (true, _) if is_one => "is a number, which the resolver takes for an address",
        (true, _) => "has a number as its first part, which the resolver takes for an address",
        (_, true) => "has a number as its last part, which the resolver takes for an address",
        _ => return Ok(text.to_owned()),
    };
    let hint = match is_one {
        true => "a host name with a letter in it",
        false => "a host name with a letter in its first part and in its last",
    };
    Err(ValueError::because(number, hint))
}

/// What every machine calls itself (RFC 6761 section 6.3), with anything before or behind it.
fn is_localhost(name: &str) -> bool {
    let mut ends = [name.split('.').next(), name.rsplit('.').next()]
        .into_iter()
        .flatten();
    ends.any(|part| part.eq_ignore_ascii_case("localhost"))
}

impl HostName {
    /// Says why no machine can have this as its own name.
    pub fn of_one_machine(self) -> Result<Self, ValueError> {
        match is_localhost(&self.0) {
            false => Ok(self),
            true => Err(ValueError::because(
                "is what every machine calls itself",
                "a name that this machine alone has, such as vm42",
            )),
        }
    }
}

impl Host {
    /// Says why this leads to no other machine.
    pub fn of_another(self) -> Result<Self, ValueError> {
        let leads_there = match self.0.parse().map(|address: IpAddr| address.to_canonical()) {
            // What Debian calls the machine itself, 127.0.0.1 and 127.0.1.1. Behind the others of
            // 127.0.0.0/8 something was put on purpose.
            Ok(IpAddr::V4(v4)) if v4.is_loopback() => v4.octets()[1] != 0,
            Ok(address) => machine_address(address).is_ok(),
            Err(_) => !is_localhost(&self.0),
        };
        match leads_there {
            true => Ok(self),
            false => Err(ValueError::because(
                "leads to no other machine",
                "the address or the name of one",
            )),
        }
    }
}

fn host_domain(text: &str) -> Result<String, ValueError> {
    // Any machine's name: as short as one can be, with a letter in it.
    host_name(&format!("x.{text}")).map(|_| text.to_owned())
}

fn host(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "an IP address or a host name";
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    // Digits and dots that are no address are a mistyped address, not a name.
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(ValueError::no("address", HINT));
    }
    host_name(text).map_err(|error| error.in_general(HINT))
}

fn domain(text: &str) -> Result<String, ValueError> {
    let fits = |part: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&part.len()) && part.bytes().all(fits)
    };
    fitting(text, text.len() <= 253 && text.split('.').all(fits), || {
        ValueError::no("domain name", "a domain name such as lab.example")
    })
}

/// The folders of the tz database.
const AREAS: [&str; 22] = [
    "Africa",
    "America",
    "America/Argentina",
    "America/Indiana",
    "America/Kentucky",
    "America/North_Dakota",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Brazil",
    "Canada",
    "Chile",
    "Etc",
    "Europe",
    "Indian",
    "Mexico",
    "Pacific",
    "US",
    "posix",
    "right",
];

fn timezone(text: &str) -> Result<String, ValueError> {
    let fits = |part: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+-".contains(&b);
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(fits)
    };
    const HINT: &str = "a time zone name such as Europe/Paris";
    if AREAS.contains(&text) {
        let message = "is a folder of time zones, and none of them";
        return Err(ValueError::because(message, HINT));
    }
    let parts = text.split('/');
    fitting(
        text,
        parts.clone().count() <= 3 && parts.clone().all(fits),
        || ValueError::no("name of a time zone", HINT),
    )
}

/// Whether a text is a word that may be a file's name and an argument.
fn is_word(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    text.bytes().all(fits) && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

fn instance_name(text: &str) -> Result<String, ValueError> {
    fitting(text, is_word(text) && text.len() <= 64, || {
        ValueError::no(
            "name of an OpenVPN instance",
            "a name of 1 to 64 letters, digits, `_`, `.` and `-`, no dot or hyphen at the start",
        )
    })
}

/// What the kernel has under `/proc/sys/net/ipv4/conf` beside the interfaces (ip-sysctl.rst), and
/// the one interface that every machine has.
const NO_CARDS: [&str; 3] = ["all", "default", "lo"];

fn interface_name(text: &str) -> Result<String, ValueError> {
    if NO_CARDS.contains(&text) {
        return Err(ValueError::because(
            "is a name that means something else on every machine",
            "another one, such as eth0",
        ));
    }
    fitting(text, is_word(text) && text.len() <= 15, || {
        ValueError::no(
            "name of a network interface",
            "a name of 1 to 15 letters, digits, `_`, `.` and `-`, no dot or hyphen at the start",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(result: Result<String, ValueError>) -> String {
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn host_names() {
        let longest = "a".repeat(63);
        for good in ["vm42", "a", "VM-42", "4you", "vm42.7.example", &longest] {
            assert!(host_name(good).is_ok(), "{good}");
        }
        let (too_long, much) = ("a".repeat(64), format!("{}b", "ab.".repeat(90)));
        let parted = format!("b.{too_long}");
        let with_number = |how: &str| format!("{how}, which the resolver takes for an address");
        let [is, first, last] = [
            "is a number",
            "has a number as its first part",
            "has a number as its last part",
        ]
        .map(with_number);
        for (bad, why) in [
            ("", "is empty"),
            ("-a", "begins or ends with a hyphen"),
            ("b.a-", "has a part that begins or ends with a hyphen"),
            ("42", &is),
            ("lab.7", &last),
            ("7.lab", &first),
            ("10.0.0.1", &first),
            ("a_b", "has characters that no host name may have"),
            ("a b", "has characters that no host name may have"),
            ("é", "has characters that no host name may have"),
            ("a..b", "has an empty part between its dots"),
            ("a.", "has an empty part between its dots"),
            (&too_long, "is longer than 63 characters"),
            (&parted, "has a part that is longer than 63 characters"),
            (&much, "is longer than 253 characters"),
        ] {
            assert_eq!(words(host_name(bad)), why, "{bad}");
        }
        assert_eq!(
            host_name("a_b").unwrap_err().to_string(),
            "has characters that no host name may have; it must be a host name: letters, digits and \
             hyphens, 1 to 63 characters in each part, no hyphen at either end"
        );
    }

    #[test]
    fn names_that_every_machine_has() {
        let own = |text: &str| text.parse::<HostName>().and_then(HostName::of_one_machine);
        let other = |text: &str| text.parse::<Host>().and_then(Host::of_another);
        for name in ["localhost", "LocalHost.lab.example", "vm42.localhost"] {
            assert_eq!(
                own(name).unwrap_err().to_string(),
                "is what every machine calls itself; it must be a name that this machine alone has, \
                 such as vm42"
            );
            assert!(other(name).is_err(), "{name}");
        }
        for nobody in [
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "127.0.1.1",
            "::1",
            "::ffff:127.0.0.1",
            "224.0.0.1",
        ] {
            assert_eq!(
                other(nobody).unwrap_err().to_string(),
                "leads to no other machine; it must be the address or the name of one"
            );
        }
        assert!(
            own("localhosts.lab").is_ok() && other("10.0.0.1").is_ok() && other("pve1").is_ok()
        );
        assert!(
            other("127.86.1.1").is_ok()
                && other("fd00::1").is_ok()
                && other("255.255.255.255").is_err()
        );
    }

    #[test]
    fn domains_of_hosts() {
        for good in ["lab", "lab.example", "7.lab.example"] {
            assert!(host_domain(good).is_ok(), "{good}");
        }
        for bad in ["", "7", "lab.7", "lab.", "a_b", &"ab.".repeat(84)] {
            assert!(host_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["10.0.0.1", "fd00::1", "pve1.example.org"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "10.0.0", "10.0.0.300", "a b", "http://x", "nas.1"] {
            let error = host(bad).unwrap_err();
            assert_eq!(error.to_string(), "must be an IP address or a host name");
        }
        assert_eq!(words(host("10.0.0")), "is no address");
        assert!(domain("7._udp.lab").is_ok());
        assert!(domain("a..b").is_err() && domain("a b").is_err());
    }

    #[test]
    fn time_zones_stay_inside_zoneinfo() {
        for good in [
            "UTC",
            "Europe/Paris",
            "Etc/GMT+1",
            "America/Port-au-Prince",
            "America/Argentina/Ushuaia",
        ] {
            assert!(timezone(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../../etc",
            "Europe/",
            "Europe/../x",
            "Europe Paris",
            "a\nb",
        ] {
            assert!(timezone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_become_files_and_stanzas() {
        for bad in ["", ".hidden", "-x", "a/b", "a b", "a\nb", "..", "é"] {
            assert!(instance_name(bad).is_err(), "{bad}");
            assert!(interface_name(bad).is_err(), "{bad}");
        }
        assert!(instance_name("vpn-interco").is_ok() && instance_name(&"a".repeat(65)).is_err());
        assert!(interface_name("vmbr120").is_ok() && interface_name("sixteencharacter").is_err());
        for name in ["all", "default", "lo"] {
            assert_eq!(
                interface_name(name).unwrap_err().to_string(),
                "is a name that means something else on every machine; it must be another one, such \
                 as eth0"
            );
        }
        assert!(interface_name("lo1").is_ok() && interface_name("All").is_ok());
    }
}
