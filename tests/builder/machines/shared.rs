//! One base for all machine tests of a release of Debian, made once.
//!
//! It is the mirror source's, with the repository that stands in for Proxmox VE's; each lab has
//! overlays on it.

use super::lab::imgbuild_says;
use super::stand_in::StandIn;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::{has, hex, house, lock, names};

/// The folder with `base.qcow2`, its manifest and `repository`. Whoever asks first makes it, and the
/// others wait, in this process or another. It is made anew when what it is made of has changed.
pub(super) fn base(release: &'static str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("base-{release}"));
    fs::create_dir_all(&folder).unwrap();
    let _lock = lock(&folder);
    let (made, sources) = (folder.join("made-of"), sources());
    if fs::read_to_string(&made).is_ok_and(|text| text == sources) {
        return folder;
    }
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir_all(folder.join("images")).unwrap();
    let stand_in = StandIn::new(&folder.join("repository"), release);
    let definition = stand_in.definition("127.0.0.1", &["pve-standin-creator"]);
    fs::write(folder.join("images/base.yaml"), definition).unwrap();
    let imgbuild = |words: &[&str]| {
        let (code, text) = imgbuild_says(&folder, words);
        assert_eq!(code, Some(0), "imgbuild {}", words.join(" "));
        text
    };
    super::timed(&format!("base of {release}"), || {
        imgbuild(&["base", "--source", "mirror"]);
    });
    let again = imgbuild(&["base", "--source", "mirror"]);
    has(&again, "is up to date");
    imgbuild(&["audit", "base.qcow2"]);
    fs::write(made, sources).unwrap();
    folder
}

/// A digest of the two programs, which hold the templates and the definition, and of the stand-in.
fn sources() -> String {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    let imgbuild = crate::program();
    let firstboot = imgbuild.with_file_name("firstboot");
    let standin = house("tests/standin");
    let mut files = vec![imgbuild, firstboot];
    files.extend(["make-repo", "debian_kernel.py"].map(|name| standin.join(name)));
    all_files(&standin.join("files"), &mut files);
    for file in files {
        digest
            .update(fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    digest.update(include_bytes!("stand_in.rs"));
    hex(&digest.finalize())
}

fn all_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for name in names(folder) {
        let path = folder.join(name);
        match path.is_dir() {
            // What Python leaves is no source.
            true if path.ends_with("__pycache__") => {}
            true => all_files(&path, files),
            false => files.push(path),
        }
    }
}

#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn a_base_is_made_from_the_mirror() {
    base("trixie");
}

/// Proxmox VE 8, on Debian 12.
#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn a_base_of_debian_12_is_made_from_the_mirror() {
    let text = fs::read(base("bookworm").join("base.manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["proxmox"], 8, "{manifest}");
    assert_eq!(manifest["release"], "bookworm", "{manifest}");
}
