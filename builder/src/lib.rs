//! `imgbuild`: one golden image, and a small seed disk per virtual machine.
//!
//! What is public is what `main` and the whole-program tests use.

#![deny(unreachable_pub)]

pub mod base;
pub mod cli;
pub mod commands;
#[allow(unreachable_pub)]
pub mod config;
pub mod image;
mod peer;
pub mod qemu;
pub mod system;
mod vm;
