//! The seed disk: its documents, made from the lab, and the volume that carries them.

mod companions;
mod disk;
mod documents;
mod secret_files;

pub(crate) use companions::Companions;
pub(crate) use disk::image;
pub(crate) use documents::{Documents, Secrets};
pub(crate) use secret_files::SecretFiles;
