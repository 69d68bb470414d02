//! QEMU: starting a machine, and watching over its process.

mod accelerator;
mod control;
mod guest_console;
mod machine;
mod own_time;
mod state;
mod watch;

pub use accelerator::BOOT_ID;
pub(crate) use accelerator::{Accelerator, choose};
pub(crate) use guest_console::GuestConsole;
pub(crate) use machine::Machine;
pub use machine::running;
pub(crate) use state::{Running, held_by_its_disk};
pub(crate) use watch::{End, Guest, Limits, Watch, Watched, boot, busy};
