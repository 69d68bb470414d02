//! What a single value must look like. Each function takes the text and gives the value,
//! normalised, or what would be right. No message holds the text: it may be a secret that
//! went astray.

use std::net::IpAddr;

/// A host name with or without a domain (RFC 1123).
pub(super) fn host(text: &str) -> Result<String, String> {
    let labels: Vec<&str> = text.split('.').collect();
    if text.len() > 253 {
        return Err("is longer than 253 characters".into());
    }
    if !labels.iter().all(|label| is_label(label)) {
        return Err(
            "is no valid host name: letters, digits and hyphens, 1 to 63 characters in each \
             part, no hyphen at either end"
                .into(),
        );
    }
    let ends = [labels.first(), labels.last()];
    if ends.into_iter().flatten().any(|l| all_digits(l)) {
        return Err("is no valid host name: digits alone are no name; put a letter in".into());
    }
    Ok(text.to_owned())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// An address or a host name.
pub(super) fn address_or_host(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() || host(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("must be an IP address or a host name".into())
}

/// An address without a prefix length.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address such as 192.168.122.1".into())
}

/// A DNS search domain.
pub(super) fn domain(text: &str) -> Result<String, String> {
    // Unlike a host, a domain may be served under names with underscores or digits.
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.len() <= 253 && text.split('.').all(fits) {
        return Ok(text.to_owned());
    }
    Err("must be a domain name such as lab.example".into())
}

/// `Europe/Paris`: a path below zoneinfo, so it must not lead out of there.
pub(super) fn timezone(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+/-".contains(&b);
    if text.is_empty() || text.starts_with('/') || !text.bytes().all(fits) {
        return Err("must be a time zone name such as Europe/Paris".into());
    }
    Ok(text.to_owned())
}

/// A public key on one line: `type base64 comment`.
pub(super) fn ssh_key(text: &str) -> Result<String, String> {
    const SHAPE: &str = "must be a public key on one line: type, base64, comment, such as \
                         `ssh-ed25519 AAAA… name@pc`";
    let text = text.trim();
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return Err(SHAPE.into());
    };
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"];
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    // The blob begins with the length of the type's name: three zero bytes, base64 AAAA.
    if text.chars().any(|c| c.is_control() && c != '\t')
        || !known.iter().any(|start| kind.starts_with(start))
        || !blob.starts_with("AAAA")
        || !blob.bytes().all(base64)
    {
        return Err(SHAPE.into());
    }
    Ok(text.to_owned())
}

