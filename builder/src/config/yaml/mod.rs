//! YAML with places: every value knows its line and column, and problems are collected.
//!
//! The parser's events become a tree of [`Node`]s that keeps what serde would lose: places
//! and keys that are written twice. A [`Reader`] walks the tree and notes every [`Problem`];
//! [`Reader::finish`] turns them into one error.

pub mod forms;
mod mask;
mod parse;
mod problem;
mod reader;

pub use mask::{mask_lines, mask_value};
pub use parse::{Entry, Kind, Node};
pub use problem::{Place, Placed, Problem, Problems};
pub use reader::{Fields, Keys, Reader};
