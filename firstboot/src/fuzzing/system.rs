//! Files of the machine itself, which others write too.

use super::{has_all_lines, text};
use crate::contract::status::Event;
use crate::contract::values::SshKey;
use crate::stage::journal::{Journal, Loaded, StageRecord};
use crate::steps::hosts::Own;
use crate::steps::{postfix, root_password, ssh_keys, tunnel};
use crate::system::hosts;
use std::net::IpAddr;

const NAME: &str = "vm42";
const FQDN: &str = "vm42.lab.example.org";
const OLD: &str = "debian";

/// What is read is written and read again as the same.
pub(super) fn journal(data: &[u8]) {
    match Journal::read(data) {
        Loaded::Missing => panic!("nobody looked for it"),
        Loaded::Corrupt(why) => assert!(why.len() < 4096),
        Loaded::Found(mut journal) => {
            // A number with a point is not read to its last digit.
            let whole = |stage: &mut StageRecord| {
                for step in &mut stage.steps {
                    (step.seconds, step.uptime) = (0.0, 0.0);
                }
            };
            whole(&mut journal.local);
            whole(&mut journal.join);
            let text = serde_json::to_vec_pretty(&journal).expect("a journal can be written");
            assert_eq!(Journal::read(&text), Loaded::Found(journal));
        }
    }
}

/// A line of the status port: one line again, with the same words.
pub(super) fn status_line(data: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(data) else {
        return;
    };
    if let Event::Waiting(waiting) = &event {
        assert!(waiting.words().len() < 8 * data.len() + 256);
    }
    let line = serde_json::to_string(&event).expect("an event can be written");
    assert!(!line.contains('\n'));
    let again: Event = serde_json::from_str(&line).expect("what was written is read");
    assert_eq!(
        serde_json::to_string(&again).ok().map(digits),
        Some(digits(line))
    );
}

/// Without the digits of numbers with a point, of which the last may differ.
fn digits(line: String) -> String {
    line.replace(|c: char| c.is_ascii_digit() || "+-.e".contains(c), "")
}

/// The machine's own line is there, other machines' lines stay, and twice is once.
pub(super) fn hosts(data: &[u8]) {
    let Some(before) = text(data) else { return };
    let address: IpAddr = "10.0.0.5".parse().expect("an address");
    let old_names = [OLD.to_owned()];
    let own = Own {
        address,
        fqdn: FQDN,
        name: NAME,
        old_names: &old_names,
    };
    let after = own.text(before);
    assert_eq!(hosts::address_of(&after, NAME), Some(address));
    assert_eq!(hosts::full_name(&after, NAME).as_deref(), Some(FQDN));
    assert_eq!(own.text(&after), after);
    let is_foreign = |line: &&str| {
        ![NAME, OLD, "127.0.1.1", "10.0.0.5"]
            .iter()
            .any(|own| line.contains(own))
    };
    let foreign = before.split('\n').filter(is_foreign);
    let foreign: Vec<&str> = foreign.filter(|line| !line.is_empty()).collect();
    assert!(has_all_lines(&after, foreign), "{before:?} {after:?}");
    let _ = hosts::local_names(before);
}

/// Both settings are there, other settings' lines stay, and twice is once.
pub(super) fn main_cf(data: &[u8]) {
    let Some(before) = text(data) else { return };
    let old_names = [OLD.to_owned()];
    let edit = |text: &str| postfix::main_cf(text, NAME, FQDN, &old_names);
    let after = edit(before);
    let line = format!("myhostname = {FQDN}");
    let has = |line: &str| after.lines().any(|there| there == line);
    assert!(has(&line) || before.contains("myhostname"), "{after:?}");
    assert_eq!(edit(&after), after);
    // The first line of each other setting.
    let is_foreign = |line: &&str| {
        line.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !["myhostname", "mydestination"]
                .iter()
                .any(|own| line.starts_with(own))
    };
    let foreign: Vec<&str> = before.split('\n').filter(is_foreign).collect();
    assert!(has_all_lines(&after, foreign), "{before:?} {after:?}");
}

/// Root's hash is there, every other line stays byte for byte, and twice is once.
pub(super) fn shadow(data: &[u8]) {
    let Some(before) = text(data) else { return };
    let hash = "$6$rounds=5000$abcdefgh$xyz";
    let Ok(Some(after)) = root_password::with_hash(before, hash, Some(20_000)) else {
        return;
    };
    assert!(matches!(
        root_password::with_hash(&after, hash, Some(20_000)),
        Ok(None)
    ));
    let others = |text: &str| {
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let root = lines.iter().position(|line| line.starts_with("root:"));
        lines.remove(root.expect("there is one"));
        lines
    };
    assert_eq!(others(&after), others(before));
}

/// What others wrote stays, and nothing is taken out twice.
pub(super) fn authorized_keys(data: &[u8]) {
    let Some(before) = text(data) else { return };
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3W2pQqW8w0v0o1cKk9e0yqv5Y0m0f5o1b8s6v2x1aA a@b";
    let Ok(key) = key.parse::<SshKey>() else {
        panic!("the key is none");
    };
    let (after, count) = ssh_keys::without(before, std::slice::from_ref(&key));
    assert!(count > 0 || after == before);
    assert_eq!(ssh_keys::without(&after, &[key]), (after, 0));
}

/// OpenVPN's own words, and the kernel's table of neighbours.
pub(super) fn tunnel_log(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let said = tunnel::log::parse(text);
    for words in [said.never, said.words].into_iter().flatten() {
        assert!(words.len() <= text.len() + 256);
    }
    let _ = tunnel::is_neighbour(text, "10.120.0.1", "vmbr120");
}
