//! Which disc Debian publishes for a release: `SHA256SUMS`, and who has signed it.

use super::{Disc, SUMS, digest_in, entries};
use crate::config::definition::release_number;
use crate::system::digest;
use crate::system::download::cache::Cache;
use crate::system::download::curl::{self, Failure};
use crate::system::files;
use crate::system::program;
use crate::system::ui::Ui;
use anyhow::{Context, Error, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's role keys, among them those that sign disc images: the file of Debian 12 and before,
/// and of Debian 13 and later, in the package debian-keyring.
const ROLE_KEYS: [&str; 2] = [
    "/usr/share/keyrings/debian-role-keys.gpg",
    "/usr/share/keyrings/debian-role-keys.pgp",
];
/// Debian's name for the signature of a list.
const SIGNATURE: &str = "SHA256SUMS.sign";
const ENDING: &str = "-amd64-netinst.iso";

#[derive(Debug)]
pub(super) struct Wanted<'a> {
    codename: &'a str,
    number: u32,
    /// A point release; `None` means the latest one.
    version: Option<&'a str>,
    /// The folders that may have it, in the order in which they are asked.
    folders: [String; 2],
}

/// The answer of one folder.
enum Answer {
    /// A list that is signed.
    List(String),
    /// There is no such folder.
    NotThere,
    Failed(Error),
}

impl<'a> Wanted<'a> {
    pub(super) fn new(codename: &'a str, version: Option<&'a str>, site: &str) -> Result<Self> {
        let number = release_number(codename)
            .with_context(|| format!("the Debian release `{codename}` is not known here"))?;
        let folders = match version {
            Some(version) => [
                format!("cdimage/release/{version}"),
                format!("cdimage/archive/{version}"),
            ],
            // The one before the current stable release is in the archive.
            None => [
                "debian-cd/current".to_owned(),
                "cdimage/archive/latest-oldstable".to_owned(),
            ],
        };
        Ok(Wanted {
            codename,
            number,
            version,
            folders: folders.map(|folder| format!("{site}/{folder}/amd64/iso-cd")),
        })
    }

    /// Asks the folders in their order. A point release never changes, so a list of it that was
    /// kept will do; the latest one is asked for each time, and what was kept serves only where
    /// no folder can be reached.
    pub(super) fn find(
        &self,
        cache: &Cache,
        keyring: Option<&Path>,
        proxy: Option<&str>,
        ui: &Ui,
    ) -> Result<Disc> {
        let keyring = choose_keyring(keyring, &ROLE_KEYS)?;
        program::find("gpgv")?;
        if self.version.is_some() {
            if let Some(disc) = self.kept(cache, &keyring) {
                return Ok(disc);
            }
        }
        let stage = ui.stage("Debian's list of discs");
        let mut seen = Vec::new();
        for folder in &self.folders {
            let found = match ask(cache, folder, &keyring, proxy)? {
                Answer::List(list) => match self.listed(&list, folder) {
                    Some(disc) => {
                        stage.done(&disc.url);
                        return Ok(disc);
                    }
                    None => contents(&list),
                },
                Answer::NotThere => "there is no such list".to_owned(),
                Answer::Failed(error) => {
                    let kept = self.kept(cache, &keyring);
                    let kept = kept.filter(|disc| cache.file(&disc.file_name()).exists());
                    let Some(disc) = kept else {
                        return Err(error);
                    };
                    stage.done("cannot be reached");
                    ui.warn(&format!(
                        "{} is used, the newest one that is here: {error:#}",
                        cache.file(&disc.file_name()).display(),
                    ));
                    return Ok(disc);
                }
            };
            seen.push(format!("\n    {folder}/{SUMS}: {found}"));
        }
        bail!(
            "no {} is published for Debian {} ({}):{}",
            self.pattern(),
            self.number,
            self.codename,
            seen.concat()
        )
    }

    /// The disc's name, with `*` for what is not known.
    fn pattern(&self) -> String {
        match self.version {
            Some(version) => format!("debian-{version}{ENDING}"),
            None => format!("debian-{}.*{ENDING}", self.number),
        }
    }

    /// The newest disc of a list that fits.
    fn listed(&self, list: &str, folder: &str) -> Option<Disc> {
        let (_, name) = entries(list)
            .filter_map(|(_, name)| Some((version_of(name)?, name)))
            .filter(|(numbers, name)| match self.version {
                Some(_) => *name == self.pattern(),
                None => numbers.first() == Some(&self.number),
            })
            .max()?;
        Some(Disc {
            url: format!("{folder}/{name}"),
            sha256: digest_in(list, name)?,
        })
    }

