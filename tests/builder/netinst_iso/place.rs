//! A folder with a definition and a cache, and discs that are refused once they are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// No disc of these tests may boot: each is refused at last because it is of this release.
const INFO: &str = "Debian GNU/Linux 11.0.0 \"Bullseye\" - Official amd64 NETINST";

pub struct Place(tempfile::TempDir);

impl Place {
    /// `keys` are further lines of the definition.
    pub fn new(keys: &str) -> Place {
        let place = Place(tempfile::tempdir_in("/var/tmp").unwrap());
        fs::create_dir(place.path().join("out")).unwrap();
        place.define("trixie", keys);
        place
    }

    /// Another definition. Its APT mirror is never asked.
    pub fn define(&self, release: &str, keys: &str) {
        let mirror = "mirror: http://127.0.0.1:9/debian";
        let text = format!("release: {release}\ndisk: 4G\nproxmox: false\n{mirror}\n{keys}\n");
        fs::write(self.path().join("base.yaml"), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn cache(&self) -> PathBuf {
        self.path().join("cache/imgbuild")
    }

    /// The names in the cache, without the lock's.
    pub fn cached(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.cache())
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".lock")
            .collect();
        names.sort();
        names
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgbuild"));
        command
            .args(["base", "--source", "netinst", "--output", "out"])
            .args(["--definition", "base.yaml"])
            .args(words)
            .current_dir(self.path())
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .stdin(Stdio::null());
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command
    }

    /// What a build says on standard error, with HERE for the folder. None of them ends well,
    /// and none leaves anything in the output folder.
    pub fn says(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(fs::read_dir(self.path().join("out")).unwrap().count(), 0);
        self.named(&text)
    }

    /// The error of a build, without what the stages said.
    pub fn error(&self, words: &[&str]) -> String {
        let text = self.says(words);
        let at = text.find("imgbuild: error: ").expect(&text);
        text[at + "imgbuild: error: ".len()..].trim_end().to_owned()
    }

    pub fn named(&self, text: &str) -> String {
        text.replace(self.path().to_str().unwrap(), "HERE")
    }
}

/// Whether a disc was there with the right digest: nothing was wrong before its content.
pub fn was_read(error: &str, disc: &str) -> bool {
    let start = format!("{disc} cannot be used to install the base: it is of another release: ");
    error.starts_with(&start)
}

/// A disc of some hundred kilobytes.
pub fn disc() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for (name, content) in [
        (".disk/info", INFO.as_bytes()),
        ("install.amd/vmlinuz", b"kernel"),
        ("install.amd/initrd.gz", b"initrd"),
        ("filler", &[0x5a; 300_000]),
    ] {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let iso = folder.path().join("x.iso");
    let output = Command::new("genisoimage")
        .args([
            "-quiet",
            "-rock",
            "-joliet",
            "-volid",
            "Debian 11.0.0 amd64 n",
        ])
        .arg("-output")
        .args([&iso, &tree])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    fs::read(iso).unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
