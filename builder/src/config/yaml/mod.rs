//! YAML as a person writes it for this project: read with places, and problems collected.
//!
//! The contract's parser makes a tree of [`Node`]s. A [`Reader`] walks it and notes every
//! [`Problem`]; [`Reader::finish`] turns them into one error.

mod display;
mod mask;
mod problem;
mod reader;
pub mod validators;

pub use firstboot::contract::place::{Place, Problem, Spanned};
pub use firstboot::contract::yaml::{Entry, Kind, Node};
pub use problem::Problems;
pub use reader::{Fields, Keys, Reader, joined, listed_twice};

/// More than the reader takes of any document, in bytes.
pub(crate) const MAX_YAML: u64 = 16 << 20;
