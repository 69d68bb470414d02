//! The tests of imgbuild as a whole program.
//!
//! What boots machines or needs a mirror is in [`machines`], is ignored by default, and is run by
//! scripts/test.

#![allow(clippy::unwrap_used)]

mod audit;
mod base;
mod base_folder;
mod bases;
mod cloud_init;
mod compress;
mod config;
mod contract;
mod docs;
mod guest_binary;
mod hostile_images;
mod machines;
mod netinst_iso;
mod netinst_watch;
mod proxmox_key;
mod publish;
mod report;
mod retire;
mod run;
mod seed_disk;
#[path = "../static_program.rs"]
mod static_program;
mod terminal;
mod tickets;
mod vm_folder;

/// The imgbuild that is tested.
fn program() -> std::path::PathBuf {
    testkit::program("imgbuild", env!("CARGO_BIN_EXE_imgbuild"))
}

/// What it says of its version.
fn version() -> String {
    format!("imgbuild {}\n", env!("CARGO_PKG_VERSION"))
}
