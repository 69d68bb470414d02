//! The recipe of `imgbuild base`.

use crate::cli::{AuditArgs, BaseArgs};
use crate::report::Report;
use anyhow::Result;

/// `imgbuild base`.
pub fn build(_args: &BaseArgs, _report: &Report) -> Result<()> {
    anyhow::bail!("not yet")
}

/// `imgbuild audit`.
pub fn audit_command(_args: &AuditArgs, _report: &Report) -> Result<()> {
    anyhow::bail!("not yet")
}
