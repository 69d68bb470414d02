//! Looking into the file system of an image; paths are absolute in it.

use ext4_view::{Ext4, Ext4Error, Metadata};

/// More than any file that is read of an image.
const MAX_FILE: u64 = 64 << 20;
/// More folders inside each other than any system has.
const MAX_DEPTH: usize = 64;

/// The content of a file, or `None` when there is none.
pub(crate) fn read_file(root: &Ext4, path: &str) -> Result<Option<Vec<u8>>, Ext4Error> {
    // The reader takes the memory for as much as the inode says.
    match root.metadata(path) {
        Ok(data) if data.len() > MAX_FILE => return Err(Ext4Error::FileTooLarge),
        Err(Ext4Error::NotFound) => return Ok(None),
        _ => {}
    }
    match root.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Ext4Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a symbolic link leads, or `None` when there is none.
pub(crate) fn link(root: &Ext4, path: &str) -> Result<Option<String>, Ext4Error> {
    match root.read_link(path) {
        Ok(target) => Ok(Some(String::from_utf8_lossy(target.as_ref()).into_owned())),
        Err(Ext4Error::NotFound | Ext4Error::NotASymlink) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder, sorted; none when it is absent or no folder.
pub(crate) fn entries(root: &Ext4, folder: &str) -> Result<Vec<String>, Ext4Error> {
    let read = match root.read_dir(folder) {
        Ok(read) => read,
        Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in read {
        let name = String::from_utf8_lossy(entry?.file_name().as_ref()).into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Paths that match a pattern with at most one `*`, in its last part. A dangling link counts.
pub(crate) fn matching(root: &Ext4, pattern: &str) -> Result<Vec<String>, Ext4Error> {
    let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let (before, after) = last.split_once('*').unwrap_or((last, ""));
    let folder = if folder.is_empty() { "/" } else { folder };
    let fits = |name: &str| {
        if last.contains('*') {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        } else {
            name == last
        }
    };
    Ok(entries(root, folder)?
        .into_iter()
        .filter(|name| fits(name))
        .map(|name| format!("{}/{name}", folder.trim_end_matches('/')))
        .collect())
}

/// The first file or link below a folder that is wanted, by its name and what is known of it.
pub(crate) fn find_below(
    root: &Ext4,
    folder: &str,
    wanted: &impl Fn(&str, &Metadata) -> bool,
) -> Result<Option<String>, Ext4Error> {
    // A damaged folder can have itself inside.
    if folder.matches('/').count() > MAX_DEPTH {
        return Err(Ext4Error::PathTooLong);
    }
    for name in entries(root, folder)? {
        let path = format!("{folder}/{name}");
        let data = root.symlink_metadata(path.as_str())?;
        if data.is_dir() {
            if let Some(found) = find_below(root, &path, wanted)? {
                return Ok(Some(found));
            }
        } else if wanted(&name, &data) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
