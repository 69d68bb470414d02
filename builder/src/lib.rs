//! `imgbuild`: one golden image, and a small seed disk per virtual machine.

pub mod base;
pub mod cli;
pub mod commands;
pub mod config;
pub mod image;
pub mod peer;
pub mod qemu;
pub mod system;
pub mod vm;
