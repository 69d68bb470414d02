//! The forms of a lab's own values.

use crate::config::yaml::validators::{self, display_safe};
use crate::system::text::hex;
use firstboot::contract::values::{Fingerprint, HostName, Mac, SshKey};
use sha2::{Digest, Sha256};
use std::path::Display;

/// Folders that a lab has anyway, and a name that means something else everywhere.
const TAKEN_NAMES: [&str; 4] = ["localhost", "images", "secrets", "bases"];
/// A VM's name: a host name's label, and the name of its folder.
pub(super) fn vm_name(text: &str) -> Result<HostName, String> {
    if TAKEN_NAMES.contains(&text) {
        return Err(format!("`{text}` cannot be the name of a VM"));
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

/// The MAC address of a VM without one of its own: QEMU's prefix, then the first three bytes
/// of SHA-256 of the name.
pub(super) fn derived_mac(name: &str) -> Mac {
    let digest = Sha256::digest(name.as_bytes());
    Mac::of([0x52, 0x54, 0, digest[0], digest[1], digest[2]])
}

/// A certificate's SHA-256. What openssl writes before the `=` (`sha256 Fingerprint=`) is left out.
pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
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
    validators::unshown(text)
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
            display_safe(text)
        ))
    }
}

/// A room's name: that of a group in Ansible, where some names are taken and `:`, `!` and `&` mean
/// something.
pub(super) fn room_name(text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let taken = ["all", "ungrouped", "localhost"].contains(&text) || text.starts_with("imgbuild_");
    let wrong = match (first && text.len() <= 64 && text.chars().all(good), taken) {
        (true, false) => return Ok(()),
        (true, true) => "cannot be the name of a room",
        (false, _) => "is no name of a room (letters, digits, - _ only, 64 at most)",
    };
    Err(format!("`{}` {wrong}", display_safe(text)))
}

/// A folder on every PC of a room; `{user}` may stand in it. Programs on the PC are given it, so
/// it never leads through `..`.
pub(super) fn folder_on_a_pc(text: &str) -> Result<String, String> {
    let shown = display_safe(text);
    let rest = text.replace("{user}", "user");
    if rest.contains(['{', '}']) {
        return Err(format!("`{shown}`: only {{user}} is replaced in this path"));
    }
    let parts: Vec<&str> = rest.trim_end_matches('/').split('/').skip(1).collect();
    if !rest.starts_with('/') || parts.is_empty() {
        return Err(format!("`{shown}` is no absolute path of a folder"));
    }
    if parts.iter().any(|part| ["", ".", ".."].contains(part)) || text.chars().any(char::is_control)
    {
        return Err(format!("`{shown}` is no path"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A text that can only be one word.
pub(super) fn one_word(text: &str, word: &str) -> Result<(), String> {
    match text == word {
        true => Ok(()),
        false => Err(format!("`{}` is not `{word}`", display_safe(text))),
    }
}

/// What the lines of a file hold, each once. Blank lines and `#` are for people.
pub(super) fn lines<T: PartialEq>(
    text: &str,
    shown: &Display<'_>,
    what: &str,
    form: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    // As in a document of YAML, nothing is meant by it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let value =
            form(line).map_err(|message| format!("{shown}, line {}: {message}", index + 1))?;
        if !found.contains(&value) {
            found.push(value);
        }
    }
    match found.is_empty() {
        true => Err(format!("{shown} holds no {what}")),
        false => Ok(found),
    }
}

/// A path of lab.yaml; `{name}` may stand in it.
pub(super) fn path(text: &str) -> Result<String, String> {
    let rest = text.replace("{name}", "");
    if rest.contains(['{', '}']) {
        return Err(format!(
            "`{}`: only {{name}} is replaced in a path",
            display_safe(text)
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("`{}` is no path", display_safe(text)));
    }
    Ok(text.to_owned())
}

/// A public key as in `authorized_keys`, without options, that OpenSSH takes. Never repeats the
/// value: it may be the private one.
pub fn ssh_key(text: &str) -> Result<SshKey, String> {
    validators::unshown(text)
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
    fn fingerprints_as_openssl_prints_them() {
        let pairs = |n| vec!["aB"; n].join(":");
        for kind in ["", "sha256 Fingerprint=", "SHA256 Fingerprint = "] {
            let line = format!("{kind}{}", pairs(32));
            assert_eq!(
                fingerprint(&line).as_deref(),
                Ok(pairs(32).to_uppercase().as_str())
            );
        }
        for (text, message) in [
            (
                format!("SHA1 Fingerprint={}", pairs(20)),
                "this is a SHA1 fingerprint, not one of SHA-256",
            ),
            (
                pairs(31),
                "this is a fingerprint of 31 pairs of digits, not 32",
            ),
            ("x".to_owned(), "this is no fingerprint"),
        ] {
            assert_eq!(fingerprint(&text), Err(message.to_owned()));
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
