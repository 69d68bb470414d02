//! `timezone`: `/etc/localtime` and `/etc/timezone`.

use crate::step::{Context, Outcome};
use anyhow::{Result, bail};

/// Makes the zone of the seed the machine's.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let Some(zone) = &context.seed.user_data.timezone else {
        return Ok(Outcome::unchanged_because("no time zone in the seed"));
    };
    let file = format!("/usr/share/zoneinfo/{zone}");
    if context.root.read(&file)?.is_none() {
        bail!("cannot set the time zone {zone}: {file} does not exist");
    }
    let linked = context.root.symlink(&file, "/etc/localtime")?;
    let text = format!("{zone}\n");
    let written = context
        .root
        .ensure("/etc/timezone", text.as_bytes(), 0o644)?;
    Ok(Outcome::changed_if(linked || written, zone.clone()))
}
