//! A terminal for a program, and somebody who types.

use crate::vm_folder::{Finished, LabFolder};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use testkit::wait_for;

/// `imgbuild` with a controlling terminal of its own.
pub(super) struct Session<'a> {
    lab: &'a LabFolder,
    keyboard: OwnedFd,
    screen: File,
    child: Child,
}

impl<'a> Session<'a> {
    pub(super) fn start(lab: &'a LabFolder, words: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new())
            .unwrap()
            .into_string()
            .unwrap();
        let screen = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name)
            .unwrap();
        // Its own session, and the terminal its controlling one: Ctrl-C is a signal then.
        let program = crate::program();
        let mut all = vec!["--ctty", "--wait", program.to_str().unwrap()];
        all.extend(words);
        let file = |name: &str| Stdio::from(File::create(lab.path(name)).unwrap());
        let child = lab
            .command("setsid".as_ref(), &all)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::from(screen.try_clone().unwrap()))
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        Session {
            lab,
            keyboard,
            screen,
            child,
        }
    }

    /// Waits until a question is asked for the `number`th time, and types.
    pub(super) fn answer(&self, question: &str, number: usize, keys: &str) {
        wait_for(question, || {
            let asked = self.lab.read("err").matches(question).count() >= number;
            asked && !self.echoes()
        });
        rustix::io::write(&self.keyboard, keys.as_bytes()).unwrap();
    }

    /// Whether the terminal shows what is typed.
    pub(super) fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.screen).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the end.
    pub(super) fn end(mut self) -> Finished {
        let status = self.child.wait().unwrap();
        assert!(self.echoes(), "the terminal was not restored");
        assert_eq!(status.signal(), None);
        self.lab.finished(std::process::Output {
            status,
            stdout: self.lab.read("out").into(),
            stderr: self.lab.read("err").into(),
        })
    }
}
