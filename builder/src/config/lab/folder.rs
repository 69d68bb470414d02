//! The folder of lab.yaml.

use super::secrets::{self, Refusal};
use crate::system::xdg;
use anyhow::{Context, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder of lab.yaml, which relative paths begin at.
pub(super) struct Folder<'a> {
    /// As the user wrote it, for messages.
    pub shown: PathBuf,
    /// For everything else.
    pub absolute: PathBuf,
    /// lab.yaml itself, for everything else.
    pub file: PathBuf,
    /// The password files that were looked at: most VMs have the same ones.
    checked: RefCell<BTreeMap<PathBuf, Result<(), Refusal>>>,
    /// Whether the secret files of the VM with this folder are looked at.
    pub secrets_wanted: &'a dyn Fn(&Path) -> bool,
}

impl<'a> Folder<'a> {
    pub(super) fn of(file: &Path, secrets_wanted: &'a dyn Fn(&Path) -> bool) -> Result<Self> {
        let shown = file.parent().unwrap_or(Path::new("")).to_owned();
        let file = std::path::absolute(file)
            .with_context(|| format!("cannot tell the folder of {}", file.display()))?;
        let absolute = file.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Folder {
            shown,
            absolute,
            file,
            checked: RefCell::default(),
            secrets_wanted,
        })
    }

    /// Whether a file holds a password, which is looked at once; `shown` is its path for messages.
    pub(super) fn check_password(&self, path: &Path, shown: &Path) -> Result<(), Refusal> {
        let mut checked = self.checked.borrow_mut();
        let look = || secrets::read_password(path, shown).map(|_| ());
        checked.entry(path.to_owned()).or_insert_with(look).clone()
    }

    /// A path of lab.yaml: for messages and absolute. `~/` is the user's home.
    pub(super) fn path(&self, text: &str) -> (PathBuf, PathBuf) {
        if let (Some(rest), Some(home)) = (text.strip_prefix("~/"), xdg::home()) {
            let path = home.join(rest);
            return (path.clone(), path);
        }
        (self.shown.join(text), self.absolute.join(text))
    }
}
