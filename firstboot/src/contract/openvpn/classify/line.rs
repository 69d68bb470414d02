//! What is wrong with one line, whatever the others say.

use super::super::ciphers::{self, NEGOTIATED};
use super::super::finding::{Finding, Guest};
use super::super::options::is_one_of;
use super::super::parse::Opt;
use super::super::taken::{self, Kind};

/// Options that run a program.
const SCRIPTS: &str = "
    auth-user-pass-verify client-connect client-crresponse client-disconnect down ipchange
    iproute learn-address route-pre-down route-up tls-crypt-v2-verify tls-verify up
";
/// Programs that Debian's openvpn brings along, or every Debian has.
const PROGRAMS: [&str; 3] = [
    "/etc/openvpn/update-resolv-conf",
    "/bin/true",
    "/usr/bin/true",
];
/// Where Debian's openvpn has its plugins, and which.
const PLUGINS: [&str; 2] = ["openvpn-plugin-auth-pam.so", "openvpn-plugin-down-root.so"];
const PROTOCOLS: &str = "
    udp udp4 udp6 tcp tcp4 tcp6 tcp-client tcp4-client tcp6-client tcp-server tcp4-server
    tcp6-server
";

/// Judges one option that OpenVPN knows.
pub(super) fn classify(option: &Opt, guest: &Guest) -> Option<Finding> {
    let name = option.name.as_str();
    let first = option.parameter(0);
    match name {
        _ if option.block.is_some() => block(option),
        _ if is_one_of(SCRIPTS, name) => script(option),
        "plugin" => plugin(option),
        "auth-user-pass" if guest.user_pass => None,
        "auth-user-pass" | "askpass" if first.is_none() => Some(asks(option)),
        "static-challenge" => Some(asks(option)),
        "auth-retry" if first == Some("interact") => Some(asks(option)),
        "management-hold" | "management-query-passwords" | "management-query-remote" => {
            let message = format!("`{name}` waits for a program that the guest does not have");
            Some(Finding::error(option.place, message, "no such line"))
        }
        "cipher" => cipher(option),
        "data-ciphers" | "ncp-ciphers" => data_ciphers(option),
        "data-ciphers-fallback" => first.and_then(|name| gone_cipher(option, 0, name)),
        "auth" => first.filter(|name| !ciphers::is_digest(name)).map(|name| {
            let message = format!("Debian 13's OpenVPN has no digest `{name}`");
            Finding::error(
                option.place_of(0),
                message,
                "the server's own, such as SHA256",
            )
        }),
        "comp-lzo" | "compress" => compression(option),
        "ns-cert-type" => {
            let message = "`ns-cert-type` is deprecated: certificates made today have no such mark";
            Some(Finding::warning(
                option.place,
                message,
                "remote-cert-tls server",
            ))
        }
        "secret" if taken::is_absent(option, guest) => taken::absent(option),
        "secret" => {
            let message = "a static key (`secret`) is deprecated, and OpenVPN 2.7 refuses it";
            let hint = "a server with certificates";
            Some(Finding::warning(option.place, message, hint))
        }
        "log" | "log-append" => {
            let message = format!("`{name}` hides from firstboot what OpenVPN says");
            let hint = "no such line: it then goes to the journal";
            Some(Finding::warning(option.place, message, hint))
        }
        "user" | "group" => account(option),
        "proto" => protocol(option, 0),
        "remote-cert-tls" => one_of(option, &["server", "client"], "server"),
        "tls-version-min" => one_of(option, &["1.0", "1.1", "1.2", "1.3"], "1.2"),
        "keepalive" => keepalive(option),
        "remote" => remote(option),
        "dev-node" => first.filter(|node| *node != "/dev/net/tun").map(|node| {
            let message = format!("`dev-node {node}`: on Debian this is the file /dev/net/tun");
            Finding::error(option.place_of(0), message, "no such line")
        }),
        "chroot" => {
            let message = "`chroot`: the guest has no such folder";
            Some(Finding::error(option.place, message, "no such line"))
        }
        _ if taken::is_absent(option, guest) => taken::absent(option),
        _ => None,
    }
}

/// A block holds a file's content, and a key that asks for its password cannot be used.
fn block(option: &Opt) -> Option<Finding> {
    let content = option.block?;
    match taken::kind(&option.name) {
        Some(Kind::File | Kind::Key) => taken::content(&option.name, content, option.place),
        _ => None,
    }
}

fn asks(option: &Opt) -> Finding {
    let (what, hint) = match option.name.as_str() {
        "auth-user-pass" => (
            "user and password",
            "`user_pass_file: FILE` in `openvpn` of lab.yaml, a file with both, one a line",
        ),
        "askpass" => (
            "the password of its key",
            "a key without a password: openssl pkey -in vm.key -out vm-plain.key",
        ),
        _ => (
            "an answer",
            "a server that lets this machine in with its certificate",
        ),
    };
    let message = format!("OpenVPN would ask for {what} at the console, where nobody is");
    Finding::error(option.place, message, hint)
}

fn script(option: &Opt) -> Option<Finding> {
    let command = option.parameter(0)?;
    let program = command.split_ascii_whitespace().next().unwrap_or(command);
    if PROGRAMS.contains(&program) {
        return None;
    }
    let name = &option.name;
    let message = format!("`{name}` runs {program}, which the guest does not have");
    let hint = match name.as_str() {
        "up" | "down" => "no such line: the bridge has its port already, and needs no script",
        _ => "no such line",
    };
    Some(Finding::error(option.place_of(0), message, hint))
}

