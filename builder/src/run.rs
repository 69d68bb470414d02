//! The recipe of `imgbuild run`.

use crate::cli::RunArgs;
use crate::report::Report;
use anyhow::Result;

/// `imgbuild run`.
pub fn run(_args: &RunArgs, _report: &Report) -> Result<()> {
    anyhow::bail!("not yet")
}
