//! The machine of a run, and its files.

use crate::config::lab::Vm;
use std::path::PathBuf;

/// One VM and its files.
pub struct Target<'a> {
    /// As the lab describes it.
    pub vm: &'a Vm,
    /// The folder with its files, beside lab.yaml.
    pub folder: PathBuf,
}

impl Target<'_> {
    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its disk.
    pub fn overlay(&self) -> PathBuf {
        self.file(&format!("{}.qcow2", self.vm.name))
    }
}
