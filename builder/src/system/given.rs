//! Files that a user names: the one way to open and read them.
//!
//! Opening a named pipe waits for its writer, reading a device may never end, and a disk image in the
//! place of a key fills the memory. So the kind is looked at first, and a file is read up to a size.

use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// More than any key, password, configuration or digest file.
pub(crate) const SMALL: u64 = 1 << 20;

/// More than a base's manifest, with all of its packages.
pub(crate) const MAX_MANIFEST: u64 = 16 << 20;

/// Why a file cannot be read. Its words do not name the file.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The kernel's reason.
    Io(io::Error),
    /// It is no regular file, but this.
    IsNoFile(&'static str),
    /// It has more bytes than this.
    IsLarger(u64),
    /// It is no text in UTF-8.
    IsNoText,
}

impl Unreadable {
    /// Whether there is none.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Unreadable::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Io(error) => error.fmt(f),
            Unreadable::IsNoFile(kind) => {
                write!(f, "it is {kind}, and only a regular file is read")
            }
            Unreadable::IsLarger(most) => {
                let most = match most {
                    most if most % (1 << 20) == 0 => format!("{} MiB", most >> 20),
                    most => format!("{} KiB", most >> 10),
                };
                write!(f, "it is larger than {most}, which no such file is")
            }
            Unreadable::IsNoText => f.write_str("it is not UTF-8 text"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Unreadable::Io(error)
    }
}

/// Opens a regular file for reading, and waits for nobody.
pub(crate) fn open(path: &Path) -> Result<File, Unreadable> {
    // Opening alone may have an effect on a device, so its kind is known before.
    is_file(std::fs::metadata(path)?.file_type())?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits() as i32)
        .open(path)?;
    // Another one may have come into its place.
    is_file(file.metadata()?.file_type())?;
    Ok(file)
}

fn is_file(kind: FileType) -> Result<(), Unreadable> {
    if kind.is_file() {
        return Ok(());
    }
    Err(Unreadable::IsNoFile(if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }))
}

/// The content of a regular file that has at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unreadable> {
    content(&open(path)?, most)
}

/// As [`read`], for text.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String, Unreadable> {
    String::from_utf8(read(path, most)?).map_err(|_| Unreadable::IsNoText)
}

/// The rest of an opened file that has at most so many bytes.
pub(crate) fn content(file: &File, most: u64) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(Unreadable::IsLarger(most)),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_up_to_a_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let says = |path: &Path| read(path, 2048).unwrap_err().to_string();
        std::fs::write(path("file"), vec![b'x'; 2048]).unwrap();
        assert_eq!(read(&path("file"), 2048).unwrap().len(), 2048);
        std::fs::write(path("large"), vec![b'x'; 2049]).unwrap();
        assert_eq!(
            says(&path("large")),
            "it is larger than 2 KiB, which no such file is"
        );
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        for (name, kind) in [
            ("pipe", "a named pipe"),
            ("socket", "a socket"),
            ("zero", "a device"),
            ("", "a folder"),
        ] {
            let words = format!("it is {kind}, and only a regular file is read");
            assert_eq!(says(&path(name)), words, "{name}");
        }
        assert!(read(&path("none"), 1).unwrap_err().is_missing());
        std::fs::write(path("latin"), b"\xff").unwrap();
        let error = read_text(&path("latin"), 1).unwrap_err();
        assert_eq!(error.to_string(), "it is not UTF-8 text");
    }
}
