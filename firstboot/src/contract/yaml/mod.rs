//! YAML with places: every value knows its line and column.
//!
//! The parser's events become a tree of [`Node`]s that keeps what serde would lose: places, and
//! keys that are written twice. A text is parsed once; whoever reads the tree finds values and
//! places in it. The builder reads lab.yaml and the image definitions so, the guest its seed.
//!
//! Scalars stay as they are written. Which type a plain one stands for is decided by who asks for
//! the value, so that a password `0123` or `no` is that very text.

mod parse;
mod tree;

pub use parse::{Dialect, MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_SEED_NODES, parse};
pub use tree::{Entry, Kind, Map, Node};
