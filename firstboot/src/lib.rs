//! `firstboot` turns a clone of the golden image into its own machine.
//!
//! The library is shared with the builder in one direction only: `imgbuild seed` reads
//! back what it wrote with [`seed`], the very code that the guest runs.

pub mod media;
pub mod seed;
