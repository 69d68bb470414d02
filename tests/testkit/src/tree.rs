//! Copying and comparing whole trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is told about a run; compared by its own tests, because it holds times.
const TOLD: [&str; 2] = ["run/firstboot", "var/lib/firstboot"];

#[derive(Debug, PartialEq)]
pub struct Entry {
    /// A file's text, a link's target, or the word for a folder.
    pub content: String,
    /// Mode, time of change in nanoseconds, inode: for a tree that must not be touched.
    pub marks: (u32, i64, i64, u64),
}

#[derive(Debug, PartialEq)]
pub struct Snapshot(BTreeMap<String, Entry>);

impl Snapshot {
    /// What is in the tree, without the marks. Folders count by what is in them, because
    /// git keeps no others.
    pub fn contents(self) -> BTreeMap<String, String> {
        let entries = self.0.into_iter().map(|(path, e)| (path, e.content));
        entries.filter(|(_, content)| content != "folder").collect()
    }
}

pub fn snapshot(root: &Path) -> Snapshot {
    let mut entries = BTreeMap::new();
    walk(root, root, &mut entries);
    Snapshot(entries)
}

fn walk(root: &Path, folder: &Path, entries: &mut BTreeMap<String, Entry>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if TOLD.contains(&name.as_str()) {
            continue;
        }
        let data = fs::symlink_metadata(&path).unwrap();
        let mut marks = (data.mode(), data.mtime(), data.mtime_nsec(), data.ino());
        let content = if data.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if data.is_dir() {
            walk(root, &path, entries);
            // The folders above what is told are not the point.
            if TOLD.iter().any(|told| Path::new(told).starts_with(&name)) {
                marks = (data.mode(), 0, 0, data.ino());
            }
            "folder".to_owned()
        } else {
            without_today(&name, &fs::read_to_string(&path).unwrap())
        };
        entries.insert(name, Entry { content, marks });
    }
}

/// `/etc/shadow` holds the day of the change: today's becomes a word.
fn without_today(name: &str, text: &str) -> String {
    if name != "etc/shadow" {
        return text.to_owned();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let today = since.as_secs() / 86_400;
    [today - 1, today]
        .iter()
        .fold(text.to_owned(), |text, day| {
            text.replace(&format!(":{day}:"), ":TODAY:")
        })
}

/// Copies what is in a folder into another; files get this mode, else that of new files.
pub fn copy(from: &Path, to: &Path, mode: Option<u32>) {
    for entry in fs::read_dir(from).unwrap() {
        let source = entry.unwrap().path();
        let target = to.join(source.file_name().unwrap());
        let kind = fs::symlink_metadata(&source).unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else if kind.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&source, &target, mode);
        } else {
            fs::write(&target, fs::read(&source).unwrap()).unwrap();
            if let Some(mode) = mode {
                crate::set_mode(&target, mode);
            }
        }
    }
}

/// Wants what is in a tree to be what is in another one; with `UPDATE_GOLDEN=1` the expected one is
/// made the same.
pub fn expect(expected: &Path, found: &Path) {
    if crate::expected::is_updated() {
        replace(found, expected);
    }
    let text = |root: &Path| -> String {
        let contents = snapshot(root).contents().into_iter();
        contents
            .map(|(path, content)| format!("== {path}\n{content}\n"))
            .collect()
    };
    crate::expected::expect(expected, &text(expected), &text(found));
}

/// Puts what a run made in the place of an expected tree.
fn replace(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    for (path, content) in snapshot(from).contents() {
        let target = to.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        match content.strip_prefix("-> ") {
            Some(link) => std::os::unix::fs::symlink(link, &target).unwrap(),
            None => fs::write(&target, content).unwrap(),
        }
    }
}

fn modes(file: &Path) -> Vec<(u32, String)> {
    let text = fs::read_to_string(file).unwrap();
    let line = |line: &str| {
        let (mode, path) = line.split_once(' ').unwrap();
        (u32::from_str_radix(mode, 8).unwrap(), path.to_owned())
    };
    text.lines().map(line).collect()
}

/// Gives the listed files that are there their modes.
pub fn apply_modes(file: &Path, root: &Path) {
    for (mode, path) in modes(file) {
        let path = root.join(path);
        if path.exists() {
            crate::set_mode(&path, mode);
        }
    }
}

/// Each listed file must be there with its mode.
pub fn check_modes(file: &Path, root: &Path) {
    for (mode, path) in modes(file) {
        let data = fs::metadata(root.join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(data.mode() & 0o7777, mode, "{path}: {:o}", data.mode());
    }
}
