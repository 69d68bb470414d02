//! The real firstboot joins the stand-in's cluster: every way that a join goes wrong, and twenty
//! nodes at a time under random power cuts.
//!
//! Each node is a place (`tests/standin/place`): a root folder with namespaces of its own, in
//! which the programs run as if alone on a machine. Takes minutes, so `scripts/test` runs it,
//! and not every `cargo test`.

mod after;
mod lab;
mod members;
mod node;
mod refused;
mod rows;
mod tickets;
mod twenty;
