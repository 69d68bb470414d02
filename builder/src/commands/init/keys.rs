//! The user's own ssh keys, so that a first lab has somebody who can log in.

use crate::config::lab::ssh_key;
use crate::system::given;
use crate::system::xdg;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What the template has in their place.
const PLACE: &str = "  # ssh_keys:\n  #   - ssh-ed25519 AAAA... you@pc\n";
/// No public key is longer. In bytes.
const MOST: u64 = 16 * 1024;

/// Public keys, each with the file that it is from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Keys(Vec<(String, String)>);

impl Keys {
    /// Those in `~/.ssh`.
    pub(super) fn of_this_user() -> Self {
        xdg::home().map_or_else(Keys::default, |home| Keys::of(&home.join(".ssh")))
    }

    /// Those in the files `*.pub` of a folder that hold one key; no other file is opened.
    fn of(folder: &Path) -> Self {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            // A certificate is no key.
            .filter(|name| name.ends_with(".pub") && !name.ends_with("-cert.pub"))
            .collect();
        names.sort();
        // A lab has each key once, whatever its comment.
        let mut seen = BTreeSet::new();
        let keys = names.into_iter().filter_map(|name| {
            let key = only_key_of(&folder.join(&name))?;
            let itself: Vec<String> = key.split_whitespace().take(2).map(str::to_owned).collect();
            seen.insert(itself).then_some((name, key))
        });
        Keys(keys.collect())
    }

    /// The lab with them in it; as it is where there is none.
    pub(super) fn put_into(&self, lab: &str) -> String {
        if self.0.is_empty() {
            return lab.to_owned();
        }
        let mut text = "  # These are yours, from ~/.ssh.\n  ssh_keys:\n".to_owned();
        for (_, key) in &self.0 {
            text.push_str(&format!("    - {}\n", scalar(key)));
        }
        lab.replacen(PLACE, &text, 1)
    }

    pub(super) fn files(&self) -> Vec<String> {
        let names = self.0.iter().map(|(name, _)| format!("~/.ssh/{name}"));
        names.collect()
    }

    /// What became of them, for a human.
    pub(super) fn told(&self) -> String {
        match self.0.len() {
            0 => {
                "nobody could log in to a VM yet: there is no ssh key of yours in ~/.ssh. Make one \
                  with `ssh-keygen`, and name its .pub file in lab.yaml (ssh_key_files)"
                    .to_owned()
            }
            1 => format!("your ssh key opens the VMs: {}", self.files()[0]),
            _ => format!("your ssh keys open the VMs: {}", self.files().join(", ")),
        }
    }
}

/// The one key of a file.
fn only_key_of(file: &Path) -> Option<String> {
    let text = given::read_text(file, MOST).ok()?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let key = ssh_key(lines.next()?).ok()?;
    lines.next().is_none().then_some(key.into())
}

/// A key as a value of YAML: what its comment has may mean something there.
fn scalar(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " +/=@._-".contains(c);
    match key.chars().all(plain) {
        true => key.to_owned(),
        // JSON is YAML.
        false => serde_json::Value::from(key).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";

    #[test]
    fn only_public_keys_are_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Keys::of(folder.path()), Keys::default());
        assert_eq!(Keys::of(&folder.path().join("none")), Keys::default());
        for (name, text) in [
            ("id_ed25519.pub", format!("{KEY} me@pc\n")),
            ("work.pub", format!("\n{OTHER} a: \"b\" # c\n")),
            // The first once more, with another comment.
            ("x.pub", format!("{KEY} work\n")),
            // None of these.
            ("id_ed25519", format!("{KEY} private\n")),
            ("known_hosts", format!("{KEY}\n")),
            ("id_ed25519-cert.pub", format!("{KEY}\n")),
            ("two.pub", format!("{KEY} a\n{KEY} b\n")),
            ("empty.pub", String::new()),
            (
                "private.pub",
                "-----BEGIN OPENSSH PRIVATE KEY-----\n".into(),
            ),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("folder.pub")).unwrap();
        let keys = Keys::of(folder.path());
        assert_eq!(keys.files(), ["~/.ssh/id_ed25519.pub", "~/.ssh/work.pub"]);
        let lab = keys.put_into(super::super::LAB);
        let lines = format!(
            "\n  ssh_keys:\n    - {KEY} me@pc\n    - \"{OTHER} a: \\\"b\\\" # c\"\n  # ssh_key_files:"
        );
        assert!(lab.contains(&lines), "{lab}");
        assert!(!lab.contains("private"));
        let none = Keys::default();
        assert_eq!(none.put_into(super::super::LAB), super::super::LAB);
    }
}