    /// The disc of a list that was kept and is still signed.
    fn kept(&self, cache: &Cache, keyring: &Path) -> Option<Disc> {
        self.folders.iter().find_map(|folder| {
            let list = list_file(cache, folder);
            verify(&list, &signature_of(&list), keyring).ok()?;
            self.listed(&fs::read_to_string(list).ok()?, folder)
        })
    }
}

/// 13, 2, 0 in `debian-13.2.0-amd64-netinst.iso`; `None` for `debian-edu-…` and the like.
fn version_of(name: &str) -> Option<Vec<u32>> {
    let version = name.strip_prefix("debian-")?.strip_suffix(ENDING)?;
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// What is looked for in a list, with any list.
#[cfg(any(test, fuzzing))]
pub(super) fn look_into(list: &str) {
    for version in [None, Some("13.9.0")] {
        let wanted = Wanted::new("trixie", version, "https://s.example").expect("a release");
        if let Some(disc) = wanted.listed(list, "https://s.example/f") {
            assert!(disc.sha256.len() == 64 && !disc.file_name().contains('/'));
            assert_eq!(wanted.codename, "trixie");
        }
    }
    assert!(contents(list).len() <= 2 * list.len() + 64);
}

/// The discs of a list, for an error.
fn contents(list: &str) -> String {
    let names: Vec<&str> = entries(list)
        .map(|(_, name)| name)
        .filter(|name| version_of(name).is_some())
        .collect();
    match names.is_empty() {
        true => "it names no netinst".to_owned(),
        false => format!("it has {}", names.join(", ")),
    }
}

/// Where the list of a folder is kept.
fn list_file(cache: &Cache, folder: &str) -> PathBuf {
    let digest = digest::sha256(folder.as_bytes());
    let key = digest.get(..12).unwrap_or_default();
    cache.file(&format!("{key}-{SUMS}"))
}

fn signature_of(list: &Path) -> PathBuf {
    list.with_extension("sign")
}

/// Downloads the list of a folder with its signature, verifies it, and keeps both.
fn ask(cache: &Cache, folder: &str, keyring: &Path, proxy: Option<&str>) -> Result<Answer> {
    let list = list_file(cache, folder);
    let places = [list.clone(), signature_of(&list)];
    let new = places.clone().map(|place| {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        cache.file(&format!("{name}.new"))
    });
    let answer = get(folder, &new, keyring, proxy);
    let kept = match &answer {
        Ok(Answer::List(_)) => {
            let moves: Vec<_> = new.iter().cloned().zip(places).collect();
            files::move_into_place(&moves)
        }
        _ => Ok(()),
    };
    for file in &new {
        let _ = fs::remove_file(file);
    }
    kept.and(answer)
}

fn get(folder: &str, to: &[PathBuf; 2], keyring: &Path, proxy: Option<&str>) -> Result<Answer> {
    let [list, signature] = to;
    for (name, file) in [(SUMS, list), (SIGNATURE, signature)] {
        let url = format!("{folder}/{name}");
        return match curl::small(&url, file, proxy) {
            Ok(()) => continue,
            Err(Failure::NotThere) if name == SUMS => Ok(Answer::NotThere),
            Err(Failure::NotThere) => bail!("{folder}/{SUMS} is not signed: there is no {url}"),
            Err(failure @ Failure::Other(_)) => Ok(Answer::Failed(failure.into_error(&url, file))),
            Err(failure) => Err(failure.into_error(&url, file)),
        };
    }
    verify(list, signature, keyring).with_context(|| {
        format!(
            "{folder}/{SUMS} is not signed by a key of {}; no disc is taken from there",
            keyring.display()
        )
    })?;
    let text = fs::read_to_string(list);
    let text = text.with_context(|| format!("cannot read the list of {folder}"))?;
    Ok(Answer::List(text))
}

/// The keys that may sign: those of the definition, else Debian's own on this machine.
fn choose_keyring(chosen: Option<&Path>, usual: &[&str]) -> Result<PathBuf> {
    if let Some(keyring) = chosen {
        return Ok(keyring.to_owned());
    }
    let mut there = usual.iter().map(PathBuf::from).filter(|file| file.exists());
    there.next().with_context(|| {
        format!(
            "the keys that Debian signs its discs with are not installed ({}). On Debian: sudo \
             apt install debian-keyring. Or download the netinst yourself and name it with \
             --iso, or write `netinst: {{url, sha256}}` into the image definition",
            usual.join(", ")
        )
    })
}

/// Whether a list of the user's has its signature beside it; fails when that is not by a key of
/// `keyring`, or of Debian's own. Whoever could put a list there could put a signature there, but
/// not one by these keys.
pub(super) fn signature_beside(list: &Path, keyring: Option<&Path>) -> Result<bool> {
    let signature = list.with_file_name(SIGNATURE);
    if !signature.exists() {
        return Ok(false);
    }
    let keyring = choose_keyring(keyring, &ROLE_KEYS)?;
    verify(list, &signature, &keyring).with_context(|| {
        format!(
            "{} is not signed by a key of {}, so what it says of the disc proves nothing. \
             Download both again, from Debian; {} can be left out",
            list.display(),
            keyring.display(),
            signature.display()
        )
    })?;
    Ok(true)
}

/// Fails unless a key of the keyring, neither expired nor revoked, has signed the list
/// (GnuPG's doc/DETAILS).
fn verify(list: &Path, signature: &Path, keyring: &Path) -> Result<()> {
    let mut gpgv = program::command("gpgv")?;
    gpgv.env("LC_ALL", "C")
        .args(["--status-fd", "1", "--keyring"])
        .arg(keyring)
        .args([signature, list]);
    let status = program::output(&mut gpgv)?;
    let status = String::from_utf8_lossy(&status);
    let says = |word: &str| {
        status
            .lines()
            .filter_map(|line| line.strip_prefix("[GNUPG:] "))
            .any(|line| line.split(' ').next() == Some(word))
    };
    if says("GOODSIG") && says("VALIDSIG") {
        return Ok(());
    }
    let why = match (says("EXPKEYSIG"), says("REVKEYSIG")) {
        (true, _) => "its key has expired",
        (_, true) => "its key was revoked",
        _ => "gpgv found no good signature",
    };
    bail!("{why}: {}", program::command_line(&gpgv))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
        1111111111111111111111111111111111111111111111111111111111111111  debian-13.9.0-amd64-netinst.iso\n\
        2222222222222222222222222222222222222222222222222222222222222222 *debian-13.10.0-amd64-netinst.iso\n\
        3333333333333333333333333333333333333333333333333333333333333333  debian-edu-13.10.0-amd64-netinst.iso\n\
        4444444444444444444444444444444444444444444444444444444444444444  debian-13.11.0-arm64-netinst.iso\n\
        5555  debian-13.12.0-amd64-netinst.iso\n\
        6666666666666666666666666666666666666666666666666666666666666666  debian-13.x-amd64-netinst.iso\n\
        7777777777777777777777777777777777777777777777777777777777777777  debian-14.0.0-amd64-netinst.iso\n";

    fn listed(version: Option<&str>) -> Option<Disc> {
        let wanted = Wanted::new("trixie", version, "https://s.example").unwrap();
        wanted.listed(LIST, "https://s.example/f")
    }

    #[test]
    fn the_newest_of_the_release_is_chosen() {
        let disc = listed(None).unwrap();
        assert_eq!(
            disc.url,
            "https://s.example/f/debian-13.10.0-amd64-netinst.iso"
        );
        assert_eq!(disc.sha256, "2".repeat(64));
        assert_eq!(
            disc.file_name(),
            "222222222222-debian-13.10.0-amd64-netinst.iso"
        );
    }

    #[test]
    fn a_point_release_is_that_one() {
        assert_eq!(listed(Some("13.9.0")).unwrap().sha256, "1".repeat(64));
        for absent in ["13.1.0", "13.11.0", "13.12.0", "13.x"] {
            assert_eq!(listed(Some(absent)), None);
        }
        let named = "it has debian-13.9.0-amd64-netinst.iso, debian-13.10.0-amd64-netinst.iso, \
                     debian-14.0.0-amd64-netinst.iso";
        assert_eq!(contents(LIST), named);
        assert_eq!(contents("words\n"), "it names no netinst");
    }

    #[test]
    fn without_debians_keys_the_ways_out_are_named() {
        let error = choose_keyring(None, &["/none/a.gpg", "/none/a.pgp"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the keys that Debian signs its discs with are not installed (/none/a.gpg, \
             /none/a.pgp). On Debian: sudo apt install debian-keyring. Or download the netinst \
             yourself and name it with --iso, or write `netinst: {url, sha256}` into the image \
             definition"
        );
        let first = choose_keyring(None, &["/none", "/dev/null", "/"]).unwrap();
        assert_eq!(first, Path::new("/dev/null"));
    }
}