/// The name of an OpenVPN instance: it becomes a file name and a unit name.
pub(super) fn instance_name(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if text.is_empty() || text.starts_with('.') || !text.bytes().all(fits) {
        return Err(
            "is no valid instance name: letters, digits, `_`, `.` and `-`, no dot at the start"
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// SHA-256 of a certificate as openssl and Proxmox print it; given back in upper case.
pub(super) fn fingerprint(text: &str) -> Result<String, String> {
    let pairs: Vec<&str> = text.split(':').collect();
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if pairs.len() != 32 || !pairs.iter().all(hex) {
        return Err(
            "must be a SHA-256 fingerprint: 32 pairs of hex digits with colons between them".into(),
        );
    }
    Ok(text.to_ascii_uppercase())
}

/// A password that fits on a line.
pub(super) fn password(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.chars().any(char::is_control) {
        return Err("must be on one line, without control characters".into());
    }
    Ok(text.to_owned())
}

/// OpenVPN's `auth-user-pass` file: a line with the user, and one with the password.
pub(super) fn user_pass(text: &str) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    match lines[..] {
        [user, pass] if password(user).is_ok() && password(pass).is_ok() => Ok(text.to_owned()),
        _ => Err("must be two lines, the user's name and the password".into()),
    }
}

/// A crypt(3) string that fits into a field of `/etc/shadow`.
pub(super) fn password_hash(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_graphic() && b != b':';
    if (text.starts_with(['$', '!', '*'])) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    Err(
        "must be a hash as `openssl passwd -6` prints it, because its type is hash (the \
         default); write `type: text` beside a password in clear text"
            .into(),
    )
}

/// The name of a storage: `[a-z][a-z0-9\-_.]*[a-z0-9]` in any case (pve-storage's
/// `pve-storage-id`).
pub(super) fn storage_id(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let ends = text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if (2..=100).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && ends
        && text.bytes().all(fits)
    {
        return Ok(text.to_owned());
    }
    Err(
        "is no valid storage name: at least two letters, digits, `-`, `_` and `.`, a letter \
         first, a letter or digit last"
            .into(),
    )
}

/// What a storage may hold (storage.cfg's `content`).
pub(super) fn storage_content(text: &str) -> Result<String, String> {
    const KINDS: [&str; 7] = [
        "rootdir", "images", "iso", "vztmpl", "backup", "snippets", "import",
    ];
    if KINDS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("must be one of {}", KINDS.join(", ")))
}

/// A path that an NFS server exports; one word of storage.cfg.
pub(super) fn export(text: &str) -> Result<String, String> {
    let fits = |c: char| !c.is_whitespace() && !c.is_control();
    if text.starts_with('/') && text.chars().all(fits) && text.len() <= 4096 {
        return Ok(text.to_owned());
    }
    Err("must be an absolute path without spaces, such as /srv/lab".into())
}

/// Mount options; one word of storage.cfg.
pub(super) fn mount_options(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_graphic();
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    Err("must be mount options without spaces, such as vers=4.2,soft".into())
}

/// The name of an HA group or rule (`pve-configid`).
pub(super) fn ha_name(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(fits)
    {
        return Ok(text.to_owned());
    }
    Err("is no valid name: at least two letters, digits, `-` and `_`, a letter first".into())
}

/// The name of a network interface: at most 15 bytes for the kernel, one word for a file.
pub(super) fn interface(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if !(1..=15).contains(&text.len()) || text.starts_with('.') || !text.bytes().all(fits) {
        return Err(
            "is no valid interface name: 1 to 15 letters, digits, `_`, `.` and `-`, no dot at \
             the start"
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// A MAC address; given back in lower case.
pub(super) fn mac(text: &str) -> Result<String, String> {
    let pairs: Vec<&str> = text.split(':').collect();
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if pairs.len() != 6 || !pairs.iter().all(hex) {
        return Err("must be a MAC address such as 52:54:00:12:34:56".into());
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        let longest = "a".repeat(63);
        for good in ["vm42", "a", "VM-42", "4you", "vm42.lab.example", &longest] {
            assert!(host(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in [
            "", "-a", "a-", "42", "a_b", "a..b", "a.", "10.0.0.1", "a b", "é", &too_long,
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ssh_keys() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr9 admin@pc";
        assert_eq!(ssh_key(&format!("{key}\n")).unwrap(), key);
        assert!(ssh_key("sk-ssh-ed25519@openssh.com AAAAGnNr").is_ok());
        for bad in [
            "",
            "ssh-ed25519",
            "AAAA ssh-rsa",
            "ssh-rsa BBBB",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "ssh-rsa AAAA a\nssh-rsa AAAA b",
        ] {
            assert!(ssh_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn time_zones_stay_inside_zoneinfo() {
        for good in ["UTC", "Europe/Paris", "Etc/GMT+1", "America/Port-au-Prince"] {
            assert!(timezone(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../../etc", "Europe Paris", "a\nb"] {
            assert!(timezone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_become_upper_case() {
        let lower = ["ab"; 32].join(":");
        assert_eq!(fingerprint(&lower).unwrap(), ["AB"; 32].join(":"));
        assert!(fingerprint(&["ab"; 31].join(":")).is_err());
        assert!(fingerprint(&["zz"; 32].join(":")).is_err());
        assert!(fingerprint(&"ab".repeat(32)).is_err());
    }

    #[test]
    fn names_that_become_files_and_stanzas() {
        for bad in ["", ".hidden", "a/b", "a b", "a\nb", ".."] {
            assert!(instance_name(bad).is_err(), "{bad}");
            assert!(interface(bad).is_err(), "{bad}");
        }
        assert!(instance_name("vpn-interco").is_ok());
        assert!(interface("vmbr120").is_ok());
        assert!(interface("sixteencharacter").is_err());
    }

    #[test]
    fn passwords() {
        assert!(password("clear text: yes").is_ok());
        assert!(password("two\nlines").is_err());
        assert!(password_hash("$6$salt$hash").is_ok());
        assert!(password_hash("clear").is_err());
        assert!(password_hash("$6$a:b").is_err());
    }
}
