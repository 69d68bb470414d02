//! Which archives the new system gets its packages from.

use crate::config::definition::RELEASES;
use crate::system::program;
use anyhow::{Result, bail};

/// The new system's APT lines, the mirror's first: of `mirror` and `security`, where they are
/// given, else of this host's own archives, where these are Debian's, else of Debian's own. Each
/// base has the security archive.
pub(super) fn choose(
    release: &str,
    mirror: Option<&str>,
    security: Option<&str>,
) -> Result<Vec<String>> {
    let known = Archives::of(&print_uris()).or(debians_own);
    lines(release, mirror, security, &known)
}

fn lines(
    release: &str,
    mirror: Option<&str>,
    security: Option<&str>,
    known: &Archives,
) -> Result<Vec<String>> {
    let Some(mirror) = mirror.or(known.mirror.as_deref()) else {
        bail!(
            "no Debian mirror is known: this PC's APT sources name none, and mmdebstrap, which knows \
             Debian's own, is not installed. Give one with --mirror, or as `mirror` in the image \
             definition"
        );
    };
    // Another mirror may have its security archive anywhere; this one is known to work.
    let Some(security) = security.or(known.security.as_deref()) else {
        bail!(
            "no archive of Debian's security updates is known: this PC's APT sources name none, and \
             mmdebstrap, which knows Debian's own, is not installed. Give it as `security_mirror` in the \
             image definition"
        );
    };
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

/// Debian's archives, as far as somebody names them.
#[derive(Debug, Default, PartialEq)]
struct Archives {
    mirror: Option<String>,
    security: Option<String>,
}

impl Archives {
    /// These, and where one is missing what `others` has.
    fn or(self, others: impl FnOnce() -> Self) -> Self {
        if self.mirror.is_some() && self.security.is_some() {
            return self;
        }
        let others = others();
        Archives {
            mirror: self.mirror.or(others.mirror),
            security: self.security.or(others.security),
        }
    }

    /// What mmdebstrap takes where nobody names a mirror, in the text of its program: the first
    /// addresses in quotation marks that end as Debian's archives do.
    fn in_mmdebstrap(program: &str) -> Self {
        let with = |ending: &str| {
            let mut words = program.split(['\'', '"']);
            let is_it = |word: &&str| {
                let rest = word
                    .strip_prefix("http://")
                    .or(word.strip_prefix("https://"));
                let is_plain = |rest: &str| !rest.contains(['$', ' ', '\n']);
                rest.is_some_and(|rest| is_plain(rest) && rest.ends_with(ending))
            };
            words.find(is_it).map(str::to_owned)
        };
        Archives {
            mirror: with("/debian"),
            security: with("/debian-security"),
        }
    }

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

/// Reads what APT or mmdebstrap may have said.
#[cfg(any(test, fuzzing))]
pub(crate) fn look_into(words: &str) {
    for archives in [Archives::of(words), Archives::in_mmdebstrap(words)] {
        for archive in [archives.mirror, archives.security].into_iter().flatten() {
            assert!(archive.starts_with("http") && words.contains(&archive));
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
    let Ok(mut apt_get) = program::command("apt-get") else {
        return String::new();
    };
    let listed = program::output(apt_get.args(["--print-uris", "update"]));
    String::from_utf8_lossy(&listed.unwrap_or_default()).into_owned()
}

/// Debian's own archives, from the one program at hand that knows them on every PC.
fn debians_own() -> Archives {
    let program = program::find("mmdebstrap");
    let text = program.and_then(|file| Ok(std::fs::read(file)?));
    Archives::in_mmdebstrap(&String::from_utf8_lossy(&text.unwrap_or_default()))
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

    /// With an mmdebstrap that has these lines.
    fn shown(mirror: Option<&str>, security: Option<&str>, host: &Archives) -> String {
        let program = "# such as 'http://$host/debian'\n    my $mirror    = \
                       'http://own.example.org/debian';\n    my $secmirror = \
                       'http://own.example.org/debian-security';\n$ mmdebstrap sid x 'http://x/debian'\n";
        let host = Archives {
            mirror: host.mirror.clone(),
            security: host.security.clone(),
        };
        let known = host.or(|| Archives::in_mmdebstrap(program));
        let lines = lines("trixie", mirror, security, &known).unwrap();
        let lines = lines.iter().map(|line| line.strip_prefix("deb ").unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    const OWN: &str = "http://own.example.org/debian trixie main\n\
                       http://own.example.org/debian trixie-updates main\n\
                       http://own.example.org/debian-security trixie-security main";

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
             http://own.example.org/debian-security trixie-security main"
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
        let error = lines(
            "trixie",
            Some("ftp://x"),
            Some("http://s"),
            &Archives::default(),
        );
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the mirror `ftp://x` is not a http:// or https:// URL"
        );
    }

    #[test]
    fn where_nobody_knows_one_it_is_asked_for() {
        let said = |mirror| {
            let known = Archives::in_mmdebstrap("#!/usr/bin/perl\n");
            lines("trixie", mirror, None, &known)
                .unwrap_err()
                .to_string()
        };
        let unknown = "this PC's APT sources name none, and mmdebstrap, which knows Debian's own, is not \
                       installed. Give";
        assert_eq!(
            said(None),
            format!(
                "no Debian mirror is known: {unknown} one with --mirror, or as `mirror` in the image \
                 definition"
            )
        );
        assert_eq!(
            said(Some("http://m/debian")),
            format!(
                "no archive of Debian's security updates is known: {unknown} it as `security_mirror` in \
                 the image definition"
            )
        );
    }
}
