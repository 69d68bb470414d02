//! This PC, and its user: programs, folders, downloads, Ctrl-C, and what is shown.

pub mod ask;
pub mod clock;
pub mod digest;
pub mod download;
pub mod files;
pub mod interrupt;
pub mod program;
pub mod tail;
pub mod text;
pub mod ui;
pub mod work_folder;
pub mod xdg;
