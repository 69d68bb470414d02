//! The short name of this machine, as `/etc/hostname` has it.

use super::root::Root;
use anyhow::Result;

/// Where it is.
pub(crate) const FILE: &str = "/etc/hostname";

/// The short name that the machine has; empty where it has none.
pub(crate) fn current(root: &Root) -> Result<String> {
    let text = root.read_text(FILE)?.unwrap_or_default();
    Ok(short(text.trim()).to_owned())
}

/// A name without its domain.
pub(crate) fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}
