//! Builds whose disc is refused once it is there.

use crate::base_folder::BaseFolder;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use testkit::{Folder, must, names};

/// No disc of these tests may boot: each is refused at last because it is of this release.
const INFO: &str = "Debian GNU/Linux 11.0.0 \"Bullseye\" - Official amd64 NETINST";

/// The definition is `base.yaml`, and what it names lies beside it.
pub(super) struct Place(BaseFolder);

testkit::is_a!(Place, BaseFolder);

impl Place {
    /// `keys` are further lines of the definition.
    pub(super) fn new(keys: &str) -> Place {
        let place = Place(BaseFolder::new(""));
        place.define("trixie", keys);
        place
    }

    /// Another definition. Its APT mirror is never asked.
    pub(super) fn define(&self, release: &str, keys: &str) {
        let mirror = "mirror: http://127.0.0.1:9/debian";
        let text = format!("release: {release}\ndisk: 4G\nproxmox: false\n{mirror}\n{keys}\n");
        self.write("base.yaml", text);
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.path("cache/imgbuild")
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let ours = ["--source", "netinst", "--definition", "base.yaml"];
        self.0.command(&[&ours, words].concat())
    }

    /// What a build says on standard error. None of them ends well, and none leaves anything in the
    /// output folder.
    pub(super) fn says(&self, words: &[&str]) -> String {
        let done = self.done(&self.command(words).output().unwrap());
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert_eq!(names(&self.path("out")), [""; 0]);
        done.err
    }

    /// The error of a build, without what the stages said.
    pub(super) fn error(&self, words: &[&str]) -> String {
        let said = self.says(words);
        let (_, reason) = said.split_once("imgbuild: error: ").expect(&said);
        reason.trim_end().to_owned()
    }
}

/// Whether a disc was there with the right digest: nothing was wrong before its content.
pub(super) fn was_read(error: &str, disc: &str) -> bool {
    let start = format!("{disc} cannot be used to install the base: it is of another release: ");
    error.starts_with(&start)
}

/// A disc of some hundred kilobytes.
pub(super) fn disc() -> Vec<u8> {
    let folder = Folder::new();
    for (name, content) in [
        (".disk/info", INFO.as_bytes()),
        ("install.amd/vmlinuz", b"kernel"),
        ("install.amd/initrd.gz", b"initrd"),
        ("filler", &[0x5a; 300_000]),
    ] {
        folder.write(&format!("tree/{name}"), content);
    }
    let iso = folder.path("x.iso");
    must(
        Command::new("genisoimage")
            .args([
                "-quiet",
                "-rock",
                "-joliet",
                "-volid",
                "Debian 11.0.0 amd64 n",
            ])
            .arg("-output")
            .args([&iso, &folder.path("tree")]),
    );
    fs::read(iso).unwrap()
}
