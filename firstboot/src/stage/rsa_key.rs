//! `firstboot rsa-key`: the host key that takes longer than the first stage, made while the boot goes on.

use crate::stage::member;
use crate::stage::report::with_causes;
use crate::system::root::Root;
use crate::system::ssh_host_keys::{self, FOLDER, RsaKey};

/// The nice value of this process's group, which counts against others where each session has a group of
/// its own (sched(7), "The autogroup feature"): the unit's `Nice=` counts only within it.
const AUTOGROUP: &str = "/proc/self/autogroup";

/// Makes the RSA host key, unless it is there. The error is the reason in words.
pub fn rsa_key(root: &Root) -> Result<(), String> {
    if root.is_live() {
        // A kernel without it has no such groups.
        let _ = std::fs::write(AUTOGROUP, "19");
    }
    if root.kind(FOLDER).map_err(with_causes)?.is_none() {
        return Ok(());
    }
    let name = member::name(root).unwrap_or_default();
    match ssh_host_keys::make_rsa(root, &name, ssh_host_keys::PATIENCE) {
        Ok(RsaKey::Made | RsaKey::Unchanged) => Ok(()),
        Ok(RsaKey::InTheMaking) => Err("another process is making the RSA host key".to_owned()),
        Err(error) => Err(format!("no RSA host key: {}", with_causes(error))),
    }
}
