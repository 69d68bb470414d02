//! A folder to build in, with a program that stands in for QEMU.

use crate::base_folder::{BaseFolder, Done};
use std::process::Command;
use testkit::{house, must};

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

/// A folder with a definition, a disc, an earlier base and a stand-in for QEMU.
pub(super) struct Place(BaseFolder);

testkit::is_a!(Place, BaseFolder);

impl Place {
    pub(super) fn new(scenario: &str) -> Place {
        let definition = "release: trixie\ndisk: 4G\nproxmox: false\npackages: [vim]\n\
                          mirror: http://mirror.invalid/debian\n\
                          security_mirror: http://security.invalid/debian-security\n";
        let place = Place(BaseFolder::new(definition).with_earlier(&[]));
        let info = "Debian GNU/Linux 13.1.0 \"Trixie\" - Official amd64 NETINST";
        place.write("disc/.disk/info", info);
        let mut kernel = vec![0; 4096];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        place.write("disc/install.amd/vmlinuz", kernel);
        place.write("disc/install.amd/initrd.gz", b"\x1f\x8b\x08rest");
        must(
            Command::new("genisoimage")
                .args(["-quiet", "-R", "-o"])
                .args([place.path("disc.iso"), place.path("disc")]),
        );
        let cases = house("tests/cases/netinst");
        let player = PLAYER.replace("CASES", cases.to_str().unwrap());
        place.program("qemu-system-x86_64", &format!("{player}{scenario}\n"));
        place
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let disc: &[&str] = match words.contains(&"--iso") {
            true => &[],
            false => &["--iso", "disc.iso"],
        };
        self.0.command(&[words, disc].concat())
    }

    pub(super) fn run(&self, words: &[&str]) -> Done {
        self.done(&self.command(words).output().unwrap())
    }

    /// Fails, with software emulation, and leaves the earlier base and nothing half made.
    pub(super) fn fails(&self, words: &[&str], logs: &[&str]) -> String {
        let done = self.run(&[&["--accel", "tcg"], words].concat());
        assert_eq!(done.code, Some(1), "{}", done.err);
        self.has(logs);
        done.error().to_owned()
    }

    pub(super) fn qemu_args(&self) -> Vec<String> {
        match self.names("").contains(&"qemu.args".to_owned()) {
            true => self.read("qemu.args").lines().map(str::to_owned).collect(),
            false => Vec::new(),
        }
    }
}
