//! One function for each parser that reads what others wrote: it takes any bytes, and panics where
//! something does not hold that always must. As `firstboot::fuzzing`, which has the guest's.

mod config;
mod image;
mod peers;
#[cfg(test)]
mod tests;
mod words;

use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("lab", config::lab),
    ("definition", config::definition),
    ("manifest", config::manifest),
    ("current_json", config::current_json),
    ("qcow2", image::qcow2),
    ("ext4", image::ext4),
    ("installer_disc", image::installer_disc),
    ("dpkg_status", image::dpkg_status),
    ("sha256sums", words::sha256sums),
    ("apt_words", words::apt_words),
    ("console", words::console),
    ("installer_log", words::installer_log),
    ("status_lines", words::status_lines),
    ("pc_status", words::pc_status),
    ("peer_answer", peers::peer_answer),
    ("certificate", peers::certificate),
];

/// A file in memory, with a path for what opens files.
struct InMemory(File);

impl InMemory {
    fn of(parts: &[&[u8]]) -> Self {
        let descriptor = memfd_create("input", MemfdFlags::CLOEXEC).expect("a file in memory");
        let mut file = File::from(descriptor);
        for part in parts {
            file.write_all(part).expect("memory for it");
        }
        InMemory(file)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Whether words can be shown on a terminal, but for the ends of their lines.
fn is_plain(words: &str) -> bool {
    words.chars().all(|c| c == '\n' || !c.is_control())
}
