//! What a guest says on its console: its last lines, and the lines after which nothing follows.

use crate::system::text::plain;
use std::collections::VecDeque;

/// How many lines an error shows.
pub(crate) const SHOWN_LINES: usize = 20;
/// How many lines are kept: the installer's longest questions fill a screen.
const KEPT_LINES: usize = 60;
/// A line without end is cut here; a guest that prints garbage must not fill the memory.
const LONGEST_LINE: usize = 4096;

/// A line after which the guest does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fatal {
    Panic,
    /// A breakpoint that nobody set: emulation on a bad day, not the guest's own fault.
    Int3,
    /// grub cannot find its files.
    GrubRescue,
    /// The firmware has nothing to boot.
    NoBootableDevice,
    /// The initramfs gave up.
    NoRoot,
}

/// Text on the console and what it means. The first that is found counts.
const FATAL: [(&str, Fatal); 7] = [
    ("Oops: int3", Fatal::Int3),
    ("int3: 0000 [#", Fatal::Int3),
    ("Kernel panic - not syncing", Fatal::Panic),
    ("---[ end Kernel panic", Fatal::Panic),
    ("grub rescue>", Fatal::GrubRescue),
    ("No bootable device", Fatal::NoBootableDevice),
    ("Dropping to a shell!", Fatal::NoRoot),
];

/// Text that only a running kernel, or what runs on it, prints. With `quiet` on the kernel's
/// command line the first two are missing.
const KERNEL: [&str; 5] = ["Linux version", "[    0.", "systemd", "/dev/vda", "login:"];

impl Fatal {
    /// As it is told to the user.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Fatal::Panic => "the guest's kernel panicked",
            Fatal::Int3 => "the guest's kernel stopped at a breakpoint (int3)",
            Fatal::GrubRescue => "grub does not find its files on the disk",
            Fatal::NoBootableDevice => "the firmware finds nothing to boot on the disk",
            Fatal::NoRoot => "the guest does not find its root file system",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct GuestConsole {
    lines: VecDeque<String>,
    /// The line that has no end yet.
    open: Vec<u8>,
    kernel: bool,
    fatal: Option<Fatal>,
}

impl GuestConsole {
    /// Takes what was printed since the last time.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let ends = *byte == b'\n' || moves_the_cursor(&self.open, *byte);
            if ends || self.open.len() >= LONGEST_LINE {
                let line = open_line(&self.open);
                self.look(&line);
                self.open.clear();
                // The frame of grub's menu says nothing.
                if line.contains(char::is_alphanumeric) {
                    if self.lines.len() == KEPT_LINES {
                        self.lines.pop_front();
                    }
                    self.lines.push_back(line);
                }
            }
            if !ends {
                self.open.push(*byte);
            }
        }
        // A prompt such as grub's has no line end.
        if !self.open.is_empty() {
            let line = open_line(&self.open);
            self.look(&line);
        }
    }

    fn look(&mut self, line: &str) {
        self.kernel = self.kernel || KERNEL.iter().any(|text| line.contains(text));
        if self.fatal.is_none() {
            self.fatal = FATAL
                .iter()
                .find(|(text, _)| line.contains(text))
                .map(|(_, fatal)| *fatal);
        }
    }

    /// Whether a kernel has printed anything, not only firmware and boot loader.
    pub(crate) fn kernel_seen(&self) -> bool {
        self.kernel
    }

    /// The line after which nothing follows, when there was one.
    pub(crate) fn fatal(&self) -> Option<Fatal> {
        self.fatal
    }

    /// All lines that are kept, the open one included, without control characters.
    pub(crate) fn recent(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().cloned().collect();
        lines.extend(self.open());
        lines
    }

    /// The line that has no end yet, such as a prompt.
    pub(crate) fn open(&self) -> Option<String> {
        let open = open_line(&self.open);
        (!open.is_empty()).then_some(open)
    }

    /// The last lines for an error message, the open one included.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let mut lines = self.recent();
        let surplus = lines.len().saturating_sub(SHOWN_LINES);
        lines.split_off(surplus)
    }

    /// The last line, for a progress note.
    pub(crate) fn last_line(&self) -> Option<&str> {
        self.lines.back().map(String::as_str)
    }
}

