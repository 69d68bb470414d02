//! The repository that stands in for Proxmox VE's, served on the loopback, and the built-in image
//! definition with it in Proxmox's place.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::{has, house, must, sha256};

/// Served until it is dropped.
pub(super) struct StandIn {
    folder: PathBuf,
    release: &'static str,
    server: Child,
    port: u16,
}

impl StandIn {
    /// Makes the repository, which takes the kernel of this release from Debian's mirror.
    pub(super) fn new(folder: &Path, release: &'static str) -> StandIn {
        let mut make = Command::new(house("tests/standin/make-repo"));
        must(make.arg(folder).args(["--kernel", release]));
        let (server, port) = serve(folder);
        StandIn {
            folder: folder.to_owned(),
            release,
            server,
            port,
        }
    }

    /// The built-in definition with the stand-in as an admin would name a copy of the repository,
    /// and these packages besides. `host` is this PC, as the new system sees it.
    pub(super) fn definition(&self, host: &str, packages: &[&str]) -> String {
        let port = self.port;
        let sha256 = sha256(&fs::read(self.folder.join("key.gpg")).unwrap());
        let version = match self.release {
            "bookworm" => 8,
            _ => 9,
        };
        // The repository's one suite is called trixie, whatever is in it.
        let copy = format!(
            "
proxmox:
  version: {version}
  url: http://{host}:{port}
  suite: trixie
  key_url: http://127.0.0.1:{port}/key.gpg
  key_sha256: {sha256}
"
        );
        let more: String = packages
            .iter()
            .map(|name| format!("  - {name}\n"))
            .collect();
        let built_in = include_str!("../../../images/base.yaml");
        let release = format!("\nrelease: {}\n", self.release);
        let definition = built_in
            .replacen("\nrelease: trixie\n", &release, 1)
            .replacen("\nproxmox: 9\n", &copy, 1)
            .replacen("\npackages:\n", &format!("\npackages:\n{more}"), 1);
        for part in [&release, &sha256, &more] {
            has(&definition, part);
        }
        definition
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A web server on the loopback, on a port of its own choice.
fn serve(folder: &Path) -> (Child, u16) {
    let mut child = Command::new("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1"])
        .arg("--directory")
        .arg(folder)
        .arg("0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Serving HTTP on 127.0.0.1 port 43211 (http://127.0.0.1:43211/) ...
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line.split(' ').nth(5).and_then(|word| word.parse().ok());
    (child, port.unwrap_or_else(|| panic!("no port in `{line}`")))
}
