//! The recipe of `imgbuild init`.

use crate::cli::InitArgs;
use crate::report::Report;
use anyhow::Result;

/// `imgbuild init`.
pub fn init(_args: &InitArgs, _report: &Report) -> Result<()> {
    anyhow::bail!("not yet")
}
