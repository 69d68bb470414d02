//! The seed disk: its documents, made from the lab, and the volume that carries them.

mod companions;
mod disk;
mod documents;

pub use companions::Companions;
pub use disk::image;
pub use documents::{Documents, Secrets};
