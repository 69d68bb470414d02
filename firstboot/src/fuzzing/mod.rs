//! One function for each parser that reads what others wrote: it takes any bytes, and panics where
//! something does not hold that always must.
//!
//! `fuzz/` calls them with inputs without end, the ordinary tests with those that were once found
//! (`tests/cases/fuzz/TARGET`) and with the cases of the other tests.

mod cluster;
mod documents;
mod system;
#[cfg(test)]
mod tests;
mod volumes;

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("fat", volumes::fat),
    ("iso9660", volumes::iso9660),
    ("meta_data", documents::meta_data),
    ("user_data", documents::user_data),
    ("network_config", documents::network_config),
    ("scrub", documents::scrub),
    ("yaml", documents::yaml),
    ("openvpn", documents::openvpn),
    ("values", documents::values),
    ("journal", system::journal),
    ("status_line", system::status_line),
    ("hosts", system::hosts),
    ("main_cf", system::main_cf),
    ("shadow", system::shadow),
    ("authorized_keys", system::authorized_keys),
    ("tunnel_log", system::tunnel_log),
    ("corosync_conf", cluster::corosync_conf),
    ("sections", cluster::sections),
    ("pvecm_words", cluster::pvecm_words),
    ("cluster_state", cluster::cluster_state),
];

/// The bytes as a text; a reader of texts refuses others before it looks at them.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Whether the lines of `kept` are all among those of `text`, in their order.
fn has_all_lines<'a>(text: &'a str, kept: impl IntoIterator<Item = &'a str>) -> bool {
    let mut lines = text.split('\n');
    kept.into_iter()
        .all(|line| lines.any(|there| there == line))
}
