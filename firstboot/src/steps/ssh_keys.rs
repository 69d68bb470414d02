//! `ssh-keys`: the seed's public keys for root, in a file of this machine's own.
//!
//! `/root/.ssh/authorized_keys` is no place for them: `pvecm add` merges it into
//! `/etc/pve/priv/authorized_keys` and makes it a link to there. A key in it is then root's on
//! every member of the cluster, and stays so when this node has long been retired. So sshd is
//! told to read [`FILE`] too (see the step `sshd`), which is local before and after the join.

use crate::contract::values::SshKey;
use crate::step::{Context, Outcome};
use crate::system::root::{Kind, Root};
use crate::system::ssh::{KEYS_FOLDER, ROOT_KEYS as FILE};
use anyhow::Result;
use std::fmt::Write;

/// Where an earlier firstboot put them.
const EARLIER: &str = "/root/.ssh/authorized_keys";
const HEAD: &str = "# Written by firstboot from the seed disk. A key from elsewhere belongs in\n\
                    # /root/.ssh/authorized_keys, which a Proxmox cluster shares among its members.\n";

/// Writes the keys, and takes them out of where the join would find them.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let keys = &context.seed.user_data.ssh_authorized_keys;
    let root = context.root;
    let written = write(root, keys)?;
    let moved = take_out(root, keys)?;
    let mut detail = match keys.len() {
        0 => "no ssh key in the seed".to_owned(),
        1 => format!("1 key in {FILE}"),
        count => format!("{count} keys in {FILE}"),
    };
    if written && keys.is_empty() {
        let _ = write!(detail, ": {FILE} removed");
    }
    if moved > 0 {
        let _ = write!(detail, "; {moved} moved there from {EARLIER}");
    }
    Ok(match (written || moved > 0, keys.is_empty()) {
        (true, _) => Outcome::changed(detail),
        (false, true) => Outcome::unchanged_because(detail),
        (false, false) => Outcome::unchanged(),
    })
}

fn write(root: &Root, keys: &[SshKey]) -> Result<bool> {
    if keys.is_empty() {
        return root.remove_file(FILE);
    }
    // sshd refuses a file that others than root can change, by its folders too.
    let made = root.ensure_folder(KEYS_FOLDER, 0o755)?;
    let lines = keys.iter().flat_map(|key| [key.trim(), "\n"]);
    let text: String = std::iter::once(HEAD).chain(lines).collect();
    Ok(root.ensure(FILE, text.as_bytes(), 0o600)? || made)
}

/// Takes the seed's keys out of the file that a join merges into the cluster's; returns how
/// many. Where that file is the cluster's already it is left alone.
fn take_out(root: &Root, keys: &[SshKey]) -> Result<usize> {
    if root.kind(EARLIER)? != Some(Kind::File) {
        return Ok(0);
    }
    let before = root.read_text(EARLIER)?.unwrap_or_default();
    let (text, count) = without(&before, keys);
    match (count, text.trim().is_empty()) {
        (0, _) => {}
        (_, true) => drop(root.remove_file(EARLIER)?),
        (_, false) => drop(root.ensure(EARLIER, text.as_bytes(), 0o600)?),
    }
    Ok(count)
}

/// The text without the lines that hold one of these keys, and how many they were. A line that
/// begins with options was not written by firstboot.
pub(crate) fn without(before: &str, keys: &[SshKey]) -> (String, usize) {
    let is_ours = |line: &&str| keys.iter().any(|key| key_of(key) == key_of(line));
    let (ours, others): (Vec<&str>, Vec<&str>) = before.split_inclusive('\n').partition(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && is_ours(&line)
    });
    (others.concat(), ours.len())
}

/// A line's first two words, which are type and key where it has no options (sshd(8)).
fn key_of(line: &str) -> (Option<&str>, Option<&str>) {
    let mut words = line.split_whitespace();
    (words.next(), words.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::with_context;
    use crate::system::root::tests::tree;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMqXgRLKG73K+sIxs5oj3E2nhu/4FHxOcrmAd4Wv7ki7 root@pc";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID4j6BYAOVlKM4lPZWThsTSLvXoAiNQsSstz7q7VnACd root@pc";

    fn seed(keys: &[&str]) -> String {
        match keys {
            [] => String::new(),
            _ => format!("ssh_authorized_keys: [{}]", keys.join(", ")),
        }
    }

    fn step(root: &Root, keys: &[&str]) -> Outcome {
        with_context(root, &seed(keys), |context| run(context).unwrap())
    }

    #[test]
    fn the_file_holds_the_seeds_keys_and_no_others() {
        let (_folder, root) = tree();
        let outcome = step(&root, &[A, B]);
        assert_eq!(outcome, Outcome::changed(format!("2 keys in {FILE}")));
        let text = root.read_text(FILE).unwrap().unwrap();
        assert_eq!(text, format!("{HEAD}{A}\n{B}\n"));
        assert_eq!(root.owner_and_mode(FILE).unwrap().unwrap().0, 0o600);
        assert_eq!(root.owner_and_mode(KEYS_FOLDER).unwrap().unwrap().0, 0o755);
        assert_eq!(step(&root, &[A, B]), Outcome::unchanged());
        // A key that the next seed no longer has does not open this machine any more.
        assert!(step(&root, &[B]).changed);
        let text = root.read_text(FILE).unwrap().unwrap();
        assert_eq!(text, format!("{HEAD}{B}\n"));
        assert!(step(&root, &[]).changed);
        assert!(!root.exists(FILE).unwrap());
        let none = Outcome::unchanged_because("no ssh key in the seed");
        assert_eq!(step(&root, &[]), none);
    }

    #[test]
    fn the_seeds_keys_are_not_left_where_a_join_takes_them() {
        let (_folder, root) = tree();
        let before =
            format!("# mine\nssh-rsa AAAAold me@home\n{A} of before\nfrom=\"10.0.0.1\" {B}\n");
        root.write(EARLIER, before.as_bytes(), 0o600).unwrap();
        let outcome = step(&root, &[A, B]);
        let said = format!("2 keys in {FILE}; 1 moved there from {EARLIER}");
        assert_eq!(outcome, Outcome::changed(said));
        let left = root.read_text(EARLIER).unwrap().unwrap();
        let expected = format!("# mine\nssh-rsa AAAAold me@home\nfrom=\"10.0.0.1\" {B}\n");
        assert_eq!(left, expected);
        root.write(EARLIER, format!("{A}\n").as_bytes(), 0o600)
            .unwrap();
        assert!(step(&root, &[A, B]).changed);
        assert!(!root.exists(EARLIER).unwrap());
    }

    #[test]
    fn what_is_the_clusters_is_left_alone() {
        let (_folder, root) = tree();
        let target = "/etc/pve/priv/authorized_keys";
        root.write(target, format!("{A}\n").as_bytes(), 0o600)
            .unwrap();
        root.symlink(target, EARLIER).unwrap();
        step(&root, &[A]);
        let text = root.read_text(target).unwrap().unwrap();
        assert_eq!(text, format!("{A}\n"));
        assert_eq!(root.read_link(EARLIER).unwrap().as_deref(), Some(target));
    }
}
