//! Looking at a machine: inside by ssh while it runs, from outside by its overlay.

use super::lab::Lab;
use ext4_view::Ext4;
use imgbuild::image::qcow2::Image;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A machine that `imgbuild run` left running.
pub(super) struct Guest<'a> {
    pub lab: &'a Lab,
    pub name: &'static str,
    /// Host port that leads to its ssh.
    pub ssh_port: u16,
}

impl Guest<'_> {
    /// What a command prints inside, once sshd is up; both its streams, and whether it ended well.
    pub(super) fn try_ssh(&self, command: &str) -> (bool, String) {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let output = Command::new("ssh")
                .args(["-p", &self.ssh_port.to_string(), "-i"])
                .arg(self.lab.folder.join("secrets/id"))
                .args([
                    "-o",
                    "StrictHostKeyChecking=no",
                    "-o",
                    "UserKnownHostsFile=/dev/null",
                ])
                .args([
                    "-o",
                    "BatchMode=yes",
                    "-o",
                    "ConnectTimeout=20",
                    "-o",
                    "LogLevel=ERROR",
                ])
                .args(["root@127.0.0.1", command])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            // 255 is ssh's own failure: sshd is not up yet.
            if output.status.code() != Some(255) || Instant::now() > deadline {
                println!("{}# {command}\n{text}", self.name);
                return (output.status.success(), text);
            }
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// What a command prints inside that must end well.
    pub(super) fn ssh(&self, command: &str) -> String {
        let (well, text) = self.try_ssh(command);
        assert!(well, "{}: {command}: {text}", self.name);
        text
    }

    /// Repeats a command inside until it ends well.
    pub(super) fn wait_for(&self, command: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.try_ssh(command).0 {
            assert!(
                Instant::now() < deadline,
                "{}: {command} never ended well",
                self.name
            );
            std::thread::sleep(Duration::from_secs(3));
        }
    }

    /// Shuts it down from inside and waits for the end of QEMU.
    pub(super) fn power_off(&self) {
        // The connection may end before the command's answer.
        let _ = self.try_ssh("systemctl poweroff");
        let folder = self.lab.folder.join(self.name);
        let deadline = Instant::now() + Duration::from_secs(180);
        while imgbuild::qemu::running(&folder).is_some() {
            assert!(
                Instant::now() < deadline,
                "{} does not shut down",
                self.name
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// The root file system of a machine that is off, through its overlay and the base below.
pub(super) struct Root(Ext4);

impl Root {
    pub(super) fn of(lab: &Lab, name: &str) -> Root {
        let overlay = lab.folder.join(name).join(format!("{name}.qcow2"));
        Root(Image::open(&overlay).unwrap().into_root().unwrap())
    }

    pub(super) fn text(&self, path: &str) -> String {
        String::from_utf8(self.0.read(path).unwrap()).unwrap()
    }

    pub(super) fn mode(&self, path: &str) -> u16 {
        self.0.metadata(path).unwrap().mode() & 0o7777
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.0.exists(path).unwrap()
    }
}
