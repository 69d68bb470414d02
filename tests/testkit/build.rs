//! Lists what is in `tests/cases`, so that each case there is a test with a name of its own.
//!
//! [`cases!`](../src/lib.rs) gets an arm for each folder of cases: `"lab/good/*/"` for its folders, and
//! `"pvecm/*.out"` for its files that end so.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut arms = String::new();
    for kind in folders(&root) {
        add(&root, &kind, &mut arms);
        for below in folders(&root.join(&kind)) {
            add(&root, &format!("{kind}/{below}"), &mut arms);
        }
    }
    let text = format!("#[macro_export]\nmacro_rules! cases {{\n{arms}}}\n");
    fs::write(
        Path::new(&std::env::var_os("OUT_DIR").unwrap()).join("cases.rs"),
        text,
    )
    .unwrap();
}

/// The arms for one folder of cases.
fn add(root: &Path, folder: &str, arms: &mut String) {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut entries: Vec<_> = fs::read_dir(root.join(folder))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        let (stem, pattern) = match name.rsplit_once('.') {
            _ if entry.file_type().unwrap().is_dir() => (&name[..], "*/".to_owned()),
            Some((stem, extension)) => (stem, format!("*.{extension}")),
            None => continue,
        };
        let test = kinds.entry(pattern).or_default();
        test.push_str(&format!(
            "        #[test]\n        fn {}() {{ $run(&$crate::house(\"tests/cases/{folder}/{name}\")) }}\n",
            identifier(stem)
        ));
    }
    for (pattern, tests) in kinds {
        arms.push_str(&format!(
            "    (\"{folder}/{pattern}\", $run:path) => {{\n{tests}    }};\n"
        ));
    }
}

/// The name of a case as that of a function.
fn identifier(name: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let text: String = name.chars().map(word).collect();
    match text.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{text}"),
        false => text,
    }
}

fn folders(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
