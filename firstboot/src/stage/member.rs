//! A member stays one, and disturbs nobody: `firstboot guard` and `firstboot watch`.

use crate::cluster::member::{corosync_watchdog, guard as before_corosync};
use crate::stage::journal::{Journal, Loaded};
use crate::stage::report::console::Console;
use crate::system::hostname;
use crate::system::root::Root;

/// Before corosync starts, on a member; see [`before_corosync`]. Returns whether all is well; nothing
/// waits for that.
pub fn guard(root: &Root) -> bool {
    let Some(name) = name(root) else {
        return true;
    };
    let (words, well) = match before_corosync::guard(root, &name) {
        Ok(words) => (words, true),
        Err(error) => (Some(format!("before corosync starts: {error:#}")), false),
    };
    if let Some(words) = words {
        Console::new(root).say(&words);
    }
    well
}

/// Until the machine is switched off: watches over the membership, if there is one.
pub fn watch(root: &Root) {
    let tell = |words: &str| Console::new(root).say(words);
    corosync_watchdog::watch(root, &|| name(root), &tell);
}

/// The name that this machine was given; `None` before it has one.
pub(super) fn name(root: &Root) -> Option<String> {
    match Journal::load(root) {
        Ok(Loaded::Found(journal)) => Some(journal.name),
        // A member is looked after, whatever became of the journal.
        _ => {
            let name = hostname::current(root).ok()?;
            (!name.is_empty()).then_some(name)
        }
    }
}
