//! The installer's log: which stage it has come to, and how it ended.

use crate::system::tail;
use crate::system::text::plain;

/// What a line of the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Stage(String),
    /// The provision script or the seal ended with this exit status.
    Failed(String),
    /// Everything is done; the machine switches itself off.
    Finished,
    /// The installer lives. It has used this much processor time since its start, in hundredths
    /// of a second, and received this many bytes.
    Alive(u64, u64),
    /// Anything else: the text without date and program.
    Other(String),
}

/// The steps of the installer's menu, and what they are called here. Those that are missing take
/// no time: nobody answers them, or the provision script does their work.
const STEPS: [(&str, &str); 8] = [
    ("cdrom-detect", "disc drive"),
    ("load-cdrom", "installer's components"),
    ("ethdetect", "network"),
    ("choose-mirror", "mirror"),
    ("disk-detect", "disks"),
    ("partman-base", "partitioning"),
    ("bootstrap-base", "base system, download"),
    ("finish-install", "installer's end"),
];

/// Reads a line as busybox's syslogd writes it: `Nov 22 19:24:09 main-menu[2200]: INFO: …`
pub(crate) fn classify(line: &str) -> Said {
    let Some((program, text)) = line.get(16..).and_then(|rest| rest.split_once(": ")) else {
        return Said::Other(line.to_owned());
    };
    let program = program.split('[').next().unwrap_or_default();
    if program == "main-menu" {
        let step = text
            .strip_prefix("INFO: Menu item '")
            .and_then(|rest| rest.split('\'').next());
        let name = STEPS.iter().find(|(own, _)| Some(*own) == step);
        return match name {
            Some((_, name)) => Said::Stage((*name).to_owned()),
            None => Said::Other(text.to_owned()),
        };
    }
    // debootstrap says nothing while it downloads; then dpkg speaks.
    let installing = ["dpkg", "Selecting ", "Unpacking ", "Preparing "];
    if program == "debootstrap" && installing.iter().any(|words| text.starts_with(words)) {
        return Said::Stage("base system, packages".to_owned());
    }
    if !["imgbuild", "finish-install"].contains(&program) {
        return Said::Other(text.to_owned());
    }
    if let Some(name) = text.strip_prefix("imgbuild-stage: ") {
        return match name {
            "end" => Said::Finished,
            name => Said::Stage(name.to_owned()),
        };
    }
    match text.strip_prefix("imgbuild-failed: ") {
        Some(status) => Said::Failed(status.to_owned()),
        None => alive(text).unwrap_or_else(|| Said::Other(text.to_owned())),
    }
}

fn alive(text: &str) -> Option<Said> {
    let (time, bytes) = text.strip_prefix("alive ")?.split_once(' ')?;
    Some(Said::Alive(time.parse().ok()?, bytes.parse().ok()?))
}

/// The lines of the log.
#[derive(Debug, Default)]
pub(crate) struct Lines(tail::Lines);

impl Lines {
    /// The lines that these bytes complete, without control characters.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let lines = self.0.feed(bytes).into_iter();
        lines
            .map(|line| plain(&String::from_utf8_lossy(&line)))
            .collect()
    }
}

/// How far APT is, counted from what it says.
#[derive(Debug, Default)]
pub(crate) struct AptProgress {
    /// Packages that this run of APT installs.
    packages: u32,
    /// Steps done; a package has two.
    done: u32,
}

impl AptProgress {
    /// Takes a line of APT or dpkg; returns how far it is, from 0 to 1, when that has changed.
    pub(crate) fn line(&mut self, line: &str) -> Option<f64> {
        if let Some((_, rest)) = line.split_once(" upgraded, ") {
            let installs = rest.split(' ').next().and_then(|word| word.parse().ok());
            if let Some(packages) = installs {
                *self = AptProgress { packages, done: 0 };
            }
            return None;
        }
        if self.packages == 0
            || !(line.starts_with("Unpacking ") || line.starts_with("Setting up "))
        {
            return None;
        }
        self.done += 1;
        Some((f64::from(self.done) / (2.0 * f64::from(self.packages))).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_that_matter() {
        let stage = |name: &str| Said::Stage(name.to_owned());
        let other = |text: &str| Said::Other(text.to_owned());
        for (line, expected) in [
            (
                "Nov 22 19:25:39 main-menu[2200]: INFO: Menu item 'partman-base' selected",
                stage("partitioning"),
            ),
            (
                "Nov 22 19:25:39 main-menu[2200]: INFO: Menu item 'netcfg' selected",
                other("INFO: Menu item 'netcfg' selected"),
            ),
            (
                "Nov  2 19:25:39 finish-install: imgbuild-stage: boot loader",
                stage("boot loader"),
            ),
            (
                "Nov 22 19:24:09 imgbuild: imgbuild-stage: end",
                Said::Finished,
            ),
            (
                "Nov 22 19:24:09 imgbuild: imgbuild-failed: 100",
                Said::Failed("100".into()),
            ),
            ("Nov 22 19:24:09 imgbuild: alive 730 9", Said::Alive(730, 9)),
            (
                "Nov 22 19:33:26 debootstrap: Unpacking mawk (1.3) ...",
                stage("base system, packages"),
            ),
            (
                "Nov 22 19:33:26 debootstrap: Setting up mawk (1.3) ...",
                other("Setting up mawk (1.3) ..."),
            ),
            // A package cannot pretend: only the hook's own words count.
            (
                "Nov 22 19:24:09 debootstrap: imgbuild-stage: end",
                other("imgbuild-stage: end"),
            ),
            ("x", other("x")),
            ("", other("")),
            ("Nov 22 19:24:0é", other("Nov 22 19:24:0é")),
        ] {
            assert_eq!(classify(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_come_in_parts() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"one\r\nt"), ["one"]);
        assert_eq!(lines.feed(b"wo\n\nthree"), ["two", ""]);
    }

    #[test]
    fn counts_what_apt_does() {
        let mut apt = AptProgress::default();
        assert_eq!(apt.line("Unpacking x (1) ..."), None);
        apt.line("0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.");
        assert_eq!(apt.line("Selecting previously unselected package a."), None);
        assert_eq!(apt.line("Unpacking a (1) ..."), Some(0.25));
        assert_eq!(apt.line("Unpacking b (1) ..."), Some(0.5));
        assert_eq!(apt.line("Setting up a (1) ..."), Some(0.75));
        apt.line("Setting up b (1) ...");
        assert_eq!(apt.line("Setting up b (1) ..."), Some(1.0));
        apt.line("0 upgraded, 4294967295 newly installed, 0 to remove and 0 not upgraded.");
        assert!(
            apt.line("Unpacking a (1) ...")
                .is_some_and(|part| part < 0.01)
        );
    }
}
