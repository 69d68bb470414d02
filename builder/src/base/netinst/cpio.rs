//! A cpio archive in the "newc" format, which the kernel unpacks into its initramfs.
//!
//! Format: `Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel. Several
//! archives may follow each other, compressed or not, padded with zeros to four bytes; files of
//! a later one replace those of an earlier one.

/// Bytes that names and contents are padded to.
const ALIGNMENT: usize = 4;
/// File type bits of a mode.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive in the making. Everything in it belongs to root and is as old as the epoch, so
/// that the same files give the same bytes.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder. One that is there already in an earlier archive must not be added: where it
    /// is a link there, the link would be replaced.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER | 0o755, &[]);
    }

    /// Adds a file; its folder must be there, from this archive or an earlier one.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, FILE | permissions, content);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entries = u32::MAX;
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        // The trailer has the number 0 and everything else its own, so that nothing is a hard link.
        self.entries = self.entries.wrapping_add(1);
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = name.len() as u32 + 1;
        self.bytes.extend_from_slice(b"070701");
        // Inode, mode, uid, gid, links, time, size, device (2), special device (2), name, check sum
        for field in [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ] {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        pad(&mut self.bytes);
        self.bytes.extend_from_slice(content);
        pad(&mut self.bytes);
    }
}

/// Pads with zeros, as a further archive behind this one needs it.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn example() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.folder("imgbuild");
        archive.file("imgbuild/hook", 0o755, b"#!/bin/sh\n");
        archive.file("preseed.cfg", 0o644, b"d-i x y z\n1");
        archive.finish()
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let bytes = example();
        assert_eq!(bytes.len() % 4, 0);
        let first =
            "07070100000001000041ED00000000000000000000000200000000000000000000000000000000\
                     000000000000000000000009000000 00imgbuild\0"
                .replace(' ', "");
        assert_eq!(String::from_utf8_lossy(&bytes[..first.len()]), first);
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }

    #[test]
    fn cpio_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut cpio = Command::new("cpio")
            .args(["--extract", "--quiet", "--no-preserve-owner"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&example()).unwrap();
        assert!(cpio.wait().unwrap().success());
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("imgbuild/hook"), "#!/bin/sh\n");
        assert_eq!(read("preseed.cfg"), "d-i x y z\n1");
        use std::os::unix::fs::PermissionsExt;
        let hook = std::fs::metadata(folder.path().join("imgbuild/hook")).unwrap();
        assert_eq!(hook.permissions().mode() & 0o777, 0o755);
    }
}
