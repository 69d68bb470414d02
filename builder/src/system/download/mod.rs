//! What is downloaded on this machine before a build begins: one transfer, and where it is kept.

pub(crate) mod cache;
pub(crate) mod curl;
pub(crate) mod verified;
