//! A folder for a test.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A temporary folder that goes away with this. Names are paths from it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// Below `TMPDIR`.
    pub fn new() -> Folder {
        Folder::named("test-")
    }

    /// Where device files are allowed and much fits: below `TMPDIR`, else in `/var/tmp`.
    pub fn on_disk() -> Folder {
        let place = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
        Folder(tempfile::tempdir_in(place).unwrap())
    }

    /// One whose name begins like this.
    pub fn named(prefix: &str) -> Folder {
        Folder(tempfile::Builder::new().prefix(prefix).tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a file, and makes the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// A file that only its owner may read.
    pub fn secret(&self, name: &str, content: impl AsRef<[u8]>) {
        self.write(name, content);
        set_mode(&self.path(name), 0o600);
    }

    /// Makes empty folders.
    pub fn folders(&self, names: &[&str]) {
        for name in names {
            fs::create_dir_all(self.path(name)).unwrap();
        }
    }

    /// A lock beside a file or folder that several tests, in this process or another, want and one has to
    /// make. It is given back when this is dropped.
    #[must_use]
    pub fn lock(path: &Path) -> fs::File {
        let lock = fs::File::create(path.with_extension("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        lock
    }

    /// The names in a folder, sorted; none where there is no such folder.
    pub fn names(&self, name: &str) -> Vec<String> {
        names(&self.path(name))
    }

    /// A program in `bin`.
    pub fn program(&self, name: &str, text: &str) {
        self.folders(&["bin"]);
        write_program(&self.path("bin").join(name), text.as_bytes());
    }

    /// PATH with `bin` before everything else.
    pub fn path_with_bin(&self) -> OsString {
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        path
    }

    /// A text with a word for this folder's path.
    pub fn hide(&self, text: &str, word: &str) -> String {
        let real = self.0.path().canonicalize().unwrap();
        text.replace(real.to_str().unwrap(), word)
    }
}

/// Writes a program. Another process writes it: a file that this process has open for writing is
/// inherited by what other tests start at that moment, and the kernel runs no such file.
pub fn write_program(file: &Path, content: &[u8]) {
    let mut writer = Command::new("sh")
        .args(["-c", "rm -f \"$0\"; cat >\"$0\" && chmod 755 \"$0\""])
        .arg(file)
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(content).unwrap();
    assert!(writer.wait().unwrap().success(), "{}", file.display());
}

/// A lock beside a file or folder that several tests, in this process or another, want and one has to
/// make. It is given back when this is dropped.
#[must_use]
pub fn lock(path: &Path) -> fs::File {
    let lock = fs::File::create(path.with_extension("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    lock
}

/// The names in a folder, sorted; none where there is no such folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Permission bits.
pub fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

pub fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}
