//! What Proxmox VE's configuration takes.

use super::text::{ValueError, fitting, text_value};

text_value! {
    /// SHA-256 of a certificate as openssl and Proxmox print it, in upper case.
    Fingerprint, fingerprint
}

text_value! {
    /// The name of a storage: `[a-z][a-z0-9\-_.]*[a-z0-9]` in any case (pve-storage's
    /// `pve-storage-id`).
    StorageId, storage_id
}

text_value! {
    /// What a storage may hold (storage.cfg's `content`).
    StorageContent, storage_content
}

text_value! {
    /// A path that an NFS server exports; one word of storage.cfg.
    Export, export
}

text_value! {
    /// Mount options; one word of storage.cfg.
    MountOptions, mount_options
}

text_value! {
    /// The name of an HA group or rule (`pve-configid`).
    HaName, ha_name
}

fn fingerprint(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "a SHA-256 fingerprint: 32 pairs of hex digits with colons between them";
    let pairs: Vec<&str> = text.split(':').collect();
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    match pairs.len() {
        _ if !pairs.iter().all(hex) => Err(ValueError::no("fingerprint", HINT)),
        32 => Ok(text.to_ascii_uppercase()),
        count => {
            let message = format!("is a fingerprint of {count} pairs of digits, not 32");
            Err(ValueError::because(message, HINT))
        }
    }
}

/// Whether it has no other characters than letters, digits and those of `others`, a letter first.
fn is_name(text: &str, others: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn storage_id(text: &str) -> Result<String, ValueError> {
    let ends = text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let fits = is_name(text, "-_.") && ends && (2..=100).contains(&text.len());
    fitting(text, fits, || {
        ValueError::no(
            "name of a storage",
            "2 to 100 letters, digits, `-`, `_` and `.`, a letter first, a letter or digit last",
        )
    })
}

fn storage_content(text: &str) -> Result<String, ValueError> {
    const KINDS: [&str; 7] = [
        "rootdir", "images", "iso", "vztmpl", "backup", "snippets", "import",
    ];
    fitting(text, KINDS.contains(&text), || {
        ValueError::no(
            "kind of content",
            "one of rootdir, images, iso, vztmpl, backup, snippets, import",
        )
    })
}

fn export(text: &str) -> Result<String, ValueError> {
    let fits = |c: char| !c.is_whitespace() && !c.is_control();
    let is_good = text.starts_with('/') && text.chars().all(fits) && text.len() <= 4096;
    fitting(text, is_good, || {
        ValueError::no(
            "absolute path without blanks",
            "an absolute path without spaces, such as /srv/lab",
        )
    })
}

fn mount_options(text: &str) -> Result<String, ValueError> {
    let fits = |b: u8| b.is_ascii_graphic();
    let is_good = !text.is_empty() && !text.starts_with('-') && text.bytes().all(fits);
    fitting(text, is_good, || {
        ValueError::no(
            "list of mount options",
            "mount options without spaces, such as vers=4.2,soft",
        )
    })
}

fn ha_name(text: &str) -> Result<String, ValueError> {
    fitting(text, text.len() >= 2 && is_name(text, "-_"), || {
        ValueError::no(
            "name of a group or rule",
            "two or more characters out of letters, digits, `-` and `_`, a letter first",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_become_upper_case() {
        let pairs = |count| vec!["aB"; count].join(":");
        assert_eq!(fingerprint(&pairs(32)), Ok(pairs(32).to_uppercase()));
        for (bad, message) in [
            (pairs(31), "is a fingerprint of 31 pairs of digits, not 32"),
            (pairs(33), "is a fingerprint of 33 pairs of digits, not 32"),
            (pairs(32).replace("aB", "zz"), "is no fingerprint"),
            (pairs(32).replace(':', ""), "is no fingerprint"),
            (String::new(), "is no fingerprint"),
        ] {
            assert_eq!(fingerprint(&bad).unwrap_err().message(), message);
        }
    }

    #[test]
    fn words_of_storage_cfg() {
        assert!(storage_id("lab-1.x").is_ok() && ha_name("lab_1").is_ok());
        for bad in ["", "a", "1a", "a-", "a b", &"a".repeat(101)] {
            assert!(storage_id(bad).is_err(), "{bad}");
        }
        for bad in ["", "a", "1a", "a.b", "a b"] {
            assert!(ha_name(bad).is_err(), "{bad}");
        }
        assert!(export("/srv/lab").is_ok() && mount_options("vers=4.2,soft").is_ok());
        for bad in ["", "srv", "/a b", "/a\u{a0}b", "/a\n"] {
            assert!(export(bad).is_err(), "{bad}");
        }
        for bad in ["", "-o", "a b", "é"] {
            assert!(mount_options(bad).is_err(), "{bad}");
        }
        assert!(storage_content("rootdir").is_ok() && storage_content("rootdirs").is_err());
    }
}
