//! `ssh-host-keys`: this machine's own host keys, all default types, both halves.
//!
//! The sealed base has none, and its empty machine-id is no "first boot" for systemd, so
//! nobody else makes them. The end of a cluster join fails without `ssh_host_rsa_key.pub`.

use crate::step::{Context, Outcome};
use crate::system::root::{Kind, Root};
use anyhow::{Result, bail};
use std::ffi::OsStr;

const FOLDER: &str = "/etc/ssh";
const TYPES: [&str; 3] = ["rsa", "ecdsa", "ed25519"];

/// Makes the keys that are missing.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let root = context.root;
    if root.kind(FOLDER)?.is_none() {
        return Ok(Outcome::unchanged_because("ssh is not installed"));
    }
    let private: Vec<&str> = missing(root, "")?;
    let public: Vec<&str> = missing(root, ".pub")?;
    if private.is_empty() && public.is_empty() {
        return Ok(Outcome::unchanged());
    }
    if !private.is_empty() {
        let base = root.path("/")?;
        let mut args = vec![OsStr::new("-A")];
        if !root.is_live() {
            args.extend([OsStr::new("-f"), base.as_os_str()]);
        }
        root.run("ssh-keygen", &args, b"")?;
    }
    // `ssh-keygen -A` passes over a private key that is there, even when its public half
    // was lost.
    for kind in missing(root, ".pub")? {
        let key = root.path(&key_file(kind, ""))?;
        let args = [OsStr::new("-y"), OsStr::new("-f"), key.as_os_str()];
        let text = root.run("ssh-keygen", &args, b"")?;
        root.write(&key_file(kind, ".pub"), text.as_bytes(), 0o644)?;
    }
    for kind in TYPES {
        for half in ["", ".pub"] {
            let file = key_file(kind, half);
            if is_missing(root, &file)? {
                bail!("ssh-keygen ended well but did not make {file}");
            }
            root.sync(&file)?;
        }
    }
    let is_new = |kind: &&str| private.contains(kind) || public.contains(kind);
    let made: Vec<&str> = TYPES.into_iter().filter(is_new).collect();
    Ok(Outcome::changed(format!("made {}", made.join(", "))))
}

fn key_file(kind: &str, half: &str) -> String {
    format!("{FOLDER}/ssh_host_{kind}_key{half}")
}

fn missing(root: &Root, half: &str) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for kind in TYPES {
        if is_missing(root, &key_file(kind, half))? {
            missing.push(kind);
        }
    }
    Ok(missing)
}

/// A power cut can leave an empty file: that is no key.
fn is_missing(root: &Root, file: &str) -> Result<bool> {
    Ok(root.kind(file)? != Some(Kind::File) || root.read(file)?.is_none_or(|k| k.is_empty()))
}
