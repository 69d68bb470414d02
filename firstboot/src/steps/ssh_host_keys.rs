//! `ssh-host-keys`: this machine's own host keys, all default types, both halves.
//!
//! The sealed base has none, and its empty machine-id is no "first boot" for systemd, so
//! nobody else makes them. The end of a cluster join fails without `ssh_host_rsa_key.pub`.
//!
//! A power cut can leave half a file where a program does not wait for the disk. So a key is one
//! only when ssh-keygen can read it and its public half is what follows from it; and a new one is
//! made in memory, and written whole.

use crate::step::{Context, Outcome};
use crate::system::root::{Kind, Root};
use anyhow::{Result, bail};
use std::ffi::OsStr;
use std::time::Duration;

const FOLDER: &str = "/etc/ssh";
const TYPES: [&str; 3] = ["rsa", "ecdsa", "ed25519"];
/// In memory on a running machine, and root's alone.
const SCRATCH: &str = "/run/firstboot/ssh";
/// How long the public half of a key may take, on a PC that is busy.
const READING: Duration = Duration::from_secs(120);
/// How many letters and digits `ssh-keygen -A` gives the name of a key that it has not finished.
const UNFINISHED: usize = 10;

/// Makes the keys that are missing or are none.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let root = context.root;
    if root.kind(FOLDER)?.is_none() {
        return Ok(Outcome::unchanged_because("ssh is not installed"));
    }
    remove_unfinished(root)?;
    let mut made = Vec::new();
    for kind in TYPES {
        if ensure(root, kind, &context.name)? {
            made.push(kind);
        }
    }
    Ok(Outcome::changed_if(
        !made.is_empty(),
        format!("made {}", made.join(", ")),
    ))
}

/// Private keys that nobody uses, left by a cut `ssh-keygen -A`.
fn remove_unfinished(root: &Root) -> Result<()> {
    for name in root.list(FOLDER)? {
        let end = name.strip_prefix("ssh_host_").and_then(|name| {
            let (_, end) = name.split_once("_key.")?;
            Some(end)
        });
        let is_random = |end: &str| {
            end.len() == UNFINISHED && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if end.is_some_and(is_random) {
            root.remove_file(&format!("{FOLDER}/{name}"))?;
        }
    }
    Ok(())
}

/// Makes both halves of a key good; returns whether anything had to be written.
fn ensure(root: &Root, kind: &str, name: &str) -> Result<bool> {
    let private = format!("{FOLDER}/ssh_host_{kind}_key");
    let public = format!("{private}.pub");
    if let Some(right) = public_half(root, &private)? {
        let found = root.read(&public)?.unwrap_or_default();
        if fields(&String::from_utf8_lossy(&found)) == fields(&right) {
            return Ok(false);
        }
        root.write(&public, right.as_bytes(), 0o644)?;
        return Ok(true);
    }
    root.remove_folder(SCRATCH)?;
    root.ensure_folder(SCRATCH, 0o700)?;
    let new = format!("{SCRATCH}/key");
    let file = root.path(&new)?;
    let owner = format!("root@{name}");
    let words = ["-q", "-t", kind, "-N", "", "-C", &owner, "-f"].map(OsStr::new);
    root.run(
        "ssh-keygen",
        &[&words[..], &[file.as_os_str()]].concat(),
        b"",
    )?;
    let (Some(right), Some(key)) = (public_half(root, &new)?, root.read(&new)?) else {
        bail!("ssh-keygen ended well but did not make a key of type {kind}");
    };
    // The public half follows from the other one, so that comes first.
    root.write(&private, &key, 0o600)?;
    root.write(&public, right.as_bytes(), 0o644)?;
    root.remove_folder(SCRATCH)?;
    Ok(true)
}

/// The public half that follows from a private key; `None` where there is none that can be read.
fn public_half(root: &Root, private: &str) -> Result<Option<String>> {
    if root.kind(private)? != Some(Kind::File) || root.read(private)?.is_none_or(|k| k.is_empty()) {
        return Ok(None);
    }
    // What others may read ssh-keygen does not look at.
    root.ensure_mode(private, 0o600)?;
    let file = root.path(private)?;
    let file = file.to_string_lossy();
    let ended = root.run_within("ssh-keygen", &["-y", "-P", "", "-f", &file], READING)?;
    // One that had no time or no memory has judged nothing: a good key is not given up for that.
    match ended.filter(|ended| ended.status.code().is_some()) {
        None => bail!("ssh-keygen -y -f {private} did not end by itself"),
        Some(ended) if ended.status.success() => {
            Ok(Some(ended.output).filter(|text| fields(text).is_some()))
        }
        Some(_) => Ok(None),
    }
}

/// Type and key of a public half; the comment after them is anybody's.
fn fields(public: &str) -> Option<(&str, &str)> {
    let mut fields = public.split_whitespace();
    Some((fields.next()?, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::with_context;
    use crate::system::root::tests::tree;

    const RSA: &str = "/etc/ssh/ssh_host_rsa_key";
    const ED25519: &str = "/etc/ssh/ssh_host_ed25519_key";

    fn step(root: &Root) -> Option<String> {
        with_context(root, "{}", |context| run(context).unwrap().detail)
    }

    #[test]
    fn what_a_cut_leaves_is_no_key() {
        let (_folder, root) = tree();
        root.ensure_folder(FOLDER, 0o755).unwrap();
        assert_eq!(step(&root).as_deref(), Some("made rsa, ecdsa, ed25519"));
        assert_eq!(step(&root), None);
        assert_eq!(root.list("/run/firstboot").unwrap(), [""; 0]);
        let keys =
            || TYPES.map(|kind| root.read(&format!("{FOLDER}/ssh_host_{kind}_key")).unwrap());
        let [rsa, ecdsa, ed25519] = keys();
        // Half a private key beside a whole public one; a public one that is empty; another one's.
        let half = &rsa.as_ref().unwrap()[..900];
        root.write(RSA, half, 0o600).unwrap();
        root.write("/etc/ssh/ssh_host_ecdsa_key.pub", b"", 0o600)
            .unwrap();
        let other = root.read(&format!("{RSA}.pub")).unwrap().unwrap();
        root.write(&format!("{ED25519}.pub"), &other, 0o644)
            .unwrap();
        // A private key that others may read is one.
        root.ensure_mode(ED25519, 0o644).unwrap();
        for name in ["ssh_host_rsa_key.aZ09aZ09aZ", "ssh_host_rsa_key.backup"] {
            root.write(&format!("{FOLDER}/{name}"), b"a key", 0o600)
                .unwrap();
        }
        assert_eq!(step(&root).as_deref(), Some("made rsa, ecdsa, ed25519"));
        assert_eq!(step(&root), None);
        let found = keys();
        assert_ne!(found[0], rsa);
        assert_eq!(found[1..], [ecdsa, ed25519]);
        assert_eq!(
            root.list(FOLDER).unwrap(),
            [
                "ssh_host_ecdsa_key",
                "ssh_host_ecdsa_key.pub",
                "ssh_host_ed25519_key",
                "ssh_host_ed25519_key.pub",
                "ssh_host_rsa_key",
                "ssh_host_rsa_key.backup",
                "ssh_host_rsa_key.pub",
            ]
        );
        for (half, mode) in [("", 0o600), (".pub", 0o644)] {
            let found = root.owner_and_mode(&format!("{ED25519}{half}")).unwrap();
            assert_eq!(found.unwrap().0, mode);
        }
    }
}
