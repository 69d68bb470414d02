//! Two bases and two configured machines side by side: every difference is listed, and must be
//! one that `tests/cases/netinst/differences.txt` knows and docs/base.md explains.

use ext4_view::{Ext4, Metadata};
use imgbuild::image::qcow2::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use testkit::{house, sha256};

/// A line of the list: `KIND PATTERN  REASON`; a `*` at the pattern's end stands for any rest.
struct Known {
    kind: String,
    pattern: String,
}

impl Known {
    fn all() -> Vec<Known> {
        let list = fs::read_to_string(house("tests/cases/netinst/differences.txt")).unwrap();
        list.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let mut words = line.split_whitespace();
                let (kind, pattern) = (words.next().unwrap(), words.next().unwrap());
                assert!(words.next().is_some(), "no reason is given: {line}");
                Known {
                    kind: kind.to_owned(),
                    pattern: pattern.to_owned(),
                }
            })
            .collect()
    }

    fn fits(&self, kind: &str, name: &str) -> bool {
        self.kind == kind
            && match self.pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == self.pattern,
            }
    }
}

/// Prints the differences; fails when one is not known.
fn judge(kind: &str, differences: &[(String, String)]) {
    let known = Known::all();
    let mut unknown = Vec::new();
    for (name, what) in differences {
        let mark = match known.iter().any(|k| k.fits(kind, name)) {
            true => "known  ",
            false => "UNKNOWN",
        };
        println!("difference: {mark} {kind} {name}: {what}");
        if mark == "UNKNOWN" {
            unknown.push(name);
        }
    }
    let unused: Vec<&str> = known
        .iter()
        .filter(|k| k.kind == kind && !differences.iter().any(|(name, _)| k.fits(kind, name)))
        .map(|k| k.pattern.as_str())
        .collect();
    println!(
        "differences: {} of {kind}s, {} unknown",
        differences.len(),
        unknown.len()
    );
    assert!(unknown.is_empty(), "not in differences.txt: {unknown:#?}");
    assert!(
        unused.is_empty(),
        "in differences.txt, and no difference: {unused:?}"
    );
}

fn differences<V: PartialEq + std::fmt::Debug>(
    netinst: &BTreeMap<String, V>,
    mirror: &BTreeMap<String, V>,
) -> Vec<(String, String)> {
    let names: BTreeSet<&String> = netinst.keys().chain(mirror.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (netinst.get(name), mirror.get(name)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(a), Some(b)) => Some((name.clone(), format!("{a:?}, from the mirror {b:?}"))),
            (Some(_), None) => Some((name.clone(), "only by the installer".to_owned())),
            _ => Some((name.clone(), "only from the mirror".to_owned())),
        })
        .collect()
}

/// The packages of both bases.
pub(super) fn manifests(netinst: &Path, mirror: &Path) {
    let packages = |folder: &Path| -> BTreeMap<String, String> {
        let text = fs::read(folder.join("base.manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        serde_json::from_value(manifest["packages"].clone()).unwrap()
    };
    judge(
        "package",
        &differences(&packages(netinst), &packages(mirror)),
    );
}

/// The files of both configured machines: kind, mode, owner, content. What is different from one
/// machine to the next in any case (keys, logs) is on the list too.
pub(super) fn overlays(netinst: &Path, mirror: &Path) {
    let files = |folder: &Path| {
        let overlay = folder.join("vm42/vm42.qcow2");
        let root = Image::open(&overlay).unwrap().into_root().unwrap();
        let mut all = BTreeMap::new();
        walk(&root, "", &mut all);
        assert!(all.len() > 5000, "{} files", all.len());
        all
    };
    judge("file", &differences(&files(netinst), &files(mirror)));
}

fn walk(root: &Ext4, folder: &str, all: &mut BTreeMap<String, String>) {
    let shown = if folder.is_empty() { "/" } else { folder };
    for entry in root.read_dir(shown).unwrap() {
        let entry = entry.unwrap();
        let name = String::from_utf8_lossy(entry.file_name().as_ref()).into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{folder}/{name}");
        let data = root.symlink_metadata(path.as_str()).unwrap();
        all.insert(path.clone(), described(root, &path, &data));
        if data.is_dir() {
            walk(root, &path, all);
        }
    }
}

fn described(root: &Ext4, path: &str, data: &Metadata) -> String {
    let owner = format!("{:o} {}:{}", data.mode(), data.uid(), data.gid());
    if data.is_symlink() {
        let target = root.read_link(path).unwrap();
        return format!("{owner} -> {}", String::from_utf8_lossy(target.as_ref()));
    }
    if !data.file_type().is_regular_file() {
        return owner;
    }
    let content = root.read(path).unwrap();
    format!(
        "{owner} {} bytes {}",
        content.len(),
        &sha256(&content)[..12]
    )
}
