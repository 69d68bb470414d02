//! QEMU for the installer: its command line, and its end.

use crate::base::measures::Measure;
use crate::qemu::{Accelerator, Machine};
use crate::system::files;
use crate::system::program;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// Memory of the machine in MiB. With less than 780 the installer takes its low-memory way.
const MEMORY: u32 = 1536;
/// Processors under KVM; packages are unpacked and compressed by several at once.
const KVM_PROCESSORS: usize = 4;

/// What QEMU may do: seccomp(2) refuses the rest, also to a guest that broke out into it.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The files of an installation, in the work folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    /// Writes kernel and initrd.
    pub(super) fn new(folder: &Path, kernel: &[u8], initrd: &[u8]) -> Result<Self> {
        let files = Files {
            folder: folder.to_owned(),
        };
        for (name, content) in [("vmlinuz", kernel), ("initrd", initrd)] {
            let file = folder.join(name);
            fs::write(&file, content)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(files)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The disk that is installed on, raw.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("base.raw")
    }

    /// What the first serial port says: firmware, kernel, the installer's questions.
    pub(super) fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// What the second serial port says: the installer's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("installer.log")
    }

    /// Makes the disk empty and removes what an earlier attempt said.
    fn reset(&self, bytes: u64) -> Result<()> {
        for file in [self.console(), self.log(), self.folder.join("qmp.sock")] {
            files::remove_if_there(&file)?;
        }
        let disk = self.disk();
        File::create(&disk)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("cannot make {}", disk.display()))
    }
}

/// What the machine is given besides these files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hardware<'a> {
    /// The installer's disc, an ISO file.
    pub iso: &'a Path,
    /// Size of the disk that is installed on, in bytes.
    pub disk_bytes: u64,
    /// What is not done to be faster.
    pub without: &'a [Measure],
}

/// Starts the installer. `accelerator` is `kvm` or `tcg`, decided before.
pub(super) fn start(
    files: &Files,
    hardware: Hardware<'_>,
    accelerator: Accelerator,
) -> Result<Machine> {
    files.reset(hardware.disk_bytes)?;
    let with = |measure| !hardware.without.contains(&measure);
    let iso = hardware.iso;
    let mut qemu = program::ending_with_this("qemu-system-x86_64")?;
    // A name without folders: a socket's path may have 108 bytes. Control opens it the same way.
    qemu.current_dir(&files.folder);
    qemu.args(["-name", "imgbuild-base", "-machine", "q35", "-nodefaults"]);
    qemu.args(["-display", "none", "-no-reboot"]);
    // It starts no program and becomes nobody else.
    qemu.args(["-sandbox", SANDBOX]);
    match accelerator {
        Accelerator::Kvm => {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            qemu.args(["-accel", "kvm", "-cpu", "host", "-smp"]);
            qemu.arg(processors.min(KVM_PROCESSORS).to_string());
        }
        // One processor in one thread: with several, QEMU 7.2 now and then stops a kernel at a
        // breakpoint. QEMU 5.2 computes one instruction (BZHI) wrong.
        _ => {
            qemu.args(["-accel", "tcg,thread=single", "-cpu", "max,bmi2=off"]);
        }
    }
    qemu.args(["-m", &MEMORY.to_string()]);
    qemu.args(["-kernel", "vmlinuz", "-initrd", "initrd", "-append"]);
    let mut line =
        "console=ttyS0,115200 auto=true priority=critical DEBIAN_FRONTEND=text TERM=dumb \
                    net.ifnames=0"
            .to_owned();
    let mut network = "user,id=net0".to_owned();
    if with(Measure::NoIpv6) {
        line.push_str(" ipv6.disable=1");
        network.push_str(",ipv6=off");
    }
    qemu.arg(line);
    let cache = if with(Measure::UnsafeCache) {
        "unsafe"
    } else {
        "writeback"
    };
    qemu.arg("-drive").arg(format!(
        "file=base.raw,if=virtio,format=raw,cache={cache},discard=unmap,detect-zeroes=unmap"
    ));
    let iso = fs::canonicalize(iso).with_context(|| format!("cannot open {}", iso.display()))?;
    // In QEMU's options a comma ends a value, and two are one.
    let iso = iso.to_string_lossy().replace(',', ",,");
    qemu.arg("-drive").arg(format!(
        "file={iso},if=none,id=disc,media=cdrom,format=raw,readonly=on"
    ));
    qemu.args(["-device", "ide-cd,drive=disc", "-netdev", &network]);
    qemu.args(["-device", "virtio-net-pci,netdev=net0,romfile="]);
    qemu.args(["-device", "virtio-rng-pci"]);
    qemu.args(["-chardev", "file,id=console,path=console.log"]);
    qemu.args(["-serial", "chardev:console"]);
    qemu.args(["-chardev", "file,id=log,path=installer.log"]);
    qemu.args(["-serial", "chardev:log"]);
    qemu.args(["-qmp", "unix:qmp.sock,server=on,wait=off"]);
    // Ctrl-C is not meant for it: it is ended when everything about it was said.
    qemu.process_group(0);
    Machine::spawn(
        qemu,
        &files.folder,
        &files.folder.join("qemu.log"),
        Some(accelerator),
    )
}
