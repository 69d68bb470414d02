//! What is downloaded on this machine before a build begins: one transfer, and where it is kept.

pub mod cache;
pub mod curl;
