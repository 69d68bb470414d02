//! `root-password`: root's entry in `/etc/shadow` (shadow(5)).
//!
//! It is written only when it differs. A clear-text password becomes a hash here, with a salt of this
//! machine's own; the field is left alone where it is a hash of that password already.

use crate::contract::clock;
use crate::contract::seed::{PasswordKind, UserPassword};
use crate::contract::values::{PasswordHash, Secret};
use crate::step::{Context, Outcome};
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::rand::{GetRandomFlags, getrandom};

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
    let before = read_shadow(context)?;
    // cloud-init's default.
    let day = match chpasswd.expire.unwrap_or(true) {
        true => Some(0),
        false => today(),
    };
    let (hash, done) = match entry.kind {
        PasswordKind::Hash => (entry.password.clone(), "hash from the seed"),
        PasswordKind::Text => (hash_of(entry, &before)?, "password from the seed"),
    };
    match with_hash(&before, hash.reveal(), day)? {
        None => Ok(Outcome::unchanged()),
        Some(text) => {
            write_shadow(context, &text)?;
            Ok(Outcome::changed(done))
        }
    }
}

/// The hash that root has, where it is one of this password; else a new one.
fn hash_of(entry: &UserPassword, shadow: &str) -> Result<Secret> {
    let fields = shadow.lines().find_map(|line| line.strip_prefix("root:"));
    let now = fields.and_then(|fields| fields.split(':').next());
    if let Some(now) = now.filter(|now| PasswordHash::is_of(now, &entry.password)) {
        return Ok(Secret::new(now));
    }
    let mut salt = [0; 12];
    // Twelve bytes come whole, once the kernel has random numbers; before it has, it waits.
    getrandom(&mut salt, GetRandomFlags::empty()).context("cannot make a salt")?;
    let hash = PasswordHash::of(&entry.password, salt);
    Ok(hash
        .map_err(|error| anyhow!("root's password {error}"))?
        .into())
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
    use crate::step::tests::with_context;
    use crate::system::root::tests::tree;

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
    }

    /// No program is asked, so a cut leaves no lock and no file of one.
    #[test]
    fn a_clear_text_password_is_hashed_once() {
        let (_folder, root) = tree();
        root.write(FILE, SHADOW.as_bytes(), 0o640).unwrap();
        let step = |password: &str, expire: bool| {
            let users = format!("[{{name: root, type: text, password: {password}}}]");
            let seed = format!("chpasswd: {{expire: {expire}, users: {users}}}");
            with_context(&root, &seed, |context| run(context).unwrap())
        };
        let hash = || {
            let text = root.read_text(FILE).unwrap().unwrap();
            let root = text.lines().find_map(|line| line.strip_prefix("root:"));
            let fields: Vec<String> = root.unwrap().split(':').map(str::to_owned).collect();
            (fields[0].clone(), fields[1].clone())
        };
        let changed = Outcome::changed("password from the seed");
        assert_eq!(step("geheim", true), changed);
        let (first, day) = hash();
        assert!(PasswordHash::is_of(&first, &Secret::new("geheim")));
        assert_eq!(day, "0");
        assert_eq!(step("geheim", true), Outcome::unchanged());
        assert_eq!(step("other", false), changed);
        assert_eq!(step("geheim", false), changed);
        assert_ne!(hash().0, first);
        assert_eq!(root.list("/etc").unwrap(), ["shadow"]);
        assert_eq!(root.owner_and_mode(FILE).unwrap().unwrap().0, 0o640);
    }

    #[test]
    fn a_file_without_root_is_an_error() {
        assert_eq!(
            with_hash("bin:*:1::\n", "x", None).unwrap_err().to_string(),
            "cannot set root's password: /etc/shadow has no line for root"
        );
    }
}
