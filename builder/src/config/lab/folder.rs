//! The folder of lab.yaml.

use crate::system::xdg;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The folder of lab.yaml, which relative paths begin at.
pub(super) struct Folder<'a> {
    /// As the user wrote it, for messages.
    pub shown: PathBuf,
    /// For everything else.
    pub absolute: PathBuf,
    /// lab.yaml itself, for everything else.
    pub file: PathBuf,
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
            secrets_wanted,
        })
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