/// Whether this byte ends the order to go on elsewhere on the screen (CSI row;column H), by
/// which grub's menu draws its lines.
fn moves_the_cursor(open: &[u8], byte: u8) -> bool {
    // No longer than for a row and a column of five digits: a guest may print nothing but the letter.
    let last = &open[open.len().saturating_sub(16)..];
    let order = |at: usize| last[at..].strip_prefix(b"\x1b[");
    byte == b'H'
        && last
            .iter()
            .rposition(|b| *b == 0x1b)
            .and_then(order)
            .is_some_and(|rest| rest.iter().all(|b| b.is_ascii_digit() || *b == b';'))
}

fn open_line(bytes: &[u8]) -> String {
    plain(&String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(parts: &[&str]) -> GuestConsole {
        let mut console = GuestConsole::default();
        for part in parts {
            console.feed(part.as_bytes());
        }
        console
    }

    #[test]
    fn finds_the_end_even_when_it_comes_in_parts() {
        let cases = [
            ("[ 1.2] Kernel panic - not syncing: VFS", Fatal::Panic),
            ("---[ end Kernel panic - not", Fatal::Panic),
            ("[ 0.3] Oops: int3: 0000 [#1] SMP", Fatal::Int3),
            ("[ 0.3] int3: 0000 [#1] PREEMPT", Fatal::Int3),
            ("grub rescue> ", Fatal::GrubRescue),
            ("No bootable device.", Fatal::NoBootableDevice),
            (
                "ALERT! x does not exist. Dropping to a shell!",
                Fatal::NoRoot,
            ),
        ];
        for (line, fatal) in cases {
            let (one, two) = line.split_at(line.len() / 2);
            assert_eq!(console(&["boot\r\n", one, two]).fatal(), Some(fatal));
            assert_eq!(console(&[line, "\nmore\n"]).fatal(), Some(fatal), "{line}");
        }
        let quiet = console(&["Command line: panic=10\n", "login: "]);
        assert_eq!(quiet.fatal(), None);
    }

    #[test]
    fn firmware_and_boot_loader_are_no_kernel() {
        let mut c = console(&[
            "SeaBIOS (version 1.16.2)\r\n",
            "GRUB loading.\nLoading Linux\n",
        ]);
        assert!(!c.kernel_seen());
        c.feed(b"[    0.000000] Linux version 6.12");
        assert!(c.kernel_seen());
    }

    #[test]
    fn shows_the_last_lines_without_control_characters() {
        let text: String = (0..30)
            .map(|n| format!("\u{1b}[32mline {n}\u{1b}[0m\r\n"))
            .collect();
        let c = console(&[&text, "\u{1b}c\u{1b}[2Jlogin: "]);
        let lines = c.last_lines();
        assert_eq!(lines.len(), SHOWN_LINES);
        assert_eq!(lines[0], "line 11");
        assert_eq!(lines[SHOWN_LINES - 1], "login:");
        assert_eq!(c.last_line(), Some("line 29"));
    }

    #[test]
    fn a_drawn_menu_is_lines_too() {
        let c = console(&[
            "\u{1b}[2J\u{1b}[1;1H+----+\u{1b}[2;1H|\u{1b}[2;3H*Debian\u{1b}[3;1HIn 1s.\u{1b}[H",
            "Booting\r\nwithout Hash\n",
        ]);
        let lines = ["*Debian", "In 1s.", "Booting", "without Hash"];
        assert_eq!(c.last_lines(), lines);
    }

    /// Where each letter looks at all of its line, a MiB of them takes 1.7 s of processor time.
    #[test]
    fn of_a_line_only_its_end_is_looked_at() {
        assert!(moves_the_cursor(b"menu\x1b[12345;12345", b'H'));
        assert!(!moves_the_cursor(b"\x1b[123456789;1234567", b'H'));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let c = console(&[&"x".repeat(3 * LONGEST_LINE)]);
        assert!(c.last_lines().iter().all(|line| line.len() <= LONGEST_LINE));
    }
}
