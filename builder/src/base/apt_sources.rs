//! Which archives the new system gets its packages from.

use crate::command;
use crate::definition::RELEASES;
use anyhow::{Result, bail};
use std::process::Command;

/// Debian's own, which every PC with a network can reach.
const DEBIAN: &str = "http://deb.debian.org/debian";
/// The same for security updates. A mirror of Debian's archive does not have these.
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// The new system's APT lines, the mirror's first: of `mirror` and `security`, where they are
/// given, else of this host's own archives, where these are Debian's, else of Debian's own. Each
/// base has the security archive.
pub fn choose(release: &str, mirror: Option<&str>, security: Option<&str>) -> Result<Vec<String>> {
    let host = Archives::of(&print_uris());
    lines(release, mirror, security, &host)
}

fn lines(
    release: &str,
    mirror: Option<&str>,
    security: Option<&str>,
    host: &Archives,
) -> Result<Vec<String>> {
    let mirror = mirror.or(host.mirror.as_deref()).unwrap_or(DEBIAN);
    // Another mirror may have its security archive anywhere; this host's is known to work.
    let security = security.or(host.security.as_deref()).unwrap_or(SECURITY);
    for (what, url) in [("mirror", mirror), ("security archive", security)] {
        if !["http://", "https://"].iter().any(|s| url.starts_with(s)) {
            bail!("the {what} `{url}` is not a http:// or https:// URL");
        }
    }
    let (mirror, security) = (mirror.trim_end_matches('/'), security.trim_end_matches('/'));
    Ok(vec![
        format!("deb {mirror} {release} main"),
        format!("deb {mirror} {release}-updates main"),
        format!("deb {security} {release}-security main"),
    ])
}

/// Debian's archives among a host's APT sources.
#[derive(Debug, Default, PartialEq)]
struct Archives {
    mirror: Option<String>,
    security: Option<String>,
}

impl Archives {
    /// Reads what `apt-get --print-uris update` says: `'ARCHIVE/dists/SUITE/InRelease' FILE SIZE`.
    /// Ubuntu's archives have other suites. Others have Debian's as well, and a name that ends
    /// with `/debian`; none has `SUITE-updates`.
    fn of(listed: &str) -> Self {
        let archives: Vec<(&str, &str)> = listed
            .lines()
            .filter_map(|line| line.strip_prefix('\'')?.split_once("/dists/"))
            .filter_map(|(archive, rest)| Some((archive, rest.rsplit_once('/')?.0)))
            .filter(|(archive, _)| archive.starts_with("http"))
            .collect();
        let with = |ending: &str| {
            let fits = |suite: &str| {
                let release = suite.strip_suffix(ending);
                release.is_some_and(|release| {
                    let mut names = RELEASES.iter().map(|(name, _)| *name);
                    names.any(|name| name == release) || DEBIANS.contains(&release)
                })
            };
            let mut those = archives.iter().filter(|(_, suite)| fits(suite));
            those.next().map(|(archive, _)| (*archive).to_owned())
        };
        Archives {
            mirror: with("-updates"),
            security: with("-security").or_else(|| with("/updates")),
        }
    }
}

/// What else a Debian host's sources may call their release.
const DEBIANS: [&str; 8] = [
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "bullseye",
    "buster",
    "forky",
    "duke",
];

/// What this host's APT would fetch. Unlike `indextargets`, this needs no package lists: a fresh
/// machine has none.
fn print_uris() -> String {
    let Ok(apt_get) = command::find("apt-get") else {
        return String::new();
    };
    let listed = command::output(Command::new(apt_get).args(["--print-uris", "update"]));
    String::from_utf8_lossy(&listed.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `apt-get --print-uris update` lists these archives and suites.
    fn host(sources: &[(&str, &str)]) -> Archives {
        let lines = sources.iter().map(|(archive, suite)| {
            format!("'{archive}/dists/{suite}/InRelease' x_InRelease 0 \n")
        });
        Archives::of(&lines.collect::<String>())
    }

    fn shown(mirror: Option<&str>, security: Option<&str>, host: &Archives) -> String {
        let lines = lines("trixie", mirror, security, host).unwrap();
        let lines = lines.iter().map(|line| line.strip_prefix("deb ").unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    const OWN: &str = "http://deb.debian.org/debian trixie main\n\
                       http://deb.debian.org/debian trixie-updates main\n\
                       http://deb.debian.org/debian-security trixie-security main";

    #[test]
    fn a_debian_pc_s_own_archives_are_taken() {
        let host = host(&[
            ("https://download.example.org/vendor/debian", "bookworm"),
            ("http://mirror.example.org/debian", "bookworm"),
            ("http://mirror.example.org/debian", "bookworm-updates"),
            (
                "http://security.example.org/debian-security",
                "bookworm-security",
            ),
        ]);
        assert_eq!(
            shown(None, None, &host),
            "http://mirror.example.org/debian trixie main\n\
             http://mirror.example.org/debian trixie-updates main\n\
             http://security.example.org/debian-security trixie-security main"
        );
    }

    #[test]
    fn a_base_that_is_built_on_ubuntu_has_debians_archives_and_the_security_one() {
        let host = host(&[
            ("http://archive.ubuntu.com/ubuntu", "noble"),
            ("http://archive.ubuntu.com/ubuntu", "noble-updates"),
            ("http://security.ubuntu.com/ubuntu", "noble-security"),
            ("https://download.example.org/vendor/debian", "noble"),
            ("https://download.example.org/other/debian", "bookworm"),
        ]);
        assert_eq!(host, Archives::default());
        assert_eq!(shown(None, None, &host), OWN);
        // A mirror of one's own, too.
        assert_eq!(
            shown(Some("https://m.example.org/debian/"), None, &host),
            "https://m.example.org/debian trixie main\n\
             https://m.example.org/debian trixie-updates main\n\
             http://deb.debian.org/debian-security trixie-security main"
        );
        assert_eq!(
            shown(Some("http://m/debian"), Some("http://m/security/"), &host),
            "http://m/debian trixie main\nhttp://m/debian trixie-updates main\n\
             http://m/security trixie-security main"
        );
    }

    #[test]
    fn a_host_without_apt_and_a_url_that_is_none() {
        assert_eq!(shown(None, None, &Archives::of("")), OWN);
        assert_eq!(shown(None, None, &Archives::of("E: words\n'x' y 0\n")), OWN);
        let error = lines("trixie", Some("ftp://x"), None, &Archives::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the mirror `ftp://x` is not a http:// or https:// URL"
        );
    }
}
