//! The manual says what is so: every point of the audit, every key, option and dependency stands
//! in it, and every link leads somewhere. Needs mke2fs and qemu-img.

use crate::contract::{HELP, JOIN, LOCAL};
use clap::CommandFactory;
use imgbuild::cli::Cli;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use testkit::{Folder, house};

/// The six dependencies that the project's user asked for.
const ASKED_FOR: [&str; 6] = ["qcow2-rs", "tera", "serde", "clap", "serde_yaml", "sha2"];

fn read(name: &str) -> String {
    let file = house(name);
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Every page with its path from the house.
fn pages() -> Vec<(String, String)> {
    let mut names = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
        .map(str::to_owned)
        .to_vec();
    for entry in fs::read_dir(house("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    names.into_iter().map(|n| (n.clone(), read(&n))).collect()
}

/// The rule stands at the beginning of that page.
#[test]
fn the_newest_changes_are_those_of_this_version() {
    let page = read("CHANGELOG.md");
    let mut headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    let newest = headings
        .next()
        .and_then(|heading| heading.split(' ').next());
    assert_eq!(newest, Some(env!("CARGO_PKG_VERSION")));
}

/// The section below a heading, up to the next heading of any level.
fn section(text: &str, heading: &str) -> String {
    let start = text
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let rest = &text[start + heading.len() + 2..];
    let end = rest.find("\n#").unwrap_or(rest.len());
    rest[..end].to_owned()
}

/// The first cells of a section's table, without its head, without backquotes.
fn first_cells(section: &str) -> Vec<String> {
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.skip(2)
        .map(|row| row.split('|').nth(1).unwrap().trim().replace('`', ""))
        .collect()
}

/// Whether a word stands in a text and is not only the beginning or end of a longer one.
fn mentions(text: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    text.match_indices(word).any(|(at, _)| {
        !part(text[..at].chars().next_back()) && !part(text[at + word.len()..].chars().next())
    })
}

#[test]
fn the_points_of_the_audit_are_those_of_the_page() {
    // Every point is looked at all the same.
    let case = crate::audit::Case::empty();
    let findings = imgbuild::base::audit_image(&case.image()).unwrap();
    let points: Vec<&str> = findings.into_iter().map(|(point, _)| point).collect();
    let page = read("docs/base.md");
    let described = first_cells(&section(&page, "## What the audit proves"));
    assert_eq!(described, points, "docs/base.md, in the audit's order");
}

/// The names in a manifest's `[dependencies]` and `[dev-dependencies]`.
fn direct_dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut wanted = false;
    for line in read(manifest).lines() {
        if line.starts_with('[') {
            wanted = matches!(
                line.trim(),
                "[dependencies]" | "[dev-dependencies]" | "[build-dependencies]"
            );
            assert!(
                wanted || !line.contains("dependencies"),
                "{manifest}: {line} is not read by this test"
            );
        } else if let (true, Some((name, _))) = (wanted, line.split_once(['=', '.'])) {
            names.push(name.trim().to_owned());
        }
    }
    assert!(names.len() > 3, "{manifest}: {names:?}");
    names
}

#[test]
fn every_direct_dependency_has_its_line_and_no_other_has() {
    let mut direct = BTreeSet::new();
    for manifest in [
        "builder/Cargo.toml",
        "firstboot/Cargo.toml",
        "tests/testkit/Cargo.toml",
    ] {
        direct.extend(direct_dependencies(manifest));
    }
    // The house's own libraries.
    direct.remove("firstboot");
    direct.remove("testkit");
    let page = read("docs/dependencies.md");
    let asked = first_cells(&section(&page, "## Asked for by the project's user"));
    let mut described: Vec<String> = first_cells(&section(&page, "## Chosen"));
    described.extend(first_cells(&section(&page, "## In tests only")));
    described.extend(asked.clone());
    described.sort();
    assert_eq!(described, direct.into_iter().collect::<Vec<_>>());
    let asked: BTreeSet<&str> = asked.iter().map(String::as_str).collect();
    assert_eq!(asked, BTreeSet::from(ASKED_FOR));
}

#[test]
fn every_command_and_option_is_mentioned() {
    let manual: String = pages().into_iter().map(|(_, text)| text).collect();
    let mut command = Cli::command();
    command.build();
    let mut missing = Vec::new();
    let mut commands = vec![("imgbuild".to_owned(), &command)];
    while let Some((name, sub)) = commands.pop() {
        // A group has commands of its own, and `help` repeats them all.
        let below = sub.get_subcommands();
        let below = below.filter(|b| b.get_name() != "help" && !b.is_hide_set());
        commands.extend(below.map(|below| (format!("{name} {}", below.get_name()), below)));
        if !mentions(&manual, &name) {
            missing.push(name.clone());
        }
        for option in sub.get_arguments().filter(|arg| !arg.is_hide_set()) {
            if let Some(long) = option.get_long() {
                if !mentions(&manual, &format!("--{long}")) {
                    missing.push(format!("{name} --{long}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "in no page: {missing:?}");
}

#[test]
fn firstboots_own_options_are_mentioned() {
    let page = read("docs/firstboot.md");
    let words = HELP.split(|c: char| c.is_whitespace() || "[]{},;".contains(c));
    let options: BTreeSet<&str> = words.filter(|w| w.starts_with("--")).collect();
    assert!(options.len() >= 5, "{options:?}");
    for option in options {
        assert!(mentions(&page, option), "{option}");
    }
    for step in LOCAL.iter().chain(JOIN) {
        assert!(
            page.contains(&format!("| `{}` |", step.name)),
            "{}",
            step.name
        );
    }
}

/// The keys that a refusal lists for an unknown one.
fn known_keys(error: &anyhow::Error) -> BTreeSet<String> {
    let text = error.to_string();
    let lists = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("right: one of: "));
    let keys = lists.flat_map(|list| list.split(", ")).map(str::to_owned);
    keys.collect()
}

/// A key that no document has.
const X: &str = "qqqqqqqq: 1";

/// Writes a document with unknown keys everywhere, and wants each key that its reader knows, these
/// among them, in a table of the page.
fn known_keys_are_described<T>(
    document: &str,
    read: impl Fn(&Path) -> anyhow::Result<T>,
    some: &[&str],
    page: &str,
) {
    let folder = Folder::new();
    folder.write("x.yaml", document);
    let Err(error) = read(&folder.path("x.yaml")) else {
        panic!("unknown keys are taken");
    };
    let keys = known_keys(&error);
    assert!(some.iter().all(|key| keys.contains(*key)), "{keys:?}");
    let page = self::read(page);
    for key in keys {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn every_key_of_the_lab_is_described() {
    let text = format!(
        "domain: example.org\n{X}\nnetwork: {{{X}}}\nvmbr120: {{{X}}}\ndefaults:\n  {X}\n  \
         openvpn: {{{X}}}\n  cluster: {{{X}, peers: [{{{X}}}], retry: {{{X}}}}}\n  storage: [{{{X}}}]\n  ha: {{{X}, rules: [{{{X}}}]}}\nhosts: {{a: {{{X}}}}}\nvms:\n- name: vm1\n  {X}\n"
    );
    let some = ["fingerprint", "mac", "give_up", "export", "rules", "pcs"];
    known_keys_are_described(
        &text,
        imgbuild::config::lab::Lab::load,
        &some,
        "docs/lab.md",
    );
}

#[test]
fn every_key_of_the_definition_is_described() {
    let text = format!(
        "release: trixie\ndisk: 4G\n{X}\nnetinst: {{{X}}}\nproxmox: {{{X}}}\nrepositories: [{{{X}}}]\n"
    );
    let load = |file: &Path| imgbuild::config::definition::Definition::load(Some(file));
    let some = ["key_sha512", "key_sha256", "keyring", "locale"];
    known_keys_are_described(&text, load, &some, "docs/base.md");
}

/// A heading as GitHub names it in a link.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The targets of a page's links, without those in code.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || line.starts_with("    ") {
            continue;
        }
        let parts = line.split("](").skip(1);
        links.extend(parts.filter_map(|part| part.split(')').next()));
    }
    links
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for (name, text) in pages() {
        for link in links(&text) {
            if ["http://", "https://", "mailto:"]
                .iter()
                .any(|scheme| link.starts_with(scheme))
            {
                continue;
            }
            count += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let page = house(&name);
            let target = match file {
                "" => page,
                file => page.parent().unwrap().join(file),
            };
            let found = match (target.exists(), fragment) {
                (exists, "") => exists,
                (false, _) => false,
                (true, fragment) => fs::read_to_string(&target)
                    .unwrap()
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line) == fragment),
            };
            if !found {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(count > 5, "only {count} links");
}

/// The table of docs/base.md is the list of the program.
#[test]
fn the_packages_that_are_always_installed_are_those_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("base.yaml");
    fs::write(&file, "release: trixie\ndisk: 8G\nlocale: fr_FR.UTF-8\n").unwrap();
    let definition = imgbuild::config::definition::Definition::load(Some(&file)).unwrap();
    let always = definition.always_installed();
    let page = read("docs/base.md");
    let start = page.find("### What is always installed").unwrap();
    let rows: Vec<&str> = page[start..]
        .lines()
        .skip_while(|line| !line.starts_with("| --- |"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(rows.len(), always.len());
    for (row, always) in rows.iter().zip(&always) {
        let end = format!("`{}` | {} |", always.package, always.reason);
        assert!(row.ends_with(&end), "{row}\n{end}");
    }
}
