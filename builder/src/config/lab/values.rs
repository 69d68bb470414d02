//! The forms of a lab's own values.

use crate::config::yaml::validators;
use crate::system::text::hex;
use sha2::{Digest, Sha256};

/// Folders that a lab has anyway, and a name that means something else everywhere.
const TAKEN_NAMES: [&str; 3] = ["localhost", "images", "secrets"];
/// OpenSSH's key types (`ssh -Q key`); DSA is gone since OpenSSH 10.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A VM's name: a host name's label, and the name of its folder.
pub(super) fn vm_name(text: &str) -> Result<String, String> {
    if TAKEN_NAMES.contains(&text) {
        return Err(format!("`{text}` cannot be the name of a VM"));
    }
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "`{text}` is a number, which the resolver takes for an address"
        ));
    }
    validators::label(text)
}

/// The digits at the end of a name, as a number; `None` without digits. A number beyond
/// `u32` is outside every network.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let digits = digits.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u32::MAX))
}

/// A unicast MAC address, lower-case with colons.
pub(super) fn mac(text: &str) -> Result<String, String> {
    let shown = validators::shown(text);
    let parts: Vec<&str> = text.split(':').collect();
    let pair = |p: &&str| p.len() == 2 && p.chars().all(|c| c.is_ascii_hexdigit());
    if parts.len() != 6 || !parts.iter().all(pair) {
        return Err(format!("`{shown}` is no MAC address"));
    }
    let first = u8::from_str_radix(parts[0], 16).unwrap_or(1);
    if first & 1 == 1 {
        return Err(format!(
            "`{shown}` is a multicast address: its first byte is odd"
        ));
    }
    if parts.iter().all(|p| *p == "00") {
        return Err(format!("`{shown}` is no machine's address"));
    }
    Ok(text.to_ascii_lowercase())
}

/// The MAC address of a VM without one of its own: QEMU's prefix, then the first three bytes
/// of SHA-256 of the name.
pub(super) fn derived_mac(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    format!(
        "52:54:00:{:02x}:{:02x}:{:02x}",
        digest[0], digest[1], digest[2]
    )
}

/// A certificate's SHA-256 as Proxmox shows it: 32 pairs of hex digits with colons, upper-case. What
/// openssl writes before the `=` (`sha256 Fingerprint=`) is left out.
pub(super) fn fingerprint(text: &str) -> Result<String, String> {
    let (kind, text) = match text.rsplit_once('=') {
        Some((kind, value)) => (kind.trim(), value.trim()),
        None => ("", text),
    };
    if let Some((digest, _)) = kind.rsplit_once(' ') {
        let digest = digest.to_ascii_uppercase();
        if let "SHA1" | "MD5" | "SHA224" | "SHA384" | "SHA512" = digest.as_str() {
            return Err(format!(
                "this is a {digest} fingerprint, not one of SHA-256"
            ));
        }
    }
    let parts: Vec<&str> = text.split(':').collect();
    let pair = |p: &&str| p.len() == 2 && p.chars().all(|c| c.is_ascii_hexdigit());
    if !parts.iter().all(pair) {
        return Err("this is no fingerprint".to_owned());
    }
    match parts.len() {
        32 => Ok(text.to_ascii_uppercase()),
        n => Err(format!("this fingerprint has {n} pairs of digits, not 32")),
    }
}

/// A cluster member: an IP address or a host name.
pub(super) fn peer_address(text: &str) -> Result<String, String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    // Digits and dots that are no address are a mistyped address, not a name.
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(format!("`{}` is no address", validators::shown(text)));
    }
    validators::domain(text)
}

/// The name of an OpenVPN instance: a file name and part of a unit's name.
pub(super) fn instance(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && text.len() <= 64 && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}` is no name of an OpenVPN instance",
            validators::shown(text)
        ))
    }
}

/// A label for a cluster, for people; Proxmox has a name of its own.
pub(super) fn cluster_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && text.len() <= 64 && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}` is no name of a cluster (letters, digits, - _ . only, 64 at most)",
            validators::shown(text)
        ))
    }
}

/// A path of lab.yaml; `{name}` may stand in it.
pub(super) fn path(text: &str) -> Result<String, String> {
    let rest = text.replace("{name}", "");
    if rest.contains(['{', '}']) {
        return Err(format!(
            "`{}`: only {{name}} is replaced in a path",
            validators::shown(text)
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("`{}` is no path", validators::shown(text)));
    }
    Ok(text.to_owned())
}

/// A public key as in `authorized_keys`, without options. Never repeats the value: it may
/// be the private one.
pub fn ssh_key(text: &str) -> Result<String, String> {
    if text.contains("PRIVATE KEY") {
        return Err("this is a private key; it must stay where it was made".to_owned());
    }
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    if !KEY_TYPES.contains(&kind) {
        return Err("this does not begin with the type of an ssh public key".to_owned());
    }
    let broken = || format!("the {kind} key is not whole");
    let blob = base64(words.next().ok_or_else(broken)?).ok_or_else(broken)?;
    // RFC 4253 section 6.6: the blob begins with its type, a string with a 4-byte length.
    let named = (kind.len() as u32).to_be_bytes();
    let rest = blob
        .strip_prefix(&named[..])
        .and_then(|b| b.strip_prefix(kind.as_bytes()));
    let min = if kind == "ssh-ed25519" { 36 } else { 33 };
    if rest.is_none_or(|r| r.len() < min) || text.chars().any(char::is_control) {
        return Err(broken());
    }
    Ok(text.trim().to_owned())
}

/// Decodes base64 (RFC 4648 section 4) with its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    if text.len() % 4 != 0 || padding > 2 {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for c in data.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    Some(bytes)
}

