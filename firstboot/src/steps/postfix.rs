//! `postfix`: `myhostname` and `mydestination` in `main.cf`, nothing else.
//!
//! Format: postconf(5). A line that begins with white space continues the one before; a
//! comment or an empty line in between does not end it.

use crate::step::{Context, Outcome};
use anyhow::Result;

const FILE: &str = "/etc/postfix/main.cf";

/// Makes mail for and from this machine carry its name.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    if let Some(locked) = context.name_locked_outcome() {
        return Ok(locked);
    }
    let Some(before) = context.root.read_text(FILE)? else {
        return Ok(Outcome::unchanged_because("postfix is not installed"));
    };
    let text = main_cf(&before, &context.name, &context.fqdn, &context.old_names);
    let changed = context.root.ensure(FILE, text.as_bytes(), 0o644)?;
    Ok(Outcome::changed_if(
        changed,
        format!("myhostname = {}", context.fqdn),
    ))
}

/// `main.cf` with this machine's names; every other byte as before.
pub(crate) fn main_cf(before: &str, name: &str, fqdn: &str, old_names: &[String]) -> String {
    let settings = settings(before);
    let old_fqdn = settings
        .iter()
        .find(|s| s.key == "myhostname")
        .map(|s| s.words(before).join(" "))
        .filter(|value| value != fqdn && value != name);
    let mut text = before.to_owned();
    let mut named = false;
    for setting in settings.iter().rev() {
        let words = setting.words(before);
        let wanted = match setting.key {
            "myhostname" => {
                named = true;
                vec![fqdn.to_owned()]
            }
            "mydestination" => destinations(&words, name, fqdn, old_names, old_fqdn.as_deref()),
            _ => continue,
        };
        if words != wanted {
            let joined = wanted.join(", ");
            text.replace_range(setting.value.clone(), &format!(" {joined}\n"));
        }
    }
    if !named {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("myhostname = {fqdn}\n"));
    }
    text
}

fn destinations(
    words: &[&str],
    name: &str,
    fqdn: &str,
    old_names: &[String],
    old_fqdn: Option<&str>,
) -> Vec<String> {
    let is_old = |word: &str| old_names.iter().any(|old| old == word);
    let is_old_full =
        |word: &str| old_fqdn == Some(word) || word.split_once('.').is_some_and(|(s, _)| is_old(s));
    let mut wanted: Vec<String> = Vec::new();
    for word in words {
        let word = match *word {
            word if is_old(word) => name,
            word if is_old_full(word) => fqdn,
            word => word,
        };
        if !wanted.iter().any(|w| w == word) {
            wanted.push(word.to_owned());
        }
    }
    // Local mail must arrive whatever the list said before.
    let mut place = wanted
        .iter()
        .position(|w| w == "$myhostname")
        .map_or(0, |index| index + 1);
    for own in [fqdn, name] {
        match wanted.iter().position(|w| w == own) {
            Some(index) => place = index + 1,
            None => {
                wanted.insert(place, own.to_owned());
                place += 1;
            }
        }
    }
    wanted
}

struct Setting<'a> {
    key: &'a str,
    /// From behind the `=` to behind the last line's end.
    value: std::ops::Range<usize>,
}

impl Setting<'_> {
    fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        text[self.value.clone()]
            .lines()
            .filter(|line| !is_comment(line))
            .flat_map(|line| line.split([',', ' ', '\t']))
            .filter(|word| !word.is_empty())
            .collect()
    }
}

fn is_comment(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

fn settings(text: &str) -> Vec<Setting<'_>> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if is_comment(line) {
            // Belongs to a value only when a continuation follows.
        } else if line.starts_with([' ', '\t']) {
            if let Some(last) = settings.last_mut() {
                last.value.end = end;
            }
        } else {
            // A line without `=` means nothing to postfix. What continues it is not the setting's before it.
            let (key, value) = match line.split_once('=') {
                Some((key, _)) => (key.trim(), start + key.len() + 1..end),
                None => ("", end..end),
            };
            settings.push(Setting { key, value });
        }
        start = end;
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "# See /usr/share/postfix/main.cf.dist\nmyorigin = /etc/mailname\n\n\
        smtpd_relay_restrictions = permit_mynetworks\n\tpermit_sasl_authenticated # no comment\n\
        myhostname = debian.lab\nalias_maps = hash:/etc/aliases\n\
        mydestination = $myhostname, debian.lab, debian, localhost.lab, , localhost\n\
        relayhost = \ninet_interfaces = loopback-only";

    fn text(before: &str, old: &[&str]) -> String {
        let old: Vec<String> = old.iter().map(|o| o.to_string()).collect();
        main_cf(before, "vm42", "vm42.lab", &old)
    }

    #[test]
    fn only_the_two_settings_change() {
        assert_eq!(
            text(DEBIAN, &["debian"]),
            DEBIAN
                .replace("myhostname = debian.lab", "myhostname = vm42.lab")
                .replace(
                    "$myhostname, debian.lab, debian, localhost.lab, , localhost",
                    "$myhostname, vm42.lab, vm42, localhost.lab, localhost"
                )
        );
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let once = text(DEBIAN, &["debian"]);
        assert_eq!(text(&once, &["debian"]), once);
    }

    #[test]
    fn the_old_name_is_read_from_the_file_too() {
        let before = "myhostname=base.example\nmydestination = base.example localhost\n";
        assert_eq!(
            text(before, &[]),
            "myhostname= vm42.lab\nmydestination = vm42.lab, vm42, localhost\n"
        );
    }

    #[test]
    fn continuation_lines_belong_to_the_value() {
        let before = "mydestination =\n  $myhostname,\n# a word between\n  debian,\n  lists.lab\n\
                      # after\nmyhostname = vm42.lab\n";
        assert_eq!(
            text(before, &["debian"]),
            "mydestination = $myhostname, vm42.lab, vm42, lists.lab\n# after\nmyhostname = vm42.lab\n"
        );
    }

    #[test]
    fn a_missing_name_is_added() {
        assert_eq!(text("a = b", &[]), "a = b\nmyhostname = vm42.lab\n");
    }

    #[test]
    fn an_untouched_list_keeps_its_form() {
        let before = "myhostname = vm42.lab\nmydestination=vm42.lab,\n vm42\n";
        assert_eq!(text(before, &["debian"]), before);
    }
}
