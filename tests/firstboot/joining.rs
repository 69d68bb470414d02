//! The real firstboot joins the stand-in's cluster: every way that a join goes wrong, and twenty
//! nodes at a time under random power cuts.
//!
//! Each node is a place (`tests/standin/place`): a root folder with namespaces of its own, in
//! which the programs run as if alone on a machine. Takes minutes, so `scripts/test` runs it,
//! and not every `cargo test`.

#![allow(clippy::unwrap_used)]

#[path = "joining/after.rs"]
mod after;
#[path = "joining/lab.rs"]
mod lab;
#[path = "joining/members.rs"]
mod members;
#[path = "joining/node.rs"]
mod node;
#[path = "joining/refused.rs"]
mod refused;
#[path = "joining/rows.rs"]
mod rows;
#[path = "joining/tickets.rs"]
mod tickets;
#[path = "joining/twenty.rs"]
mod twenty;