fn plugin(option: &Opt) -> Option<Finding> {
    let path = option.parameter(0)?;
    let name = path.rsplit('/').next().unwrap_or(path);
    if PLUGINS.contains(&name) {
        return None;
    }
    let message = format!("Debian's OpenVPN has no plugin {name}");
    Some(Finding::error(option.place_of(0), message, "no such line"))
}

/// A cipher that cannot be used at all.
fn gone_cipher(option: &Opt, index: usize, name: &str) -> Option<Finding> {
    (!ciphers::is_cipher(name)).then(|| {
        let message = format!("Debian 13's OpenVPN has no cipher `{name}`");
        let hint = "one that the server has, too, such as AES-256-GCM or AES-256-CBC";
        Finding::error(option.place_of(index), message, hint)
    })
}

/// A client ignores `cipher` when it negotiates, but does not start with a name that it does not
/// know; BF-CBC, the default of long ago, is the one exception.
fn cipher(option: &Opt) -> Option<Finding> {
    let name = option.parameter(0)?;
    if name.eq_ignore_ascii_case("BF-CBC") {
        let message = "Debian 13's OpenVPN has no BF-CBC: the tunnel comes up only where the \
                       server offers another cipher";
        let hint = "a server of OpenVPN 2.4 or newer, and no such line; else another `cipher` \
                     at both ends";
        return Some(Finding::warning(option.place_of(0), message, hint));
    }
    gone_cipher(option, 0, name)
}

fn data_ciphers(option: &Opt) -> Option<Finding> {
    let names = option.parameter(0)?.split(':');
    // `?` before a name: only if it is there.
    let mut gone = names.filter(|name| !name.starts_with('?') && !ciphers::is_cipher(name));
    if let Some(name) = gone.next() {
        return gone_cipher(option, 0, name);
    }
    (option.name == "ncp-ciphers").then(|| {
        let message = "`ncp-ciphers` is `data-ciphers` since OpenVPN 2.5";
        Finding::warning(option.place, message, "data-ciphers")
    })
}

/// Whether a `cipher` is negotiated where nothing else is said.
pub(super) fn is_negotiated(name: &str) -> bool {
    NEGOTIATED
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn compression(option: &Opt) -> Option<Finding> {
    let algorithm = option.parameter(0).unwrap_or("");
    let name = &option.name;
    let (takes, wrong): (&[&str], _) = match name.as_str() {
        "comp-lzo" => (&["", "yes", "no", "adaptive"], "yes, no or adaptive"),
        _ => (
            &["", "stub", "stub-v2", "migrate", "lzo", "lz4", "lz4-v2"],
            "stub-v2, or no such line",
        ),
    };
    if !takes.contains(&algorithm) {
        let message = format!("`{name} {algorithm}` means nothing to OpenVPN");
        return Some(Finding::error(option.place_of(0), message, wrong));
    }
    if algorithm.starts_with("stub") || algorithm == "migrate" {
        return None;
    }
    let message = format!(
        "`{name}`: OpenVPN 2.6 no longer compresses what it sends, and a server without the same \
         line drops every packet"
    );
    let hint = "no such line at both ends; it must stay while the server has it";
    Some(Finding::warning(option.place, message, hint))
}

/// Accounts of other systems: OpenVPN ends when its own is missing.
fn account(option: &Opt) -> Option<Finding> {
    let name = option.parameter(0)?;
    let missing = match option.name.as_str() {
        "user" => ["openvpn", "_openvpn"].contains(&name),
        _ => ["openvpn", "_openvpn", "nobody"].contains(&name),
    };
    missing.then(|| {
        let hint = match option.name.as_str() {
            "user" => "user nobody",
            _ => "group nogroup",
        };
        let message = format!("Debian has no {} `{name}`", option.name);
        Finding::error(option.place_of(0), message, hint)
    })
}

/// A first value that is none of those that OpenVPN knows.
fn one_of(option: &Opt, known: &[&str], hint: &str) -> Option<Finding> {
    let value = option.parameter(0).filter(|value| !known.contains(value))?;
    let name = &option.name;
    let message = format!("`{name}` knows no `{value}`: it takes {}", known.join(", "));
    let hint = format!("{name} {hint}");
    Some(Finding::error(option.place_of(0), message, hint))
}

/// The second number is at least twice the first (helper_keepalive in OpenVPN's helper.c).
fn keepalive(option: &Opt) -> Option<Finding> {
    let number = |index| option.parameter(index)?.parse::<u32>().ok();
    let (ping, restart) = (number(0)?, number(1)?);
    (restart < ping.saturating_mul(2)).then(|| {
        let message = format!(
            "`keepalive {ping} {restart}`: OpenVPN does not start where the second number is not at \
             least twice the first"
        );
        Finding::error(option.place, message, "keepalive 10 60")
    })
}

fn protocol(option: &Opt, index: usize) -> Option<Finding> {
    let name = option.parameter(index)?;
    (!is_one_of(PROTOCOLS, name)).then(|| {
        let message = format!("`{name}` is no protocol of OpenVPN");
        Finding::error(option.place_of(index), message, "udp or tcp-client")
    })
}

fn remote(option: &Opt) -> Option<Finding> {
    let host = option.parameter(0)?;
    if host == "my-server-1" || host == "my-server-2" {
        let message = format!("`{host}` is the name in OpenVPN's own example");
        return Some(Finding::error(
            option.place_of(0),
            message,
            "the server's name or address",
        ));
    }
    let port = option.parameter(1);
    if port.is_some_and(|port| port.parse().is_ok_and(|n: u16| n > 0)) || port.is_none() {
        return protocol(option, 2);
    }
    let message = "this is no port";
    Some(Finding::error(
        option.place_of(1),
        message,
        "a number from 1 to 65535, such as 1194",
    ))
}
