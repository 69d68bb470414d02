//! Following a file that another program writes, by bytes and by lines; and the end of one.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How much is read at once, and how long a line may be, in bytes: who writes may be hostile.
const MOST: u64 = 1 << 20;

/// Reads what was appended to a file since the last time; a file that is not there yet is empty. One that
/// has become too long goes on in a new one, and is `FILE.old` from then on (run.sh's keeper does that).
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// Whether any file in its place goes on with it: a flood may fill more than one between two looks.
    any: bool,
    /// What is there, and is not meant. As it is open, no new file has its inode.
    passed_over: Option<(File, u64)>,
}

impl Tail {
    /// From the first byte that is there; the file need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Tail {
            file: File::open(before(&path)).ok(),
            path,
            any: false,
            passed_over: None,
        }
    }

    /// Of the file that is going to be made anew.
    pub(crate) fn of_next(path: PathBuf) -> Self {
        let old = File::open(&path).ok();
        Tail {
            file: None,
            any: true,
            passed_over: old.and_then(|file| file.metadata().ok().map(|found| (file, found.len()))),
            path,
        }
    }

    /// What is new; empty when nothing is.
    pub(crate) fn new_bytes(&mut self) -> Result<Vec<u8>> {
        self.read()
            .with_context(|| format!("cannot read {}", self.path.display()))
    }

    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            if self.file.is_none() {
                self.file = self.open()?;
            }
            let Some(file) = &mut self.file else {
                return Ok(bytes);
            };
            file.take(MOST).read_to_end(&mut bytes)?;
            let has_next = match self.any {
                true => self.path.exists() && !same(file, &self.path),
                false => same(file, &before(&self.path)),
            };
            if !bytes.is_empty() || !has_next {
                return Ok(bytes);
            }
            // What was added before it got its other name.
            file.take(MOST).read_to_end(&mut bytes)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            self.file = None;
        }
    }

    fn open(&mut self) -> std::io::Result<Option<File>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if let Some((old, length)) = &self.passed_over {
            let found = file.metadata()?.len();
            let is_as_it_was = found == *length || (*length > 0 && found > *length);
            if same(old, &self.path) && is_as_it_was {
                return Ok(None);
            }
        }
        self.passed_over = None;
        Ok(Some(file))
    }

    /// Whether another file has taken its place that does not go on with it, or it was begun anew.
    pub(crate) fn was_replaced(&mut self) -> bool {
        let Some(file) = &mut self.file else {
            return false;
        };
        if same(file, &before(&self.path)) {
            return false;
        }
        let is_shorter =
            |file: &mut File| Some(file.metadata().ok()?.len() < file.stream_position().ok()?);
        match fs::metadata(&self.path) {
            Ok(_) => !same(file, &self.path) || is_shorter(file).unwrap_or(false),
            Err(_) => false,
        }
    }
}

/// Where a log's words are that have no room in it any more.
fn before(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".old");
    name.into()
}

fn same(file: &File, path: &Path) -> bool {
    let id = |found: fs::Metadata| (found.dev(), found.ino());
    let (one, two) = (file.metadata().map(id), fs::metadata(path).map(id));
    matches!((one, two), (Ok(one), Ok(two)) if one == two)
}

/// The end of a log, which may go over two files; nothing where there is none.
pub(crate) fn end_of(path: &Path, most: usize) -> Vec<u8> {
    let mut bytes = end_of_file(path, most);
    let rest = most - bytes.len();
    if rest > 0 {
        let mut earlier = end_of_file(&before(path), rest);
        earlier.append(&mut bytes);
        bytes = earlier;
    }
    bytes
}

fn end_of_file(path: &Path, most: usize) -> Vec<u8> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(most as u64);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}

/// Cuts what comes in parts into lines; the last one may not be whole yet.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// The lines that these bytes complete, without their ends. One without end is cut.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.open.extend_from_slice(bytes);
        let Some(end) = self.open.iter().rposition(|byte| *byte == b'\n') else {
            self.open.truncate(MOST as usize);
            return Vec::new();
        };
        let rest = self.open.split_off(end + 1);
        let whole = std::mem::replace(&mut self.open, rest);
        whole[..end]
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_in_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        let rotate = |words: &str| {
            fs::rename(&path, before(&path)).unwrap();
            fs::write(&path, words).unwrap();
        };
        fs::write(&path, "one ").unwrap();
        let mut tail = Tail::new(path.clone());
        assert_eq!(tail.new_bytes().unwrap(), b"one ");
        fs::write(&path, "one two ").unwrap();
        rotate("three");
        assert!(!tail.was_replaced());
        assert_eq!(tail.new_bytes().unwrap(), b"two ");
        assert_eq!(tail.new_bytes().unwrap(), b"three");
        assert_eq!(tail.new_bytes().unwrap(), b"");
        assert!(!tail.was_replaced());
        // Who comes later sees all that is kept.
        let mut later = Tail::new(path.clone());
        assert_eq!(later.new_bytes().unwrap(), b"one two ");
        assert_eq!(later.new_bytes().unwrap(), b"three");
        assert_eq!(end_of(&path, 7), b"o three");
        assert_eq!(end_of(&path, 4), b"hree");
        // Another start.
        fs::remove_file(before(&path)).unwrap();
        fs::rename(&path, folder.path().join("kept")).unwrap();
        fs::write(&path, "four").unwrap();
        assert!(tail.was_replaced());
        fs::write(&path, "").unwrap();
        assert!(later.was_replaced());
    }

    #[test]
    fn what_an_earlier_start_said_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        fs::write(&path, "old").unwrap();
        let mut tail = Tail::of_next(path.clone());
        assert_eq!(tail.new_bytes().unwrap(), b"");
        fs::remove_file(&path).unwrap();
        assert_eq!(tail.new_bytes().unwrap(), b"");
        fs::write(&path, "new words").unwrap();
        assert_eq!(tail.new_bytes().unwrap(), b"new words");
        // An empty one, too.
        fs::write(&path, "").unwrap();
        let mut tail = Tail::of_next(path.clone());
        assert_eq!(tail.new_bytes().unwrap(), b"");
        fs::rename(&path, before(&path)).unwrap();
        fs::write(&path, "new").unwrap();
        assert_eq!(tail.new_bytes().unwrap(), b"new");
        // Or the same file from its beginning.
        fs::write(&path, "new words").unwrap();
        let mut tail = Tail::of_next(path.clone());
        fs::write(&path, "new").unwrap();
        assert_eq!(tail.new_bytes().unwrap(), b"new");
    }

    #[test]
    fn a_line_without_end_fills_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..40 {
            assert!(lines.feed(&[b'x'; 100_000]).is_empty());
        }
        assert!(lines.open.len() <= MOST as usize);
        assert_eq!(lines.feed(b"\nnext\n")[1], b"next");
    }
}
