//! The recipe of `imgbuild seed`.

use crate::cli::SeedArgs;
use crate::report::Report;
use anyhow::Result;

/// `imgbuild seed`.
pub fn seed(_args: &SeedArgs, _report: &Report) -> Result<()> {
    anyhow::bail!("not yet")
}
