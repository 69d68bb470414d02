//! Which archives the new system gets its packages from.

use crate::command;
use anyhow::{Result, bail};
use std::process::Command;

/// The new system's APT lines: those of `chosen`, else of this host's own mirror, else none
/// (mmdebstrap's default). Security updates come from where this host gets them.
pub fn choose(release: &str, chosen: Option<&str>) -> Result<Vec<String>> {
    let (host_mirror, host_security) = host_mirrors();
    let Some(mirror) = chosen.map(str::to_owned).or(host_mirror) else {
        return Ok(Vec::new());
    };
    let mirror = mirror.trim_end_matches('/');
    if !["http://", "https://"]
        .iter()
        .any(|scheme| mirror.starts_with(scheme))
    {
        bail!("the mirror `{mirror}` is not a http:// or https:// URL");
    }
    let mut lines = vec![
        format!("deb {mirror} {release} main"),
        format!("deb {mirror} {release}-updates main"),
    ];
    // Another mirror may have its security archive anywhere; this host's is known to work.
    if let Some(security) = host_security {
        let security = security.trim_end_matches('/');
        lines.push(format!("deb {security} {release}-security main"));
    }
    Ok(lines)
}

/// Debian's archive and its security archive in this host's APT sources.
fn host_mirrors() -> (Option<String>, Option<String>) {
    let Ok(apt_get) = command::find("apt-get") else {
        return (None, None);
    };
    // Unlike `indextargets`, this needs no package lists: a fresh machine has none.
    let listed = command::output(Command::new(apt_get).args(["--print-uris", "update"]));
    let listed = listed.unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed);
    // 'http://HOST/debian/dists/trixie/InRelease' FILE SIZE
    let archives: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix('\'')?.split_once("/dists/"))
        .map(|(archive, _)| archive)
        .collect();
    let ending = |end: &str| {
        archives
            .iter()
            .find(|archive| archive.starts_with("http") && archive.ends_with(end))
            .map(|archive| (*archive).to_owned())
    };
    (ending("/debian"), ending("/debian-security"))
}
