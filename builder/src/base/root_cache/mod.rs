//! The cache of installed roots: what `packages.sh` leaves, kept by a digest of all that went in.
//!
//! An entry is one file, `KEY-DIGEST.tar.zst` below `roots` in the cache folder. The key stands for the
//! script, the archives' lines and keys, the program mmdebstrap, and the archives' own Release files, which have the
//! digest of every package: as long as these are the same, an installation would give the same. The second
//! digest is the entry's own: a damaged one is found by it before it is used.

mod key;

pub(super) use key::Key;

use crate::system::digest::sha256_file;
use crate::system::download::cache::Cache;
use crate::system::text::hex;
use crate::system::ui::Ui;
use crate::system::xdg;
use anyhow::{Context, Result};
use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

const ENDING: &str = ".tar.zst";
/// What an entry is called until it is whole.
const UNFINISHED: &str = ".new.";
/// zstd's fastest: a root is packed in a second, and read from this disk only.
const LEVEL: i32 = 1;

/// The folder of the roots.
#[derive(Debug)]
pub(super) struct RootCache {
    folder: PathBuf,
    /// What all entries together may have, in bytes.
    limit: u64,
}

impl RootCache {
    /// The cache of this user; `None` where nothing is to be kept.
    pub(super) fn of_user(limit: u64) -> Result<Option<Self>> {
        match limit {
            0 => Ok(None),
            limit => Ok(Some(RootCache {
                folder: xdg::cache()?.join("roots"),
                limit,
            })),
        }
    }

