//! A VM's folder, and the names of the files in it.

use crate::config::lab::{Lab, Vm};
use std::path::PathBuf;

/// The folder with one VM's files, beside lab.yaml.
#[derive(Debug, Clone)]
pub(crate) struct VmFolder<'a> {
    /// As the lab describes it.
    pub vm: &'a Vm,
    /// Where it is; it need not be there yet.
    pub path: PathBuf,
}

impl<'a> VmFolder<'a> {
    /// That of one of the lab's VMs.
    pub(crate) fn of(lab: &Lab, vm: &'a Vm) -> Self {
        let path = lab.folder.join(vm.name.as_str());
        VmFolder { vm, path }
    }

    pub(crate) fn name(&self) -> &'a str {
        &self.vm.name
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn overlay(&self) -> PathBuf {
        self.file(&format!("{}.qcow2", self.vm.name))
    }

    /// Where run.sh keeps how that base was when its digest was compared last.
    pub(crate) fn base_seen(&self) -> PathBuf {
        self.file(&format!("{}.qcow2.base.seen", self.vm.name))
    }

    /// Where run.sh keeps the digest of the base that the disk was made on.
    pub(crate) fn overlay_base(&self) -> PathBuf {
        self.file(&format!("{}.qcow2.base", self.vm.name))
    }
}
