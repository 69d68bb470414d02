//! The tests of firstboot as a whole program, and of its library.
//!
//! [`joining`] runs clusters of places, takes minutes, is ignored by default, and is run by
//! scripts/test.

#![allow(clippy::unwrap_used)]

mod contract;
mod joining;
mod openvpn;
mod secrecy;
mod seed;
#[path = "../static_program.rs"]
mod static_program;
mod steps;
mod units;

/// The firstboot that is tested.
fn program() -> std::path::PathBuf {
    testkit::program("firstboot", env!("CARGO_BIN_EXE_firstboot"))
}

/// What it says of its version. `imgbuild base` reads the contract there.
fn version() -> String {
    let contract = contract::CONTRACT;
    format!(
        "firstboot {} (contract {contract})\n",
        env!("CARGO_PKG_VERSION")
    )
}
