//! Finding the guest's binary, and refusing one that would not run there.

use crate::system::given;
use crate::system::program;
use anyhow::{Context, Result, bail};
use firstboot::contract::seed::CONTRACT;
use std::path::{Path, PathBuf};

/// Program header type of the dynamic loader's path (ELF specification, "PT_INTERP").
const PT_INTERP: u32 = 3;

/// The guest's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Firstboot {
    /// The static executable.
    pub file: PathBuf,
    /// The contract that it says it knows.
    pub contract: u32,
}

/// The firstboot beside this program, checked: of this version and contract, and static.
pub(super) fn find() -> Result<Firstboot> {
    let Some(binary) = beside() else {
        let own = std::env::current_exe().context("cannot find this program's own folder")?;
        bail!(
            "firstboot, the guest's program, is not beside imgbuild in {}. \
             Build both: cargo build --release",
            own.parent().unwrap_or(Path::new(".")).display()
        );
    };
    Ok(Firstboot {
        contract: check(&binary)?,
        file: binary,
    })
}

/// The firstboot beside this program, not looked into.
pub(super) fn beside() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let folder = own.parent()?;
    let candidates = [
        folder.join("firstboot"),
        folder.join("../lib/imgbuild/firstboot"),
    ];
    candidates.into_iter().find(|file| file.is_file())
}

/// More than any firstboot, debug information included.
const MOST: u64 = 256 << 20;

/// Refuses a binary that is not a static x86-64 ELF file or was not built with this program.
/// Gives the contract that it says it knows.
fn check(binary: &Path) -> Result<u32> {
    let bytes =
        given::read(binary, MOST).with_context(|| format!("cannot read {}", binary.display()))?;
    match is_static(&bytes) {
        Some(true) => {}
        Some(false) => bail!(
            "{} is not a static program, and the guest could not run it. \
             Build it with this project's .cargo/config.toml: cargo build --release",
            binary.display()
        ),
        None => bail!("{} is not an x86-64 ELF program", binary.display()),
    }
    let said = program::output(program::Command::new(binary).arg("--version"))
        .with_context(|| format!("cannot ask {} for its version", binary.display()))?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let version = format!("firstboot {} (contract ", env!("CARGO_PKG_VERSION"));
    let contract = said
        .strip_prefix(&version)
        .and_then(|rest| rest.strip_suffix(')')?.parse().ok());
    let Some(contract) = contract.filter(|known| *known == CONTRACT) else {
        let wanted = format!("{version}{CONTRACT})");
        bail!(
            "{} says `{said}`, and this imgbuild needs `{wanted}`. \
             Build both together: cargo build --release",
            binary.display()
        );
    };
    Ok(contract)
}

/// Whether an x86-64 ELF file asks for no dynamic loader; `None` when it is no such file.
fn is_static(elf: &[u8]) -> Option<bool> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(elf.get(at..at + 8)?.try_into().ok()?));
    // Magic, 64 bits, little endian, EM_X86_64.
    if elf.get(..6)? != b"\x7fELF\x02\x01" || u16_at(18)? != 62 {
        return None;
    }
    let table = usize::try_from(u64_at(32)?).ok()?;
    let size = usize::from(u16_at(54)?);
    for index in 0..usize::from(u16_at(56)?) {
        if u32_at(table + index * size)? == PT_INTERP {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(
            is_static(&own),
            Some(true),
            "tests are linked as the program is"
        );
        let mut dynamic = own.clone();
        let table = u64::from_le_bytes(own[32..40].try_into().unwrap()) as usize;
        dynamic[table..table + 4].copy_from_slice(&PT_INTERP.to_le_bytes());
        assert_eq!(is_static(&dynamic), Some(false));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(&own[..40]), None);
    }

    #[test]
    fn a_program_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("firstboot");
        std::fs::write(&script, "#!/bin/sh\necho firstboot 9\n").unwrap();
        let text = format!("{:#}", check(&script).unwrap_err());
        assert_eq!(
            text,
            format!("{} is not an x86-64 ELF program", script.display())
        );
    }
}
