//! A terminal for a program, and somebody who types.

use crate::vm_folder::{Finished, LabFolder};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use testkit::wait_for;

/// A program with a controlling terminal of its own.
pub(crate) struct Session<'a> {
    lab: &'a LabFolder,
    keyboard: OwnedFd,
    screen: File,
    child: Child,
}

impl<'a> Session<'a> {
    /// `imgbuild` with these words.
    pub(crate) fn start(lab: &'a LabFolder, words: &[&str]) -> Self {
        Session::of(lab, &crate::program(), words)
    }

    /// A program whose words on standard output are kept in a file.
    pub(crate) fn of(lab: &'a LabFolder, program: &Path, words: &[&str]) -> Self {
        Session::begin(lab, program, words, &["out", "err"])
    }

    /// A program whose standard output is the terminal, too.
    pub(crate) fn on_screen(lab: &'a LabFolder, program: &Path, words: &[&str]) -> Self {
        Session::begin(lab, program, words, &["err"])
    }

    /// `imgbuild` with these words, all of whose words are for the terminal.
    pub(crate) fn watched(lab: &'a LabFolder, words: &[&str]) -> Self {
        Session::begin(lab, &crate::program(), words, &[])
    }

    /// Which of `out` and `err` go to a file of that name; the others go to the terminal.
    fn begin(lab: &'a LabFolder, program: &Path, words: &[&str], files: &[&str]) -> Self {
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
        let mut all = vec!["--ctty", "--wait", program.to_str().unwrap()];
        all.extend(words);
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&screen, size).unwrap();
        let place = |name: &str| {
            let file = File::create(lab.path(name)).unwrap();
            match files.contains(&name) {
                true => Stdio::from(file),
                false => Stdio::from(screen.try_clone().unwrap()),
            }
        };
        let child = lab
            .command("setsid".as_ref(), &all)
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", lab.path("bin").display()),
            )
            .env("TERM", "linux")
            .stdin(Stdio::from(screen.try_clone().unwrap()))
            .stdout(place("out"))
            .stderr(place("err"))
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
    pub(crate) fn answer(&self, question: &str, number: usize, keys: &str) {
        wait_for(question, || {
            let asked = self.lab.read("err").matches(question).count() >= number;
            asked && !self.echoes()
        });
        self.types(keys);
    }

    pub(crate) fn types(&self, keys: &str) {
        rustix::io::write(&self.keyboard, keys.as_bytes()).unwrap();
    }

    /// What the terminal has shown so far and nobody has looked at.
    pub(crate) fn shown(&self) -> String {
        let mut bytes = [0; 65536];
        let count = rustix::io::read(&self.keyboard, &mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.screen).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Finished {
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
