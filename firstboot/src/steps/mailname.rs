//! `mailname`: `/etc/mailname`, the name that mail from this machine carries.

use crate::step::{Context, Outcome};
use anyhow::Result;

const FILE: &str = "/etc/mailname";

/// Makes the mail name the full name.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    if let Some(locked) = context.name_locked_outcome() {
        return Ok(locked);
    }
    let text = format!("{}\n", context.fqdn);
    let changed = context.root.ensure(FILE, text.as_bytes(), 0o644)?;
    Ok(Outcome::changed_if(changed, context.fqdn.clone()))
}