/// What tells two OpenVPN configurations of one identity: the certificate inside `<cert>`
/// where there is one, else the user that logs in, else the whole text; as a digest, so that it
/// can be kept.
pub(super) fn openvpn_identity(config: &str, user: Option<&str>) -> String {
    let certificate = config
        .split_once("<cert>")
        .and_then(|(_, rest)| rest.split_once("</cert>"))
        .map(|(inside, _)| inside)
        // Text before BEGIN is openssl's description of the certificate.
        .map(|inside| inside.find("-----BEGIN").map_or(inside, |at| &inside[at..]));
    let text = certificate
        .filter(|c| !c.trim().is_empty())
        .or(user)
        .unwrap_or(config);
    let squeezed: String = text.split_whitespace().collect();
    hex(&Sha256::digest(squeezed.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn numbers_of_names() {
        for (name, number) in [
            ("vm42", Some(42)),
            ("pc7-vm007", Some(7)),
            ("vm", None),
            ("vm4a", None),
            ("vm99999999999", Some(u32::MAX)),
        ] {
            assert_eq!(number_of(name), number, "{name}");
        }
    }

    #[test]
    fn ssh_keys() {
        assert!(ssh_key(KEY).is_ok());
        assert!(ssh_key(&format!("{KEY} me@pc")).is_ok());
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-dss AAAA",
            "hunter2",
            &KEY[..KEY.len() - 4],
            &KEY.replace("ssh-ed25519 ", "ssh-rsa "),
            &format!("{KEY}\nssh-rsa x"),
            "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2",
        ] {
            let message = ssh_key(bad).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert_eq!(base64("aGk="), Some(b"hi".to_vec()));
        assert_eq!(
            (base64("aGk"), base64("a==="), base64("a k=")),
            (None, None, None)
        );
    }

    #[test]
    fn macs() {
        assert_eq!(mac("52:54:00:AB:cd:01"), Ok("52:54:00:ab:cd:01".into()));
        for bad in [
            "",
            "52:54:00:ab:cd",
            "53:54:00:ab:cd:01",
            "00:00:00:00:00:00",
            "52-54-00-ab-cd-01",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn peers() {
        for good in ["10.0.0.1", "fd00::1", "pve1.example.org"] {
            assert!(peer_address(good).is_ok(), "{good}");
        }
        for bad in ["", "10.0.0", "10.0.0.300", "a b", "http://x"] {
            assert!(peer_address(bad).is_err(), "{bad}");
        }
        let pairs = |n| vec!["aB"; n].join(":");
        assert_eq!(fingerprint(&pairs(32)), Ok(pairs(32).to_uppercase()));
        for kind in ["sha256 Fingerprint=", "SHA256 Fingerprint = "] {
            let line = format!("{kind}{}", pairs(32));
            assert_eq!(fingerprint(&line), Ok(pairs(32).to_uppercase()), "{kind}");
        }
        assert_eq!(
            fingerprint(&format!("SHA1 Fingerprint={}", pairs(20))),
            Err("this is a SHA1 fingerprint, not one of SHA-256".to_owned())
        );
        for bad in ["", "x", &pairs(31), &pairs(33), &pairs(32).replace(':', "")] {
            assert!(fingerprint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_certificate_is_one_identity() {
        let config = |text: &str| openvpn_identity(text, None);
        let a = "remote a\n<cert>\nCertificate: x\n-----BEGIN C-----\nAAA\n</cert>\n";
        let b = "remote b\r\n<cert>\r\n-----BEGIN C-----\r\nAAA\r\n</cert>\r\n";
        assert_eq!(config(a), config(b));
        assert_ne!(config(a), config(&a.replace("AAA", "BBB")));
        assert_ne!(config("remote a"), config("remote b"));
        assert_ne!(config("a <cert> </cert>"), config("b <cert> </cert>"));
        let user = |text: &str, user: &str| openvpn_identity(text, Some(user));
        assert_eq!(user("remote a", "vm42"), user("remote b", "vm42"));
        assert_ne!(user("remote a", "vm42"), user("remote a", "vm43"));
        assert_eq!(user(a, "vm42"), config(a));
    }
}
