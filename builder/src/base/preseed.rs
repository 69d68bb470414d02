//! What the installer is told: answers to its questions, and hooks.

use super::measures::Measure;
use super::mke2fs;
use crate::config::definition::Definition;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use tera::Tera;

const PRESEED: &str = include_str!("../../../templates/netinst/preseed.cfg");
const HOOK: &str = include_str!("../../../templates/netinst/hook");
const STARTUP: &str = include_str!("../../../templates/netinst/startup");

#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    /// `/preseed.cfg`
    pub preseed: String,
    /// `/imgbuild/hook`
    pub hook: String,
    /// `/lib/debian-installer-startup.d/S11imgbuild`
    pub startup: String,
}

/// A mirror's URL in the parts that the installer asks for.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    protocol: &'static str,
    /// With the port, where the URL has one.
    host: String,
    directory: String,
}

/// Renders the templates. `sources` are the new system's APT lines, the mirror's first.
pub(super) fn render(
    definition: &Definition,
    sources: &[String],
    root_uuid: &str,
    without: &[Measure],
) -> Result<Answers> {
    let mut context = tera::Context::new();
    let line = sources.first().map(String::as_str).unwrap_or_default();
    let mirror = split(line.split(' ').nth(1).unwrap_or_default())?;
    context.insert(
        "mirror",
        &serde_json::json!({
            "protocol": mirror.protocol, "host": mirror.host, "directory": mirror.directory,
        }),
    );
    context.insert("release", &definition.release);
    context.insert("proxy", &definition.proxy.as_deref().unwrap_or_default());
    context.insert("timezone", &definition.timezone);
    context.insert("journal", mke2fs::journal(definition));
    context.insert(
        "mke2fs_options",
        &mke2fs::options(definition, root_uuid, None).join(" "),
    );
    for measure in Measure::value_variants() {
        context.insert(measure.name(), &!without.contains(measure));
    }
    let one = |name: &str, template: &str| {
        Tera::one_off(template, &context, false)
            .with_context(|| format!("cannot render templates/netinst/{name}"))
    };
    Ok(Answers {
        preseed: one("preseed.cfg", PRESEED)?,
        hook: one("hook", HOOK)?,
        startup: STARTUP.to_owned(),
    })
}

fn split(url: &str) -> Result<Mirror> {
    let (protocol, rest) = match url.split_once("://") {
        Some(("http", rest)) => ("http", rest),
        Some(("https", rest)) => ("https", rest),
        _ => bail!("the mirror `{url}` is not a http:// or https:// URL"),
    };
    let (host, directory) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(Mirror {
        protocol,
        host: host.to_owned(),
        directory: format!("/{}", directory.trim_end_matches('/')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_taken_apart() {
        let mirror = split("http://deb.example.org:8080/a/debian/").unwrap();
        assert_eq!(mirror.protocol, "http");
        assert_eq!(mirror.host, "deb.example.org:8080");
        assert_eq!(mirror.directory, "/a/debian");
        assert_eq!(split("https://h").unwrap().directory, "/");
        assert_eq!(
            split("ftp://h/debian").unwrap_err().to_string(),
            "the mirror `ftp://h/debian` is not a http:// or https:// URL"
        );
    }

    fn rendered(sources: &[&str], without: &[Measure]) -> Answers {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("d.yaml");
        std::fs::write(&file, "release: trixie\ndisk: 4G\ntimezone: Europe/Paris\n").unwrap();
        let definition = Definition::load(Some(&file)).unwrap();
        let sources: Vec<String> = sources.iter().map(|s| (*s).to_owned()).collect();
        render(&definition, &sources, "the-uuid", without).unwrap()
    }

    #[test]
    fn every_answer_is_one_line_that_debconf_takes() {
        let answers = rendered(&["deb http://h/debian trixie main"], &[]);
        let types = [
            "string",
            "select",
            "multiselect",
            "boolean",
            "password",
            "note",
        ];
        for line in answers.preseed.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[0], "d-i", "{line}");
            assert!(words[1].contains('/'), "{line}");
            assert!(types.contains(&words[2]), "{line}");
            if words[2] == "boolean" {
                assert!(["true", "false"].contains(&words[3]), "{line}");
            }
        }
    }

    #[test]
    fn the_definition_is_in_the_answers() {
        let all = rendered(&["deb http://h:81/x trixie main"], &[]);
        for line in [
            "d-i mirror/http/hostname string h:81",
            "d-i mirror/http/directory string /x",
            "d-i mirror/codename string trixie",
            "d-i time/zone string Europe/Paris",
            "d-i base-installer/debootstrap_variant select minbase",
        ] {
            assert!(
                all.preseed.lines().any(|l| l == line),
                "{line}\n{}",
                all.preseed
            );
        }
        assert!(all.hook.contains("-U the-uuid"));
        let bare = rendered(&["deb https://h trixie main"], Measure::value_variants());
        assert!(bare.preseed.contains("mirror/https/hostname string h\n"));
        assert!(!bare.preseed.contains("minbase"));
    }
}
