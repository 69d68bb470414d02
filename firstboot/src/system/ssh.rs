//! Where this machine keeps the ssh keys that open it, and nobody else.

/// The seed's keys for root, and no others. sshd reads it beside `/root/.ssh/authorized_keys`, which
/// a Proxmox cluster shares among its members.
pub(crate) const ROOT_KEYS: &str = "/etc/ssh/authorized_keys.d/root";
/// The folder of [`ROOT_KEYS`].
pub(crate) const KEYS_FOLDER: &str = "/etc/ssh/authorized_keys.d";
