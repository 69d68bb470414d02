//! `ssh-host-keys`: this machine's own host keys, all default types. The one that takes a while is left to
//! `firstboot rsa-key`, in the background; see [`ssh_host_keys`].

use crate::step::{Context, Outcome};
use crate::system::ssh_host_keys::{self, FOLDER, QUICK, RSA};
use anyhow::Result;

/// Makes the keys that are missing or are none.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let root = context.root;
    if root.kind(FOLDER)?.is_none() {
        return Ok(Outcome::unchanged_because("ssh is not installed"));
    }
    ssh_host_keys::remove_unfinished(root)?;
    let mut made = Vec::new();
    for kind in QUICK {
        if ssh_host_keys::ensure(root, kind, &context.name)? {
            made.push(kind);
        }
    }
    let mut details = Vec::new();
    match ssh_host_keys::repair(root, RSA)? {
        Some(false) => {}
        None if ssh_host_keys::is_made_later(root)? => {
            ssh_host_keys::note_rsa_due(root)?;
            details.push("rsa is made in the background".to_owned());
        }
        found => {
            if found.is_none() {
                ssh_host_keys::make(root, RSA, &context.name)?;
            }
            made.push(RSA);
        }
    }
    if !made.is_empty() {
        details.insert(0, format!("made {}", made.join(", ")));
    }
    Ok(Outcome::with_details(!details.is_empty(), details))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::with_context;
    use crate::system::root::Root;
    use crate::system::root::tests::tree;
    use crate::system::ssh_host_keys::{DUE, RsaKey, UNIT};
    use std::time::Duration;

    const TYPES: [&str; 3] = ["rsa", "ecdsa", "ed25519"];
    const PRIVATE: &str = "/etc/ssh/ssh_host_rsa_key";
    const ED25519: &str = "/etc/ssh/ssh_host_ed25519_key";
    const LATER: &str = "rsa is made in the background";

    fn step(root: &Root) -> Option<String> {
        with_context(root, "{}", |context| run(context).unwrap().detail)
    }

    fn make_rsa(root: &Root) -> RsaKey {
        ssh_host_keys::make_rsa(root, "vm42", Duration::ZERO).unwrap()
    }

    #[test]
    fn what_a_cut_leaves_is_no_key() {
        let (_folder, root) = tree();
        root.ensure_folder(FOLDER, 0o755).unwrap();
        assert_eq!(step(&root).as_deref(), Some("made ecdsa, ed25519, rsa"));
        assert_eq!(step(&root), None);
        assert_eq!(root.list("/run/firstboot").unwrap(), [""; 0]);
        let keys =
            || TYPES.map(|kind| root.read(&format!("{FOLDER}/ssh_host_{kind}_key")).unwrap());
        let [rsa, ecdsa, ed25519] = keys();
        // Half a private key beside a whole public one; a public one that is empty; another one's.
        let half = &rsa.as_ref().unwrap()[..900];
        root.write(PRIVATE, half, 0o600).unwrap();
        root.write("/etc/ssh/ssh_host_ecdsa_key.pub", b"", 0o600)
            .unwrap();
        let other = root.read(&format!("{PRIVATE}.pub")).unwrap().unwrap();
        root.write(&format!("{ED25519}.pub"), &other, 0o644)
            .unwrap();
        // A private key that others may read is one.
        root.ensure_mode(ED25519, 0o644).unwrap();
        for name in ["ssh_host_rsa_key.aZ09aZ09aZ", "ssh_host_rsa_key.backup"] {
            root.write(&format!("{FOLDER}/{name}"), b"a key", 0o600)
                .unwrap();
        }
        assert_eq!(step(&root).as_deref(), Some("made ecdsa, ed25519, rsa"));
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

    #[test]
    fn the_rsa_key_is_due_until_both_halves_are_there() {
        let (_folder, root) = tree();
        root.ensure_folder(FOLDER, 0o755).unwrap();
        root.write(UNIT, b"", 0o644).unwrap();
        let said = step(&root).unwrap();
        assert_eq!(said, format!("made ecdsa, ed25519; {LATER}"));
        assert!(!root.exists(PRIVATE).unwrap() && root.exists(DUE).unwrap());
        assert!(ssh_host_keys::is_rsa_due(&root).unwrap());
        let unit = include_str!("../../../templates/firstboot-rsa-key.service");
        assert!(unit.contains(&format!("\nConditionPathExists={DUE}\n")));
        // The same step of another seed, before the key is there.
        assert_eq!(step(&root).as_deref(), Some(LATER));
        assert_eq!(make_rsa(&root), RsaKey::Made);
        assert!(!root.exists(DUE).unwrap() && !ssh_host_keys::is_rsa_due(&root).unwrap());
        assert_eq!(root.list("/run/firstboot").unwrap(), ["rsa-key.lock"]);
        assert_eq!((step(&root), make_rsa(&root)), (None, RsaKey::Unchanged));

        // A cut between the halves, and one before it was forgotten that the key was due.
        let key = root.read(PRIVATE).unwrap();
        root.remove_file(&format!("{PRIVATE}.pub")).unwrap();
        ssh_host_keys::note_rsa_due(&root).unwrap();
        assert_eq!(make_rsa(&root), RsaKey::Made);
        ssh_host_keys::note_rsa_due(&root).unwrap();
        assert_eq!(make_rsa(&root), RsaKey::Unchanged);
        assert_eq!(root.read(PRIVATE).unwrap(), key);
        assert!(!ssh_host_keys::is_rsa_due(&root).unwrap());

        // A public half alone is no key, and one that is no key is made anew.
        root.write(PRIVATE, b"-----BEGIN", 0o600).unwrap();
        assert_eq!(step(&root).as_deref(), Some(LATER));
        assert!(ssh_host_keys::is_rsa_due(&root).unwrap());
        assert_eq!(make_rsa(&root), RsaKey::Made);
        assert_ne!(root.read(PRIVATE).unwrap(), key);
    }
}
