//! The recipe of `imgbuild check`.

use crate::cli::CheckArgs;
use crate::report::Report;
use anyhow::Result;

/// `imgbuild check`.
pub fn check(_args: &CheckArgs, _report: &Report) -> Result<()> {
    anyhow::bail!("not yet")
}
