//! QEMU: starting a machine, and watching over its process.

mod accelerator;
mod control;
mod guest_console;
mod machine;
mod watch;

pub use accelerator::{Accelerator, BOOT_ID, choose};
pub use control::Control;
pub use guest_console::{GuestConsole, SHOWN_LINES};
pub use machine::{Machine, running};
pub use watch::{End, Guest, Limits, Watch, Watched, boot};
