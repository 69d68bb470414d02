//! The guest binary; see the library.
fn main() {}
