//! `imgbuild`: one golden image, and a small seed disk per virtual machine.
//!
//! What is public is what `main` and the whole-program tests use.

pub mod base;
pub mod cli;
pub mod commands;
pub mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod image;
mod peer;
mod publish;
pub mod qemu;
pub mod system;
mod vm;
