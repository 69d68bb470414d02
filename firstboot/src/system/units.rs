//! The names of systemd units that several parts of firstboot speak of.

/// Debian's unit of an OpenVPN instance.
pub(crate) fn openvpn(instance: &str) -> String {
    format!("openvpn@{instance}.service")
}
