//! What a log of APT, mmdebstrap or the installer means, where its words are known.

use super::inputs::Inputs;
use super::requirements::NO_SPACE;

/// The cause in plain words, where the program's own words are known.
pub(super) fn packages(log: &str, inputs: &Inputs) -> Option<String> {
    let package = log.lines().find_map(|line| {
        let rest = line
            .split_once("Unable to locate package ")
            .map(|(_, name)| name);
        rest.or_else(|| {
            line.split_once("E: Package '")
                .and_then(|(_, rest)| rest.split_once("' has no installation candidate"))
                .map(|(name, _)| name)
        })
    });
    if let Some(package) = package {
        return Some(format!(
            "the package `{}` was not found in {} or in the definition's repositories; \
             correct `packages` in the image definition",
            package.trim(),
            inputs.definition.release
        ));
    }
    // The line may be far above the last ones; all that fails after it is its consequence.
    if log.contains(NO_SPACE) {
        return Some(NO_SPACE.to_owned());
    }
    let words = [
        "Could not connect to",
        "Could not resolve",
        "Temporary failure resolving",
        "Connection failed",
        "Unable to connect to",
        "Connection timed out",
        "Failed to fetch",
        "Connection refused",
    ];
    let mut failed = log
        .lines()
        .filter(|line| words.iter().any(|words| line.contains(words)))
        .peekable();
    if failed.peek().is_some() {
        let proxmox = inputs.definition.proxmox.as_ref();
        return Some(
            match proxmox.filter(|p| failed.any(|line| line.contains(&p.url))) {
                Some(proxmox) => format!(
                    "Proxmox's repository {} cannot be reached; look at the network, name a copy \
                     as `url` below `proxmox` in the image definition, or make a plain Debian base \
                     with `proxmox: false`",
                    proxmox.url
                ),
                None => unreachable(inputs),
            },
        );
    }
    if log.contains("NO_PUBKEY")
        || log.contains("is not signed")
        || log.contains("Sub-process /usr/bin/sqv")
    {
        return Some(
            "a repository is not signed by the key that is pinned for it; nothing was installed from it".to_owned(),
        );
    }
    None
}

/// The cause of a failed installation. `stage` is where it came to; what the log says of earlier
/// ones had no consequences.
pub(super) fn installer(log: &str, stage: &str, inputs: &Inputs) -> Option<String> {
    let begins =
        |line: &&str| line.contains(": imgbuild-stage: ") || line.contains(": INFO: Menu item '");
    let mut last: Vec<&str> = log.lines().rev().take_while(|line| !begins(line)).collect();
    last.reverse();
    let log = last.join("\n");
    let log = log.as_str();
    // The installer's own question says only that something is bad about the mirror.
    if ["mirror", "base system, download"].contains(&stage) {
        return Some(unreachable(inputs));
    }
    if log.contains(NO_SPACE) {
        return Some(format!(
            "the disk of {} GiB is too small for these packages: enlarge `disk` in the image definition",
            inputs.definition.disk >> 30
        ));
    }
    packages(log, inputs)
}

fn unreachable(inputs: &Inputs) -> String {
    let archive = |line: Option<&String>| {
        let word = line.and_then(|line| line.split(' ').nth(1));
        word.unwrap_or_default().to_owned()
    };
    format!(
        "the mirror {}, the security archive {} or a repository of the definition cannot be \
         reached; look at the network, or choose others: --mirror, and `security_mirror` in the \
         image definition",
        archive(inputs.sources.first()),
        archive(inputs.sources.last()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::definition::Definition;

    #[test]
    fn who_cannot_be_reached_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("base.yaml");
        std::fs::write(&file, "release: trixie\ndisk: 8G\n").unwrap();
        let inputs = Inputs {
            definition: Definition::load(Some(&file)).unwrap(),
            source: "mirror",
            sources: vec!["deb http://mirror.example/debian trixie main".to_owned()],
            firstboot: std::path::PathBuf::new(),
            contract: 1,
            root_uuid: String::new(),
            scripts: Default::default(),
            proxmox_key: None,
            digests: serde_json::Map::new(),
        };
        // As apt-get says it.
        let log = |url: &str| {
            format!(
                "Err:4 {url}/dists/trixie InRelease\n  Could not connect to x:80 (192.0.2.1).\n\
                 E: Failed to fetch {url}/dists/trixie/InRelease  Could not connect to x:80\n"
            )
        };
        let said = packages(&log("http://download.proxmox.com/debian/pve"), &inputs).unwrap();
        assert!(
            said.starts_with("Proxmox's repository http://download."),
            "{said}"
        );
        let said = packages(&log("http://mirror.example/debian"), &inputs).unwrap();
        assert!(said.starts_with("the mirror http://mirror."), "{said}");
        assert_eq!(packages("dpkg: error\n", &inputs), None);
    }
}