    /// The entry of this key, open and found whole.
    pub(super) fn find(&self, key: &Key, ui: &Ui) -> Result<Option<File>> {
        let _lock = Cache::open(&self.folder, ui)?;
        self.sweep()?;
        for entry in self.entries()? {
            let Some(digest) = entry.digest_for(key) else {
                continue;
            };
            let stage = ui.stage("installed system");
            let path = &entry.path;
            if sha256_file(path)? != digest {
                stage.again("the one in the cache is damaged, and was removed");
                fs::remove_file(path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
                continue;
            }
            let file =
                File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            // The last use decides what goes first. On a file system that is mounted read-only it stays.
            let _ = File::options()
                .append(true)
                .open(path)
                .and_then(|file| file.set_modified(SystemTime::now()));
            stage.done("taken from the cache");
            return Ok(Some(file));
        }
        Ok(None)
    }

    /// A new entry, still without content.
    pub(super) fn new_entry(&self, key: &Key, ui: &Ui) -> Result<NewEntry> {
        let _lock = Cache::open(&self.folder, ui)?;
        let path = self
            .folder
            .join(format!("{UNFINISHED}{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        // Who holds this still writes it.
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(NewEntry {
            path,
            file,
            key: key.digest.clone(),
            is_kept: false,
        })
    }

    /// Gives a whole entry its name, and makes room for it. Returns what is to be said of it.
    pub(super) fn keep(&self, mut entry: NewEntry, packed: &Packed, ui: &Ui) -> Result<String> {
        let _lock = Cache::open(&self.folder, ui)?;
        let shown = format!("{} MB", packed.bytes / 1_000_000);
        if packed.bytes > self.limit {
            return Ok(format!("{shown}, more than the cache may have; not kept"));
        }
        let name = format!("{}-{}{ENDING}", entry.key, packed.digest);
        let to = self.folder.join(name);
        // Not flushed: what a power cut makes of it is found by its digest.
        fs::rename(&entry.path, &to).with_context(|| format!("cannot keep {}", to.display()))?;
        entry.is_kept = true;
        let mut entries = self.entries()?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut sum = packed.bytes;
        for other in entries.iter().filter(|other| other.path != to) {
            sum += other.bytes;
            if sum > self.limit {
                let path = &other.path;
                fs::remove_file(path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(format!("{shown}, kept for the next base"))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let read = || -> io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                let data = entry.metadata()?;
                if entry.file_name().to_string_lossy().ends_with(ENDING) && data.is_file() {
                    entries.push(Entry {
                        path: entry.path(),
                        bytes: data.len(),
                        used: data.modified()?,
                    });
                }
            }
            Ok(entries)
        };
        read().with_context(|| format!("cannot read {}", self.folder.display()))
    }

    /// Removes what builds that were killed have left.
    fn sweep(&self) -> Result<()> {
        let folder = self.folder.display();
        let listed = fs::read_dir(&self.folder).with_context(|| format!("cannot read {folder}"))?;
        for entry in listed {
            let entry = entry.with_context(|| format!("cannot read {folder}"))?;
            if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                continue;
            }
            let nobody_writes = File::open(entry.path()).is_ok_and(|file| {
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            });
            if nobody_writes {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    /// When it was made or used last.
    used: SystemTime,
}

impl Entry {
    /// The digest that it must have, if it is the one of this key.
    fn digest_for(&self, key: &Key) -> Option<&str> {
        let name = self.path.file_name()?.to_str()?.strip_suffix(ENDING)?;
        name.strip_prefix(key.digest.as_str())?.strip_prefix('-')
    }
}

/// An entry that is being written; removed when it is dropped before it was kept.
#[derive(Debug)]
pub(super) struct NewEntry {
    path: PathBuf,
    file: File,
    key: String,
    is_kept: bool,
}

impl Drop for NewEntry {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What became of a root that was packed.
#[derive(Debug)]
pub(super) struct Packed {
    digest: String,
    bytes: u64,
}

impl NewEntry {
    /// Packs what comes until its end. Whoever writes it is never stopped: after a failure, the rest is
    /// read and thrown away.
    pub(super) fn pack(&self, mut from: impl Read) -> Result<Packed> {
        let packed = self.write(&mut from);
        io::copy(&mut from, &mut io::sink()).context("cannot read the installed system")?;
        packed.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn write(&self, from: &mut impl Read) -> io::Result<Packed> {
        let mut file = Digesting {
            file: &self.file,
            digest: Sha256::new(),
            bytes: 0,
        };
        let mut encoder = zstd::stream::write::Encoder::new(&mut file, LEVEL)?;
        io::copy(from, &mut encoder)?;
        encoder.finish()?;
        Ok(Packed {
            digest: hex(&file.digest.finalize()),
            bytes: file.bytes,
        })
    }
}

/// A file, and the digest of what was written to it.
struct Digesting<'a> {
    file: &'a File,
    digest: Sha256,
    bytes: u64,
}

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digest.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks an entry that [`RootCache::find`] has returned.
pub(super) fn unpack(entry: &File, to: impl Write) -> io::Result<()> {
    let mut entry = entry;
    entry.rewind()?;
    zstd::stream::copy_decode(entry, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(digest: &str) -> Key {
        Key::of_releases(digest, &["a", "b"])
    }

    fn cache(limit: u64) -> (tempfile::TempDir, RootCache, Ui) {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("roots");
        (parent, RootCache { folder, limit }, Ui::new(true))
    }

    fn kept(cache: &RootCache, key: &Key, content: &[u8], ui: &Ui) -> String {
        let entry = cache.new_entry(key, ui).unwrap();
        let packed = entry.pack(content).unwrap();
        cache.keep(entry, &packed, ui).unwrap()
    }

    /// What cannot be packed.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn found(cache: &RootCache, key: &Key, ui: &Ui) -> Option<Vec<u8>> {
        let entry = cache.find(key, ui).unwrap()?;
        let mut content = Vec::new();
        unpack(&entry, &mut content).unwrap();
        Some(content)
    }

    #[test]
    fn what_was_kept_is_found_by_its_key_alone() {
        let (_parent, cache, ui) = cache(1 << 20);
        assert_eq!(found(&cache, &key("one"), &ui), None);
        assert_eq!(
            kept(&cache, &key("one"), b"a root", &ui),
            "0 MB, kept for the next base"
        );
        assert_eq!(found(&cache, &key("one"), &ui).unwrap(), b"a root");
        for other in ["on", "one-", "two"] {
            assert_eq!(found(&cache, &key(other), &ui), None);
        }
    }

    #[test]
    fn a_damaged_entry_is_removed() {
        let (_parent, cache, ui) = cache(1 << 20);
        kept(&cache, &key("one"), &[7; 4000], &ui);
        let path = cache.entries().unwrap().remove(0).path;
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(found(&cache, &key("one"), &ui), None);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let (_parent, cache, ui) = cache(1 << 20);
        let noise = noise(300_000);
        for (age, name) in [(3, "old"), (9, "used"), (2, "new")] {
            kept(&cache, &key(name), &noise, &ui);
            let entries = cache.entries().unwrap();
            let entry = entries.iter().find(|e| e.digest_for(&key(name)).is_some());
            let file = File::options().append(true).open(&entry.unwrap().path);
            let then = SystemTime::now() - Duration::from_secs(age * 3600);
            file.unwrap().set_modified(then).unwrap();
        }
        assert!(found(&cache, &key("used"), &ui).is_some());
        kept(&cache, &key("newest"), &noise, &ui);
        let there = ["old", "used", "new", "newest"].map(|n| found(&cache, &key(n), &ui).is_some());
        assert_eq!(there, [false, true, true, true]);
        let (_parent, small, ui) = self::cache(1000);
        assert_eq!(
            kept(&small, &key("x"), &noise, &ui),
            "0 MB, more than the cache may have; not kept"
        );
        assert_eq!(fs::read_dir(&small.folder).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_build_left_is_removed_and_what_is_written_is_not() {
        let (_parent, cache, ui) = cache(1 << 20);
        let entry = cache.new_entry(&key("one"), &ui).unwrap();
        let left = cache.folder.join(".new.1");
        fs::write(&left, b"half").unwrap();
        assert_eq!(found(&cache, &key("one"), &ui), None);
        assert!(!left.exists() && entry.path.exists());
        let path = entry.path.clone();
        drop(entry);
        assert!(!path.exists());
    }

    #[test]
    fn a_full_disk_stops_nobody_who_writes() {
        let (_parent, cache, ui) = cache(1 << 20);
        let mut entry = cache.new_entry(&key("one"), &ui).unwrap();
        entry.file = File::options().write(true).open("/dev/full").unwrap();
        let noise = noise(3_000_000);
        let mut rest = noise.as_slice();
        let error = entry.pack(&mut rest).unwrap_err();
        assert!(format!("{error:#}").contains("No space left on device"));
        assert!(rest.is_empty());
    }
}
