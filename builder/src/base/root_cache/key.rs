//! What a root is found by.

use crate::base::inputs::Inputs;
use crate::system::digest::{sha256, sha256_file};
use crate::system::download::curl;
use crate::system::program;
use crate::system::ui::Ui;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// What stands for everything that goes into a root, and the archives' state in it.
#[derive(Debug)]
pub(in crate::base) struct Key {
    pub(super) digest: String,
    /// The digests of the archives' Release files, sorted.
    releases: Vec<String>,
}

impl Key {
    /// `None`, with a word to the user, where the archives do not say what state they are in.
    pub(in crate::base) fn of(
        inputs: &Inputs,
        archive_keys: Option<&Path>,
        work: &Path,
        ui: &Ui,
    ) -> Result<Option<Self>> {
        let stage = ui.stage("state of the archives");
        let releases = match releases(inputs, work) {
            Ok(releases) => releases,
            Err(error) if error.is::<crate::system::interrupt::Interrupted>() => return Err(error),
            Err(error) => {
                stage.done("not known; no installed system is taken from the cache");
                ui.warn(&format!("the cache is not used: {error:#}"));
                return Ok(None);
            }
        };
        stage.done("");
        let mut parts = vec![
            sha256_file(&program::find("mmdebstrap")?)?,
            inputs.definition.release.clone(),
            inputs.scripts.packages.clone(),
        ];
        parts.extend(archive_keys.map(sha256_file).transpose()?);
        parts.extend(inputs.sources.iter().cloned());
        parts.extend(inputs.proxmox_key.as_deref().map(sha256));
        for repository in &inputs.definition.repositories {
            parts.push(sha256_file(&repository.key)?);
        }
        parts.extend(releases.iter().cloned());
        let parts: Vec<String> = parts.iter().map(|part| sha256(part.as_bytes())).collect();
        Ok(Some(Key {
            digest: sha256(parts.join("\n").as_bytes()),
            releases,
        }))
    }

    /// Whether a root was installed from the archives as they are in this key; `seen` has their digests.
    pub(in crate::base) fn is_of(&self, seen: &str) -> bool {
        let mut seen: Vec<&str> = seen.split_whitespace().collect();
        seen.sort_unstable();
        seen == self.releases
    }
}

/// The digests of the Release files of all archives, sorted, each once.
fn releases(inputs: &Inputs, work: &Path) -> Result<Vec<String>> {
    let of_lines = inputs.sources.iter().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?, words.next()?))
    });
    let definition = &inputs.definition;
    let proxmox = definition.proxmox.iter();
    let further = definition.repositories.iter();
    let archives = of_lines
        .chain(proxmox.map(|proxmox| (proxmox.url.as_str(), proxmox.suite.as_str())))
        .chain(further.map(|further| (further.url.as_str(), further.suite.as_str())));
    let mut digests = Vec::new();
    for (url, suite) in archives {
        let url = url.trim_end_matches('/');
        // A suite that ends with a slash is a folder (sources.list(5)).
        let folder = match suite.ends_with('/') {
            true => format!("{url}/{}", suite.trim_start_matches("./")),
            false => format!("{url}/dists/{suite}/"),
        };
        digests.push(release(&folder, definition.proxy.as_deref(), work)?);
    }
    digests.sort_unstable();
    digests.dedup();
    Ok(digests)
}

fn release(folder: &str, proxy: Option<&str>, work: &Path) -> Result<String> {
    let file = work.join("release");
    let fetch = |name: &str| curl::small(&format!("{folder}{name}"), &file, proxy);
    // As APT does: the signed file, else the one with its signature beside it.
    let fetched = match fetch("InRelease") {
        Err(curl::Failure::NotThere) => fetch("Release"),
        other => other,
    };
    fetched.map_err(|failure| failure.into_error(&format!("{folder}InRelease"), &file))?;
    let digest = sha256_file(&file);
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    digest
}

#[cfg(test)]
impl Key {
    pub(super) fn of_releases(digest: &str, releases: &[&str]) -> Self {
        Key {
            digest: digest.to_owned(),
            releases: releases.iter().map(|digest| (*digest).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archives_state_is_compared_whatever_its_order() {
        let key = Key::of_releases("x", &["a", "b"]);
        assert!(key.is_of("b a"));
        for other in ["a", "a b c", "a c", ""] {
            assert!(!key.is_of(other), "{other}");
        }
    }
}
