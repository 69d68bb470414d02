//! The recipe of `imgbuild console`: this terminal becomes a running VM's serial console.

use crate::config::lab::Lab;
use crate::qemu;
use crate::system::program;
use crate::vm::folder::VmFolder;
use crate::vm::script;
use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::Path;

/// run.sh takes the place of this process; it says which key leaves the console.
pub fn console(name: &str, lab_file: &Path) -> Result<()> {
    let lab = Lab::load_without_secrets(lab_file)?;
    let folder = VmFolder::of(&lab, lab.vm(name)?);
    if qemu::running(&folder.path).is_none() {
        bail!(
            "{name} is off; its last words are in {}",
            folder.file("console.log").display()
        );
    }
    let script = script::with_words(&folder)?;
    let mut line = program::command("sh")?;
    line.arg(&script).arg("console");
    Err(line.exec()).with_context(|| format!("cannot start {} console", script.display()))
}
