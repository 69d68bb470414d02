//! This machine's own ssh host keys, both halves of each.
//!
//! The sealed base has none, and its empty machine-id is no "first boot" for systemd, so nobody else
//! makes them. The end of a cluster join fails without `ssh_host_rsa_key.pub`, and so does `pvecm
//! updatecerts`, which pveproxy runs when it starts.
//!
//! A power cut can leave half a file where a program does not wait for the disk. So a key is one
//! only when ssh-keygen can read it and its public half is what follows from it; and a new one is
//! made in memory, and written whole.
//!
//! Two primes for an RSA key are found by trying, which takes longer than the whole first stage. So that one
//! is made while the boot goes on: a file says that it is [due](DUE), until both halves are on the disk.

use crate::system::lock;
use crate::system::root::{Kind, Root};
use crate::system::wait;
use anyhow::{Result, bail};
use std::ffi::OsStr;
use std::time::Duration;

/// Where they are.
pub(crate) const FOLDER: &str = "/etc/ssh";
/// The keys that the first stage makes.
pub(crate) const QUICK: [&str; 2] = ["ecdsa", "ed25519"];
/// The one that takes a while.
pub(crate) const RSA: &str = "rsa";
/// There from the first stage on until the RSA key is made.
pub(crate) const DUE: &str = "/var/lib/firstboot/rsa-key-due";
/// What makes the RSA key where it is due.
pub(crate) const UNIT: &str = "/etc/systemd/system/firstboot-rsa-key.service";
/// How long whoever needs the RSA key waits for another process that makes it. It runs when nobody else
/// wants the processor, which may be an emulated one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// Held by who makes the RSA key.
const LOCK: &str = "/run/firstboot/rsa-key.lock";
/// In memory on a running machine, and root's alone; a folder for each key in the making.
const SCRATCH: &str = "/run/firstboot/ssh";
/// How long the public half of a key may take, on a PC that is busy.
const READING: Duration = Duration::from_secs(120);
/// How long sshd may take to start, likewise.
const STARTING: Duration = Duration::from_secs(60);
/// How many letters and digits `ssh-keygen -A` gives the name of a key that it has not finished.
const UNFINISHED: usize = 10;

/// What became of the RSA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RsaKey {
    /// It was there.
    Unchanged,
    Made,
    /// Another process still had it in the making when the time was over.
    InTheMaking,
}

/// Whether something makes the RSA key later: a machine that was made from an older base has no unit for it.
pub(crate) fn is_made_later(root: &Root) -> Result<bool> {
    root.exists(UNIT)
}

/// Whether the RSA key is still to be made, or its public half is missing, which Proxmox VE reads.
pub(crate) fn is_rsa_due(root: &Root) -> Result<bool> {
    Ok(root.exists(DUE)? || !root.exists(&format!("{FOLDER}/ssh_host_{RSA}_key.pub"))?)
}

/// Notes that the RSA key is to be made; durable.
pub(crate) fn note_rsa_due(root: &Root) -> Result<()> {
    root.write(DUE, b"", 0o600)
}

/// Makes the RSA key, unless it is there, for the machine `name`. Where another process makes it, waits for
/// that as long as `patience`. A sshd that runs offers it from then on.
pub(crate) fn make_rsa(root: &Root, name: &str, patience: Duration) -> Result<RsaKey> {
    let Some(_lock) = lock::take(root, LOCK, patience)? else {
        return Ok(RsaKey::InTheMaking);
    };
    let made = ensure(root, RSA, name)?;
    // sshd is told before it is forgotten that the key was due: after a cut it reads the key anyway.
    if made && root.is_live() {
        offer(root)?;
    }
    root.remove_file(DUE)?;
    Ok(match made {
        true => RsaKey::Made,
        false => RsaKey::Unchanged,
    })
}

/// Has a sshd that runs read its keys again. One that is only starting may have looked for them already,
/// and takes no orders yet.
fn offer(root: &Root) -> Result<()> {
    const SSH: &str = "ssh.service";
    let look = || root.query("systemctl", &["is-active", SSH]);
    let every = Duration::from_millis(200);
    let is_settled = |state: &String| !matches!(state.trim(), "activating" | "reloading");
    let state = wait::until(STARTING, every, look, is_settled)?;
    match state.trim() {
        "active" => root.systemctl(&["reload", "--no-block", SSH]),
        _ => Ok(()),
    }
}

/// Private keys that nobody uses, left by a cut `ssh-keygen -A`.
pub(crate) fn remove_unfinished(root: &Root) -> Result<()> {
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
pub(crate) fn ensure(root: &Root, kind: &str, name: &str) -> Result<bool> {
    match repair(root, kind)? {
        Some(repaired) => Ok(repaired),
        None => make(root, kind, name).map(|()| true),
    }
}

/// Makes the public half of a key good, and returns whether it had to be written; `None` where there is no
/// private half that is one.
pub(crate) fn repair(root: &Root, kind: &str) -> Result<Option<bool>> {
    let (private, public) = files(kind);
    let Some(right) = public_half(root, &private)? else {
        return Ok(None);
    };
    let found = root.read(&public)?.unwrap_or_default();
    if fields(&String::from_utf8_lossy(&found)) == fields(&right) {
        return Ok(Some(false));
    }
    root.write(&public, right.as_bytes(), 0o644)?;
    Ok(Some(true))
}

/// The private and the public half.
fn files(kind: &str) -> (String, String) {
    let private = format!("{FOLDER}/ssh_host_{kind}_key");
    let public = format!("{private}.pub");
    (private, public)
}

/// Makes a new key, in the place of what is there.
pub(crate) fn make(root: &Root, kind: &str, name: &str) -> Result<()> {
    let (private, public) = files(kind);
    let scratch = format!("{SCRATCH}-{kind}");
    root.remove_folder(&scratch)?;
    root.ensure_folder(&scratch, 0o700)?;
    let new = format!("{scratch}/key");
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
    root.remove_folder(&scratch)
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
