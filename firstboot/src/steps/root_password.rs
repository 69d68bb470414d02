//! `root-password`: root's entry in `/etc/shadow` (shadow(5)).
//!
//! A hash is compared, so it is written only when it differs. A clear-text password cannot
//! be compared with what is there; it is set whenever the step runs, which the journal
//! limits to once per instance.

use crate::contract::clock;
use crate::contract::seed::{PasswordKind, UserPassword};
use crate::step::{Context, Outcome};
use anyhow::{Context as _, Result, bail};
use std::ffi::OsStr;

const FILE: &str = "/etc/shadow";
/// 2022-01-08. An earlier "today" means that the machine has no working clock.
const PLAUSIBLE_DAY: u64 = 19_000;

pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let Some(chpasswd) = &context.seed.user_data.chpasswd else {
        return Ok(Outcome::unchanged_because("no password in the seed"));
    };
    let Some(entry) = chpasswd.users.iter().rfind(|user| user.name == "root") else {
        return Ok(Outcome::unchanged_because(
            "no password for root in the seed",
        ));
    };
    // cloud-init's default.
    let expire = chpasswd.expire.unwrap_or(true);
    match entry.kind {
        PasswordKind::Hash => set_hash(context, entry, expire),
        PasswordKind::Text => set_text(context, entry, expire),
    }
}

fn set_hash(context: &Context, entry: &UserPassword, expire: bool) -> Result<Outcome> {
    let before = read_shadow(context)?;
    let day = if expire { Some(0) } else { today() };
    match with_hash(&before, entry.password.reveal(), day)? {
        None => Ok(Outcome::unchanged()),
        Some(text) => {
            write_shadow(context, &text)?;
            Ok(Outcome::changed("hash from the seed"))
        }
    }
}

fn set_text(context: &Context, entry: &UserPassword, expire: bool) -> Result<Outcome> {
    let root = context.root;
    let base = root.path("/")?;
    let mut args = Vec::new();
    if !root.is_live() {
        // Without -c it would ask PAM, whose modules the tree may lack.
        let hash = [OsStr::new("-c"), OsStr::new("SHA512")];
        args.extend([OsStr::new("-R"), base.as_os_str()]);
        args.extend(hash);
    }
    let line = format!("root:{}\n", entry.password.reveal());
    root.run("chpasswd", &args, line.as_bytes())?;
    root.sync(FILE)?;
    if expire {
        let text = with_day(&read_shadow(context)?, 0)?;
        write_shadow(context, &text)?;
    }
    Ok(Outcome::changed("password from the seed"))
}

fn read_shadow(context: &Context) -> Result<String> {
    let text = context.root.read_text(FILE)?;
    text.with_context(|| format!("cannot set root's password: {FILE} is missing"))
}

fn write_shadow(context: &Context, text: &str) -> Result<()> {
    let (mode, uid, gid) = context
        .root
        .owner_and_mode(FILE)?
        .with_context(|| format!("cannot set root's password: {FILE} is missing"))?;
    context
        .root
        .write_owned(FILE, text.as_bytes(), mode, uid, gid)
}

/// Days since 1970, or `None` while the clock has not been set.
fn today() -> Option<u64> {
    Some(clock::unix_time() / 86_400).filter(|day| *day >= PLAUSIBLE_DAY)
}

/// The file with this hash for root and `day` as the day of the change; `None` when root
/// has this hash already. Without a day the field is left empty, which switches ageing off.
pub(crate) fn with_hash(before: &str, hash: &str, day: Option<u64>) -> Result<Option<String>> {
    edit(before, |fields| {
        let differs = fields[1] != hash;
        if differs {
            fields[1] = hash.to_owned();
            fields[2] = day.map(|d| d.to_string()).unwrap_or_default();
        }
        differs
    })
}

fn with_day(before: &str, day: u64) -> Result<String> {
    let text = edit(before, |fields| {
        fields[2] = day.to_string();
        true
    })?;
    Ok(text.unwrap_or_default())
}

fn edit(before: &str, change: impl FnOnce(&mut [String]) -> bool) -> Result<Option<String>> {
    let mut lines: Vec<String> = before.split('\n').map(str::to_owned).collect();
    let Some(line) = lines.iter_mut().find(|line| line.starts_with("root:")) else {
        bail!("cannot set root's password: {FILE} has no line for root");
    };
    let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
    if fields.len() < 3 {
        bail!("cannot set root's password: root's line in {FILE} has too few fields");
    }
    if !change(&mut fields) {
        return Ok(None);
    }
    *line = fields.join(":");
    Ok(Some(lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHADOW: &str = "daemon:*:1:0:99999:7:::\nroot:*:19000:0:99999:7:::\nbin:*:1:::::\n";

    #[test]
    fn only_root_changes() {
        let text = with_hash(SHADOW, "$6$a$b", Some(20_000)).unwrap().unwrap();
        assert_eq!(
            text,
            "daemon:*:1:0:99999:7:::\nroot:$6$a$b:20000:0:99999:7:::\nbin:*:1:::::\n"
        );
    }

    #[test]
    fn the_same_hash_changes_nothing() {
        let text = with_hash(SHADOW, "$6$a$b", Some(20_000)).unwrap().unwrap();
        assert_eq!(with_hash(&text, "$6$a$b", Some(20_001)).unwrap(), None);
    }

    #[test]
    fn expiry_is_day_zero_and_no_clock_is_no_day() {
        let expired = with_hash(SHADOW, "x", Some(0)).unwrap().unwrap();
        assert!(expired.contains("root:x:0:0:"));
        let ageless = with_hash(SHADOW, "x", None).unwrap().unwrap();
        assert!(ageless.contains("root:x::0:"));
        assert!(with_day(SHADOW, 0).unwrap().contains("root:*:0:0:"));
    }

    #[test]
    fn a_file_without_root_is_an_error() {
        assert_eq!(
            with_hash("bin:*:1::\n", "x", None).unwrap_err().to_string(),
            "cannot set root's password: /etc/shadow has no line for root"
        );
    }
}
