//! What only the whole file tells: what is missing, and what does not go together.

use super::super::finding::{Finding, Guest};
use super::super::parse::Opt;
use super::line::is_negotiated;
use crate::contract::place::Place;

/// Notes what is wrong with the options taken together.
pub(super) fn classify(options: &[&Opt], guest: &Guest, findings: &mut Vec<Finding>) {
    let file = Whole { options };
    findings.extend(file.device(guest));
    findings.extend(file.side());
    findings.extend(file.remote());
    findings.extend(file.protocol());
    findings.extend(file.scripts());
    findings.extend(file.cipher());
    findings.extend(file.rights());
    file.identity(guest, findings);
}

struct Whole<'a> {
    options: &'a [&'a Opt<'a>],
}

impl<'a> Whole<'a> {
    /// The last one counts.
    fn last(&self, name: &str) -> Option<&'a Opt<'a>> {
        let mut found = self.options.iter().rev();
        found.find(|option| option.name == name).copied()
    }

    /// The first place of an option of this name, else that of the file.
    fn place_of(&self, name: &str) -> Place {
        let found = self.options.iter().find(|option| option.name == name);
        found.map_or(Place::START, |option| option.place)
    }

    fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.last(name)?.parameter(0)
    }

    fn pulls(&self) -> bool {
        self.has("client") || self.has("pull")
    }

    fn is_server(&self) -> bool {
        let modes = ["server", "server-bridge", "server-ipv6"];
        modes.iter().any(|name| self.has(name)) || self.value("mode") == Some("server")
    }

    fn is_tls(&self) -> bool {
        let named = self.has("client") || self.has("tls-client") || self.has("tls-server");
        named || self.is_server()
    }

    /// OpenVPN needs a device, and the bridge the one that is its port.
    fn device(&self, guest: &Guest) -> Option<Finding> {
        let tap = guest.taps.first().copied().unwrap_or("tap120");
        let hint = format!("`dev {tap}` and `dev-type tap`");
        let Some(option) = self.last("dev") else {
            let message = "no `dev`: OpenVPN does not start without a device";
            return Some(Finding::error(Place::START, message, hint));
        };
        let device = option.parameter(0)?;
        let place = option.place_of(0);
        let kind = match self.value("dev-type") {
            Some(kind) => kind,
            None => ["tun", "tap", "null"]
                .into_iter()
                .find(|kind| device.starts_with(kind))
                .unwrap_or_default(),
        };
        if kind.is_empty() {
            let message = format!("`dev {device}`: OpenVPN cannot tell whether it is a tap");
            return Some(Finding::error(place, message, hint));
        }
        if guest.taps.is_empty() && kind == "tap" && device == tap {
            let message = format!(
                "`dev {tap}` is the port of the bridge vmbr120, and this machine has no vmbr120: \
                 what comes through the tunnel reaches no bridge"
            );
            let hint = "a `vmbr120` in lab.yaml, or `openvpn: none` for this VM";
            return Some(Finding::warning(place, message, hint));
        }
        if guest.taps.is_empty() || guest.taps.contains(&device) && kind == "tap" {
            return None;
        }
        if kind != "tap" {
            let message = format!(
                "a {kind} device carries no Ethernet frames: it never reaches the bridge, whose \
                 port is {tap}"
            );
            let hint = format!("{hint}, and a server with `dev tap`, too");
            return Some(Finding::error(place, message, hint));
        }
        if device == "tap" {
            // firstboot makes it the bridge's port where that is the only one.
            let message = format!(
                "`dev tap`: the bridges' ports are {}",
                guest.taps.join(", ")
            );
            let ambiguous = guest.taps.len() > 1;
            return ambiguous.then(|| Finding::error(place, message, "one of them"));
        }
        let message = format!("`dev {device}` is in no bridge: the bridge's port is {tap}");
        Some(Finding::error(place, message, hint))
    }

    /// OpenVPN says: --server and --client cannot be used together; --mode server knows no pull.
    fn side(&self) -> Option<Finding> {
        let modes = ["server", "server-bridge", "server-ipv6", "mode"];
        let server = modes.into_iter().find(|name| self.has(name))?;
        let client = ["client", "pull"].into_iter().find(|name| self.has(name))?;
        self.is_server().then(|| {
            let message = format!("`{client}` together with `{server}`: OpenVPN does not start");
            let hint = format!("`{client}` alone: a VM is a client of the VLAN's server");
            Finding::error(self.place_of(server), message, hint)
        })
    }

    fn remote(&self) -> Option<Finding> {
        let calls = ["client", "pull", "nobind"];
        let name = calls.into_iter().find(|name| self.has(name))?;
        (!self.has("remote")).then(|| {
            Finding::error(
                self.place_of(name),
                "no `remote`: OpenVPN does not know whom to call",
                "remote SERVER 1194",
            )
        })
    }

    /// `proto tcp` is the client's or the server's only where that was said.
    fn protocol(&self) -> Option<Finding> {
        let option = self.last("proto")?;
        let is_open = option.parameter(0) == Some("tcp");
        (is_open && !self.pulls() && !self.is_server()).then(|| {
            let message = "`proto tcp` without `client` or `server`: OpenVPN does not start";
            Finding::error(option.place_of(0), message, "tcp-client or tcp-server")
        })
    }

    /// A program that is there still needs the permission to be run.
    fn scripts(&self) -> Option<Finding> {
        let option = ["up", "down", "route-up", "tls-verify"]
            .into_iter()
            .find_map(|name| self.last(name))?;
        let level = self.value("script-security").unwrap_or("1");
        level.parse::<u32>().is_ok_and(|n| n < 2).then(|| {
            let message = format!("`{}` without `script-security 2`", option.name);
            Finding::error(
                option.place,
                message,
                "no such line, or `script-security 2`",
            )
        })
    }

    /// What OpenVPN says of it is: DEPRECATED OPTION: --cipher set … but missing in
    /// --data-ciphers.
    fn cipher(&self) -> Option<Finding> {
        let option = self.last("cipher")?;
        let name = option.parameter(0)?;
        let place = option.place_of(0);
        if !self.is_tls() {
            return name.eq_ignore_ascii_case("BF-CBC").then(|| {
                let message = "Debian 13's OpenVPN has no cipher `BF-CBC`";
                Finding::error(place, message, "another at both ends, such as AES-256-CBC")
            });
        }
        let said = self.has("data-ciphers") || self.has("ncp-ciphers");
        let said = said || self.has("data-ciphers-fallback");
        let known = super::super::ciphers::is_cipher(name);
        (self.pulls() && known && !said && !is_negotiated(name)).then(|| {
            let message = format!(
                "OpenVPN 2.6 does not use `cipher {name}`: it negotiates AES-256-GCM, AES-128-GCM \
                 or CHACHA20-POLY1305"
            );
            let hint = format!(
                "no such line where the server is of 2.4 or newer; for an older one \
                 `data-ciphers-fallback {name}`"
            );
            Finding::warning(place, message, hint)
        })
    }

    /// Without its rights OpenVPN can open neither device nor keys a second time.
    fn rights(&self) -> Option<Finding> {
        let option = self.last("user").or(self.last("group"))?;
        let missing: Vec<&str> = ["persist-tun", "persist-key"]
            .into_iter()
            .filter(|name| !self.has(name))
            .collect();
        (!missing.is_empty()).then(|| {
            let message = format!(
                "`{}` without {}: the tunnel does not come back after its first break",
                option.name,
                missing.join(" and ")
            );
            Finding::warning(option.place, message, missing.join(", "))
        })
    }

    /// Whom it trusts, and who it is.
    fn identity(&self, guest: &Guest, findings: &mut Vec<Finding>) {
        let start = self.options.first().map_or(Place::START, |o| o.place);
        let anchor = ["client", "tls-client", "tls-server"]
            .into_iter()
            .find(|name| self.has(name))
            .map_or(start, |name| self.place_of(name));
        if !self.is_tls() {
            findings.extend(self.no_tls());
            return;
        }
        let elsewhere = self.has("pkcs12") || self.has("pkcs11-providers");
        let trust = ["ca", "capath", "peer-fingerprint"];
        if !elsewhere && !trust.iter().any(|name| self.has(name)) {
            findings.push(Finding::error(
                anchor,
                "no `ca`: OpenVPN cannot tell its server from another",
                "<ca> … </ca> with the certificate of the VPN's authority",
            ));
        }
        let user_pass = guest.user_pass || self.has("auth-user-pass");
        let finding = match (self.has("cert"), self.has("key")) {
            _ if elsewhere => return,
            (true, true) => return,
            (false, false) if self.pulls() && user_pass => return,
            (false, false) => Finding::error(
                anchor,
                "no `cert` and no `key`: the server would let nobody in",
                "<cert> … </cert> and <key> … </key>, or `auth-user-pass` with `user_pass_file` \
                 in lab.yaml",
            ),
            (true, false) => Finding::error(
                self.place_of("cert"),
                "`cert` without `key`",
                "<key> … </key> with the certificate's private key",
            ),
            (false, true) => Finding::error(
                self.place_of("key"),
                "`key` without `cert`",
                "<cert> … </cert> with the key's certificate",
            ),
        };
        findings.push(finding);
    }

    /// Neither TLS nor a static key: nothing would be encrypted, and OpenVPN refuses TLS's files.
    fn no_tls(&self) -> Option<Finding> {
        if self.has("secret") {
            return None;
        }
        let files = ["ca", "cert", "key", "tls-auth", "tls-crypt", "pkcs12"];
        let file = files.into_iter().find(|name| self.has(name));
        let hint = "client";
        Some(match file {
            Some(name) => Finding::error(
                self.place_of(name),
                format!("`{name}` without `client`: OpenVPN does not start"),
                hint,
            ),
            None => Finding::warning(
                Place::START,
                "neither `client` nor `secret`: nothing that goes through is encrypted",
                hint,
            ),
        })
    }
}
