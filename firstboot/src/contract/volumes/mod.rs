//! Finding the seed disk and reading it. Nothing here writes to a device but [`credential_removal`].

pub mod credential_removal;
pub(crate) mod documents;
pub(crate) mod fat;
mod find;
mod iso9660;
mod label;

pub use documents::{MediaError, Source, read_folder};
pub use fat::read as read_fat;
pub use find::{Found, Patience, find, find_in};
pub use iso9660::read as read_iso9660;
pub use label::{Volume, VolumeKind, volume_label};
