//! `cluster-keys`: which of the seed's ssh keys open every member of the cluster.
//!
//! An earlier firstboot put a seed's keys where all members find them. They may also be there
//! because an administrator wants it so: they are named, with the command that removes them,
//! and never removed.

use crate::cluster::pmxcfs::retry_if_passing;
use crate::step::{Context, Outcome};
use anyhow::Result;

const FILE: &str = "/etc/pve/priv/authorized_keys";
/// How much of a key's end tells it from all others: 18 bytes.
const TAIL: usize = 24;

/// Looks, and says what it found.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let text = context.root.read_text(FILE).map_err(retry_if_passing)?;
    let text = text.unwrap_or_default();
    let keys = &context.seed.user_data.ssh_authorized_keys;
    let found: Vec<&str> = keys
        .iter()
        .filter_map(|key| blob(key))
        .filter(|blob| has(&text, blob))
        .collect();
    Ok(match words(&found) {
        None => Outcome::unchanged(),
        Some(words) => {
            (context.log)(&words);
            Outcome::unchanged_because(words)
        }
    })
}

fn words(found: &[&str]) -> Option<String> {
    let (is, opens, it) = match found.len() {
        0 => return None,
        1 => ("1 ssh key of the seed is".to_owned(), "opens", "it"),
        n => (format!("{n} ssh keys of the seed are"), "open", "them"),
    };
    let lines: Vec<String> = found
        .iter()
        .map(|blob| format!("-e '\\|{}|d'", &blob[blob.len().saturating_sub(TAIL)..]))
        .collect();
    Some(format!(
        "{is} in {FILE} too, and {opens} every member of the cluster. If that is not meant, take \
         {it} out on any member: sed -i {} {FILE}",
        lines.join(" ")
    ))
}

/// The base64 part of a key's line: whatever stands before it, it begins with the length of
/// the type's name (RFC 4253, 6.6), three bytes of which are zero for every type.
fn blob(line: &str) -> Option<&str> {
    line.split_whitespace()
        .find(|word| word.starts_with("AAAA") && word.is_ascii())
}

fn has(text: &str, key: &str) -> bool {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .any(|line| blob(line) == Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::with_context;
    use crate::system::root::Root;
    use crate::system::root::tests::tree;

    const A: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBt4+b/s7Q3vYvY3b1bNZ0f0m6aD0qTn6D3gq1k0Zp1x";
    const B: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJ3J0hV5mQ8n1b7s2d6f8gK0lP4zXcVbNmQwErTyUiOp";

    fn detail(root: &Root) -> Option<String> {
        let seed = format!("ssh_authorized_keys: [ssh-ed25519 {A} a, ssh-ed25519 {B} b]");
        let outcome = with_context(root, &seed, |context| run(context).unwrap());
        assert!(!outcome.changed);
        outcome.detail
    }

    #[test]
    fn keys_of_every_member_are_named_and_stay() {
        let (_folder, root) = tree();
        assert_eq!(detail(&root), None);
        let others = format!("ssh-rsa AAAAother root@alpha\n# ssh-ed25519 {A}\n");
        root.write(FILE, others.as_bytes(), 0o600).unwrap();
        assert_eq!(detail(&root), None);
        let text = format!("{others}no-pty ssh-ed25519 {A} me\n");
        root.write(FILE, text.as_bytes(), 0o600).unwrap();
        assert_eq!(
            detail(&root).unwrap(),
            format!(
                "1 ssh key of the seed is in {FILE} too, and opens every member of the cluster. If \
                 that is not meant, take it out on any member: sed -i -e \
                 '\\|m6aD0qTn6D3gq1k0Zp1x|d' {FILE}"
            )
            .replace("m6aD0qTn6D3gq1k0Zp1x", &A[A.len() - TAIL..])
        );
        assert_eq!(root.read_text(FILE).unwrap().unwrap(), text);
    }

    /// What is printed is what an administrator runs.
    #[test]
    fn the_command_removes_them_and_nothing_else() {
        let (folder, root) = tree();
        let text = format!("ssh-rsa AAAAother root@alpha\nssh-ed25519 {A} a\nssh-ed25519 {B} b\n");
        root.write(FILE, text.as_bytes(), 0o600).unwrap();
        let detail = detail(&root).unwrap();
        let (_, command) = detail.split_once("member: ").unwrap();
        let file = folder.path().join(FILE.trim_start_matches('/'));
        let command = command.replace(FILE, &file.to_string_lossy());
        let status = std::process::Command::new("sh")
            .args(["-c", &command])
            .status()
            .unwrap();
        assert!(status.success());
        let left = root.read_text(FILE).unwrap().unwrap();
        assert_eq!(left, "ssh-rsa AAAAother root@alpha\n");
    }
}
