//! `imgbuild`: one golden image, and a small seed disk per virtual machine.

pub mod ask;
pub mod base;
pub mod check;
pub mod cli;
pub mod clock;
pub mod command;
pub mod console;
pub mod definition;
pub mod init;
pub mod interrupt;
pub mod lab;
pub mod login;
pub mod peer;
pub mod qcow2;
pub mod qemu;
pub mod report;
pub mod retire;
pub mod run;
pub mod seed;
pub mod tail;
pub mod text;
pub mod work;
pub mod yaml;
