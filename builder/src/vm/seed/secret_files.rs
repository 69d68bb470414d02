//! The files of a lab that hold passwords, each read once and hashed once, however many VMs it is for.

use crate::config::lab::read_secret;
use anyhow::{Result, anyhow};
use firstboot::contract::seed::Secret;
use firstboot::contract::values::PasswordHash;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What was read and hashed in this run.
#[derive(Debug, Default)]
pub(crate) struct SecretFiles {
    read: Mutex<BTreeMap<PathBuf, Secret>>,
    hashed: Mutex<BTreeMap<PathBuf, Secret>>,
}

impl SecretFiles {
    /// The password in a file.
    pub(crate) fn read(&self, file: &Path) -> Result<Secret> {
        once(&self.read, file, || read_secret(file))
    }

    /// The password in a file as crypt(3) hashes it.
    ///
    /// VMs that have one file have one hash. That they have one password is what the lab says of
    /// them anyway, and whoever guesses it guesses it for all; a salt for each would make the guess
    /// no dearer, and thousands of seeds seconds slower. Another file has another salt.
    pub(crate) fn hashed(&self, file: &Path, domain: &str) -> Result<Secret> {
        once(&self.hashed, file, || {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            hash(&self.read(file)?, &name, domain)
        })
    }
}

fn once(
    known: &Mutex<BTreeMap<PathBuf, Secret>>,
    file: &Path,
    make: impl FnOnce() -> Result<Secret>,
) -> Result<Secret> {
    // Who comes meanwhile waits: it would only do the same.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(secret) = known.get(file) {
        return Ok(secret.clone());
    }
    let secret = make()?;
    known.insert(file.to_owned(), secret.clone());
    Ok(secret)
}

/// The hash, with a salt that depends on the names of file and domain alone: the seed, and
/// so the instance-id, changes when the password does and at no other time. It never depends on the
/// password: a digest of that in the salt could be guessed at faster than the hash.
fn hash(password: &Secret, name: &str, domain: &str) -> Result<Secret> {
    let digest = Sha256::digest(format!("{name}.{domain}"));
    let mut salt = [0; 12];
    salt.copy_from_slice(&digest[..12]);
    let hash = PasswordHash::of(password, salt);
    let hash = hash.map_err(|error| anyhow!("the root password {error}"))?;
    Ok(hash.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn password_hash_is_what_crypt_makes() {
        // openssl passwd -6 -salt 'rounds=5000$SALT' geheim, with the SALT of vm42.example.org.
        let hash = hash(&Secret::new("geheim"), "vm42", "example.org").unwrap();
        let text = hash.reveal();
        assert_eq!(
            text,
            include_str!("../../../../tests/cases/run/root-password.hash").trim_end()
        );
    }

    #[test]
    fn another_file_has_another_salt_and_one_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, "geheim\n").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            file
        };
        let (one, other) = (file("one"), file("other"));
        let files = SecretFiles::default();
        let hash = |file: &Path| files.hashed(file, "example.org").unwrap();
        assert_ne!(hash(&one).reveal(), hash(&other).reveal());
        std::fs::write(&one, "another\n").unwrap();
        assert_eq!(files.read(&one).unwrap().reveal(), "geheim");
        let next = SecretFiles::default().hashed(&one, "example.org").unwrap();
        assert_ne!(hash(&one).reveal(), next.reveal());
    }
}
