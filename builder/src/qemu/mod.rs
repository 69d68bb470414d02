//! QEMU: starting a machine, and watching over its process.

mod control;
pub mod guest_console;
mod kvm;
mod machine;

pub use control::Control;
pub use kvm::{BOOT_ID, choose, kvm_broke, remember};
pub use machine::{Machine, running};
