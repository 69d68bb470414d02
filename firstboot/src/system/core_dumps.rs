//! No core dump: firstboot's memory holds passwords and keys, and so does that of the programs
//! that get them on standard input.
//!
//! Memory is not locked. The images have no swap, and do not hibernate, so no page reaches a
//! disk; locking would cover neither the buffers of the YAML parser nor those of pvecm, which
//! keeps the password in a Perl string of its own.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io;

/// Forbids core dumps of this process and of all that it starts, and everybody but root to
/// look into its memory.
///
/// The limit is inherited; a program may not raise it, unless root's. What the dumpable flag
/// says ends with the start of another program, so only firstboot has it. An error is the
/// kernel's.
pub fn forbid_core_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    // Where a program takes the dumps (systemd-coredump), the kernel asks only this.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
