//! What other programs and guests print.

use super::{InMemory, is_plain};
use crate::base::apt_sources;
use crate::base::netinst::installer_log::{self, AptProgress, Said, classify};
use crate::base::netinst::{fetch, question};
use crate::commands::lab::report::collected;
use crate::qemu::GuestConsole;
use crate::vm::state::{Seen, State, last_words};
use crate::vm::status;

/// A list of digests, as Debian publishes one.
pub(super) fn sha256sums(data: &[u8]) {
    fetch::look_into(&String::from_utf8_lossy(data));
}

/// What APT would fetch, and mmdebstrap's program.
pub(super) fn apt_words(data: &[u8]) {
    apt_sources::look_into(&String::from_utf8_lossy(data));
}

/// A guest's console, in parts as it comes: what is kept of it is little, and harmless for a terminal.
pub(super) fn console(data: &[u8]) {
    let (mut whole, mut parts) = (GuestConsole::default(), GuestConsole::default());
    whole.feed(data);
    for part in data.chunks(1 + data.len() / 7) {
        parts.feed(part);
    }
    assert_eq!(parts.recent(), whole.recent());
    let lines = whole.recent();
    assert!(lines.len() <= 61);
    assert!(
        lines
            .iter()
            .all(|line| line.len() <= 3 * 4096 && is_plain(line))
    );
    if let Some(asked) = question::question(&lines) {
        assert!(asked.len() <= lines.len());
    }
    for line in &lines {
        let part = question::progress(line).unwrap_or_default();
        assert!((0.0..=1.0).contains(&part), "{part}");
    }
    let (last, _) = last_words(data);
    assert_eq!(last, whole.last_lines());
}

/// The log of Debian's installer.
pub(super) fn installer_log(data: &[u8]) {
    let mut lines = installer_log::Lines::default();
    let mut apt = AptProgress::default();
    for part in data.chunks(1 + data.len() / 7) {
        for line in lines.feed(part) {
            assert!(is_plain(&line));
            if let Said::Other(words) = classify(&line) {
                let part = apt.line(&words).unwrap_or_default();
                assert!((0.0..=1.0).contains(&part), "{part}");
            }
        }
    }
}

/// The status port's file, in parts as it comes.
pub(super) fn status_lines(data: &[u8]) {
    let mut lines = status::Lines::default();
    for part in data.chunks(1 + data.len() / 7) {
        for line in lines.feed(part) {
            let words = status::words(&status::event(&line));
            assert!(is_plain(&words), "{words:?}");
        }
    }
}

/// What `run.sh status --json` printed on a PC, and what Ansible collected of it.
pub(super) fn pc_status(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice(data) {
        match Seen::read(&value) {
            Ok(seen) => {
                let state = State::of(&seen, 1_800_000_000);
                assert!(State::WORDS.contains(&state.word()));
                let words = format!("{}{}{}", seen.name, state.reason(), seen.last_word(&state));
                assert!(is_plain(&words), "{words:?}");
            }
            Err(error) => assert!(format!("{error:#}").len() < 4 * data.len() + 4096),
        }
    }
    collected::look_into(&InMemory::of(&[data]).path());
}
