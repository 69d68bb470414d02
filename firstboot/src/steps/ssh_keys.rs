//! `ssh-keys`: the seed's public keys for root, beside those that are there.
//!
//! On a node that has joined, `authorized_keys` is a link into `/etc/pve`, and what it held
//! before is gone: the join stage runs this step's work again.

use super::{Context, Outcome};
use crate::root::{Kind, Root};
use anyhow::{Result, bail};

const FOLDER: &str = "/root/.ssh";
const FILE: &str = "/root/.ssh/authorized_keys";
/// Where pmxcfs is mounted.
const PVE: &str = "/etc/pve/";

/// Adds the keys that are missing.
pub fn run(context: &Context) -> Result<Outcome> {
    let keys = &context.seed.user_data.ssh_authorized_keys;
    if keys.is_empty() {
        return Ok(Outcome::unchanged_because("no ssh key in the seed"));
    }
    let root = context.root;
    let mut changed = root.ensure_folder(FOLDER, 0o700)?;
    let before = root.read_text(FILE)?.unwrap_or_default();
    let (text, added) = authorized_keys(&before, keys);
    let target = link_into_pve(root)?;
    if let Some(target) = target {
        let folder = target.rsplit_once('/').map_or(PVE, |(folder, _)| folder);
        if root.kind(folder)? != Some(Kind::Folder) {
            return Ok(Outcome::unchanged_because(format!(
                "{FILE} is a link to {target}, and {folder} is not mounted: the join stage adds \
                 the keys"
            )));
        }
        if added > 0 {
            root.write_plain(&target, text.as_bytes())?;
            if root.read_text(&target)?.as_deref() != Some(text.as_str()) {
                bail!("{target} does not hold what was just written to it");
            }
            changed = true;
        }
    } else {
        changed |= root.ensure(FILE, text.as_bytes(), 0o600)?;
    }
    Ok(Outcome::changed_if(
        changed,
        format!("{added} of {} added", keys.len()),
    ))
}

/// Whether root's keys are kept in the cluster's file system.
pub fn are_in_pve(root: &Root) -> Result<bool> {
    Ok(link_into_pve(root)?.is_some())
}

fn link_into_pve(root: &Root) -> Result<Option<String>> {
    Ok(root.read_link(FILE)?.filter(|t| t.starts_with(PVE)))
}

/// The file with each key in it, and how many had to be added. A key counts as there when
/// its base64 part is, whatever its options and comment.
pub fn authorized_keys(before: &str, keys: &[String]) -> (String, usize) {
    let mut text = before.to_owned();
    let mut added = 0;
    for key in keys {
        let line = key.trim();
        if line.is_empty() || has(&text, line) {
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        added += 1;
    }
    (text, added)
}

fn has(text: &str, key: &str) -> bool {
    // The base64 part is the longest word of a key line; all begin with "AAAA".
    let blob = key.split_whitespace().find(|word| word.starts_with("AAAA"));
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
    match blob {
        Some(blob) => lines
            .flat_map(str::split_whitespace)
            .any(|word| word == blob),
        None => lines.into_iter().any(|line| line == key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_keys_stay_and_known_ones_are_not_doubled() {
        let before = "# mine\nssh-rsa AAAAold me@home\nfrom=\"10.0.0.1\" ssh-ed25519 AAAAa x";
        let keys = ["ssh-ed25519 AAAAa root@pc", "ssh-ed25519 AAAAb root@pc"].map(String::from);
        let (text, added) = authorized_keys(before, &keys);
        assert_eq!(text, format!("{before}\nssh-ed25519 AAAAb root@pc\n"));
        assert_eq!(added, 1);
        assert_eq!(authorized_keys(&text, &keys), (text.clone(), 0));
    }

    #[test]
    fn a_key_in_a_comment_is_not_there() {
        let keys = ["ssh-ed25519 AAAAa".to_owned()];
        let (_, added) = authorized_keys("# ssh-ed25519 AAAAa\n", &keys);
        assert_eq!(added, 1);
    }
}
