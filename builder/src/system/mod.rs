//! This PC, and its user: programs, folders, downloads, Ctrl-C, and what is shown.

pub(crate) mod ask;
pub(crate) mod clock;
pub(crate) mod digest;
pub(crate) mod download;
pub(crate) mod files;
pub(crate) mod given;
pub mod interrupt;
pub(crate) mod kind;
pub(crate) mod program;
pub(crate) mod tail;
pub(crate) mod text;
pub mod ui;
pub(crate) mod work_folder;
pub(crate) mod xdg;
