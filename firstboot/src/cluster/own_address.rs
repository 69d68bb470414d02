//! A node's address in the cluster is its own: a virtual machine that was copied, and runs on two PCs,
//! has the same name, address and identity twice, and two of them harm the whole cluster. So
//! corosync starts on a machine whose address nobody else answers for. Of two, the one that is at work stays.

use crate::cluster::corosync;
use crate::system::address_conflict;
use crate::system::root::Root;
use anyhow::Result;
use std::net::IpAddr;

/// Why corosync is held because of the address; it goes with the hold.
const HELD: &str = "/run/firstboot/address-conflict";
/// What is in it until the first question was answered, or where that was cut.
const NOT_ASKED: &str = "nobody has been asked yet whether another machine has this one's address";

/// Who else has one of these addresses, what that means, and the remedy; `None` where nobody answers.
/// The error says why nobody can be asked.
pub(crate) fn conflict(root: &Root, addresses: &[IpAddr]) -> Result<Option<String>> {
    let conflict = address_conflict::ask(root, addresses)?;
    Ok(conflict.map(|conflict| {
        format!(
            "{conflict}. Two nodes with one address harm the whole cluster, so corosync stays off here \
             until nobody answers any more. Does the same VM run on another PC, too? Switch one of the \
             two off"
        )
    }))
}

/// Keeps corosync from starting, whatever ends this process, until the address was asked for.
pub(crate) fn hold_until_asked(root: &Root) -> Result<()> {
    note(root, NOT_ASKED)?;
    corosync::keep_off(root)
}

/// Why corosync is held, as it is seen now.
pub(crate) fn note(root: &Root, why: &str) -> Result<()> {
    root.ensure(HELD, why.as_bytes(), 0o644).map(drop)
}

/// Keeps corosync off for this reason, and stops one that runs; see [`corosync::hold`].
pub(crate) fn hold(root: &Root, why: &str, waits: bool) -> Result<()> {
    note(root, why)?;
    corosync::hold(root, waits)
}

/// Why corosync is held because of the address, if it is.
pub(crate) fn held(root: &Root) -> Option<String> {
    root.read_text(HELD).ok().flatten()
}

/// The address is this machine's own; other reasons may still keep corosync off.
pub(crate) fn forget(root: &Root) -> Result<()> {
    root.remove_file(HELD).map(drop)
}

/// The address is this machine's own, and corosync may start.
pub(crate) fn release(root: &Root) -> Result<()> {
    corosync::release(root)?;
    forget(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;

    #[test]
    fn it_is_held_before_anybody_is_asked() {
        let (_folder, root) = tree();
        assert_eq!(held(&root), None);
        hold_until_asked(&root).unwrap();
        assert_eq!(held(&root).as_deref(), Some(NOT_ASKED));
        // What corosync's unit looks for.
        assert!(root.exists("/run/firstboot/corosync-held").unwrap());
        release(&root).unwrap();
        assert_eq!(held(&root), None);
        assert!(!root.exists("/run/firstboot/corosync-held").unwrap());
    }
}
