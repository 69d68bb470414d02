//! A folder to build in, with a program that stands in for QEMU.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What every scenario can use. Like QEMU, it runs in the folder of its files.
const PLAYER: &str = r#"#!/bin/sh
cases=CASES
echo "$@" >> "$OUT/qemu.args"
console() { printf '%s\n' "$@" >> console.log; }
log() { printf 'Nov 22 19:25:39 %s\n' "$@" >> installer.log; }
boot() {
    console 'SeaBIOS (version 1.16)' '[    0.000000] Linux version 6.12' 'Starting system log daemon: syslogd, klogd.'
    log "main-menu[22]: INFO: Menu item 'cdrom-detect' selected"
}
"#;

/// A folder with a definition, a disc and a stand-in for QEMU.
pub struct Place(tempfile::TempDir);

/// How a build ended.
pub struct Done {
    pub code: Option<i32>,
    /// Standard error, with HERE for the folder.
    pub err: String,
}

impl Done {
    /// From the error on.
    pub fn error(&self) -> &str {
        self.err
            .find("imgbuild: error")
            .map_or("", |at| &self.err[at..])
    }
}

impl Place {
    pub fn new(scenario: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for folder in [
            "images",
            "out",
            "bin",
            "state",
            "disc/.disk",
            "disc/install.amd",
        ] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        let definition = "release: trixie\ndisk: 4G\nproxmox: false\npackages: [vim]\n\
                          mirror: http://mirror.invalid/debian\n\
                          security_mirror: http://security.invalid/debian-security\n";
        fs::write(place.path("images/base.yaml"), definition).unwrap();
        fs::write(place.path("out/base.qcow2"), "of an earlier build\n").unwrap();
        let info = "Debian GNU/Linux 13.1.0 \"Trixie\" - Official amd64 NETINST";
        fs::write(place.path("disc/.disk/info"), info).unwrap();
        let mut kernel = vec![0; 4096];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        fs::write(place.path("disc/install.amd/vmlinuz"), kernel).unwrap();
        fs::write(
            place.path("disc/install.amd/initrd.gz"),
            b"\x1f\x8b\x08rest",
        )
        .unwrap();
        let made = Command::new("genisoimage")
            .args(["-quiet", "-R", "-o"])
            .arg(place.path("disc.iso"))
            .arg(place.path("disc"))
            .status()
            .unwrap();
        assert!(made.success());
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/netinst");
        let player = PLAYER.replace("CASES", &cases.display().to_string());
        let qemu = place.path("bin/qemu-system-x86_64");
        fs::write(&qemu, format!("{player}{scenario}\n")).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgbuild"));
        command
            .args(["base", "--output", "out"])
            .args(words)
            .args(
                (!words.contains(&"--iso"))
                    .then_some(["--iso", "disc.iso"])
                    .into_iter()
                    .flatten(),
            )
            .current_dir(self.0.path())
            .env("PATH", path)
            .env("OUT", self.0.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &[&str]) -> Done {
        let output = self.command(words).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        Done {
            code: output.status.code(),
            err: err.replace(&self.0.path().display().to_string(), "HERE"),
        }
    }

    /// Fails, with software emulation, and leaves the earlier base and nothing half made.
    pub fn fails(&self, words: &[&str], logs: &[&str]) -> String {
        let done = self.run(&[&["--accel", "tcg"], words].concat());
        assert_eq!(done.code, Some(1), "{}", done.err);
        self.has(logs);
        done.error().to_owned()
    }

    /// What is beside the earlier base.
    pub fn has(&self, names: &[&str]) {
        let entries = fs::read_dir(self.path("out")).unwrap();
        let mut found: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "base.qcow2")
            .collect();
        found.sort();
        assert_eq!(found, names);
        let base = fs::read_to_string(self.path("out/base.qcow2")).unwrap();
        assert_eq!(base, "of an earlier build\n");
    }

    pub fn qemu_args(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("qemu.args")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Waits until a child has said this line.
pub fn until(child: &mut Child, wanted: &str) -> impl Iterator<Item = String> + use<> {
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    lines
        .find(|line| line == wanted)
        .unwrap_or_else(|| panic!("it never said {wanted}"));
    lines
}
