//! `hostname`: `/etc/hostname` and the running kernel's name.

use crate::step::{Context, Outcome};
use crate::system::hostname::FILE;
use anyhow::{Context as _, Result};

/// Makes the short name this machine's own.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    if let Some(locked) = context.name_locked_outcome() {
        return Ok(locked);
    }
    let before = context.root.read_text(FILE)?.unwrap_or_default();
    let mut changed = context
        .root
        .ensure(FILE, text(&context.name).as_bytes(), 0o644)?;
    if context.root.is_live() {
        let uname = rustix::system::uname();
        if uname.nodename().to_bytes() != context.name.as_bytes() {
            // Services that start later (pmxcfs, syslog) take their name from the kernel.
            rustix::system::sethostname(context.name.as_bytes()).with_context(|| {
                format!("cannot set the kernel's host name to {}", context.name)
            })?;
            changed = true;
        }
    }
    let before = match before.trim() {
        "" => "(none)",
        name => name,
    };
    Ok(Outcome::changed_if(
        changed,
        format!("{before} -> {}", context.name),
    ))
}

pub(crate) fn text(name: &str) -> String {
    format!("{name}\n")
}
