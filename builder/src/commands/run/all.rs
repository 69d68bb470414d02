//! `imgbuild run --all`: the lab's VMs that are this PC's, one after the other.

use super::{Options, run_one};
use crate::config::lab::{Lab, State, Vm};
use crate::qemu;
use crate::system::interrupt::Interrupted;
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::retired::Retired;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs;
use std::path::Path;

/// What QEMU itself takes, besides its guest's memory.
const QEMU_MIB: u64 = 128;

pub(super) fn run_all(options: &Options, lab: &Lab, ui: &Ui) -> Result<()> {
    let pc = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let (ours, others): (Vec<&Vm>, Vec<&Vm>) = lab.vms.iter().partition(|vm| is_of(vm, &pc));
    if !others.is_empty() {
        ui.warn(&format!(
            "{} VMs are of other PCs than this one ({pc}), by `host:`, and are left alone",
            others.len()
        ));
    }
    let folders: Vec<VmFolder<'_>> = ours.iter().map(|vm| VmFolder::of(lab, vm)).collect();
    let mut ends: Vec<(&str, Result<()>)> = Vec::new();
    for folder in &folders {
        // Those that the lab wants off, or gone, are not started.
        if folder.vm.state != State::Started || Retired::of(&folder.path).is_some() {
            continue;
        }
        let end = check_memory(folder, &folders).and_then(|()| run_one(options, folder, ui));
        if let Err(error) = &end {
            if error.is::<Interrupted>() {
                return end;
            }
            ui.warn(&format!("{error:#}"));
        }
        ends.push((folder.name(), end));
    }
    summary(&ends, ui)
}

/// By `host:`, a PC's full name or its first label; without it a VM is whoever's runs it.
fn is_of(vm: &Vm, pc: &str) -> bool {
    let label = |name: &str| name.split('.').next().map(str::to_owned);
    let Some(host) = &vm.host else {
        return true;
    };
    host.as_str() == pc || (label(host) == label(pc) && !(host.contains('.') && pc.contains('.')))
}

fn summary(ends: &[(&str, Result<()>)], ui: &Ui) -> Result<()> {
    let width = ends.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut failed = Vec::new();
    for (name, end) in ends {
        let (configured, text) = match end {
            Ok(()) => (true, "configured".to_owned()),
            Err(error) => (false, format!("{error:#}")),
        };
        let text = text.lines().next().unwrap_or_default();
        ui.result(
            &json!({"event": "summary", "vm": name, "configured": configured, "text": text}),
            &format!("{name:<width$}  {text}"),
        );
        if !configured {
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} of {} VMs are not configured: {}",
            failed.len(),
            ends.len(),
            failed.join(", ")
        );
    }
    Ok(())
}

/// A guest takes its memory bit by bit, so what those that run have not taken yet counts as taken.
fn check_memory(folder: &VmFolder<'_>, all: &[VmFolder<'_>]) -> Result<()> {
    if qemu::running(&folder.path).is_some() {
        return Ok(());
    }
    let promised: u64 = all
        .iter()
        .filter_map(|other| {
            let pid = qemu::running(&other.path)?;
            let whole = u64::from(other.vm.memory_mib) + QEMU_MIB;
            Some(whole.saturating_sub(resident_mib(pid)))
        })
        .sum();
    let free = available_mib()?.saturating_sub(promised);
    let wanted = u64::from(folder.vm.memory_mib) + QEMU_MIB;
    if wanted > free {
        bail!(
            "{} was not started: it takes {wanted} MiB of memory with its QEMU, and this PC has \
             {free} MiB left",
            folder.name()
        );
    }
    Ok(())
}

/// `MemAvailable` of proc_meminfo(5): what programs can have without swapping.
fn available_mib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    mib(&text, "MemAvailable:").context("/proc/meminfo has no MemAvailable")
}

fn resident_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    status
        .ok()
        .and_then(|text| mib(&text, "VmRSS:"))
        .unwrap_or(0)
}

/// A value such as `VmRSS:     1234 kB`, in MiB.
fn mib(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::example;

    #[test]
    fn whose_a_machine_is() {
        let mut lab = example::lab();
        let vm = &mut lab.vms[0];
        assert!(is_of(vm, "pc-b-01"));
        for (host, pc, expected) in [
            ("pc-b-01", "pc-b-01", true),
            ("pc-b-01.lab.example.org", "pc-b-01", true),
            ("pc-b-01", "pc-b-01.lab.example.org", true),
            ("pc-b-01.lab.example.org", "pc-b-01.other.org", false),
            ("pc-b-02", "pc-b-01", false),
        ] {
            vm.host = Some(host.parse().unwrap());
            assert_eq!(is_of(vm, pc), expected, "{host} {pc}");
        }
    }

    #[test]
    fn memory_of_this_process() {
        assert!(available_mib().unwrap() > 0);
        assert!(resident_mib(std::process::id()) > 0);
        assert_eq!(mib("VmRSS:\t  2048 kB\n", "VmRSS:"), Some(2));
    }
}
