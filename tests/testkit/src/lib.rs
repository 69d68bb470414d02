//! What the tests of both programs share: folders that go away by themselves, programs that are
//! started, waited for and stopped, stand-ins for programs, an HTTP server with a network's faults,
//! expected texts that show their difference, and a test for each case of `tests/cases`:
//!
//! ```ignore
//! testkit::cases!("lab/good/*/", good_lab);
//! ```
//!
//! makes a `#[test]` of the name of each folder in `tests/cases/lab/good`, which calls
//! `good_lab(&Path)`. A new folder is a new test.

#![allow(clippy::unwrap_used, clippy::new_without_default, missing_docs)]

mod expected;
mod folder;
pub mod http;
mod inputs;
mod process;
pub mod traces;
pub mod tree;

pub use expected::{begins, ends, expect_file, has};
pub use folder::{Folder, lock, mode, names, set_mode, write_program};
pub use inputs::{Target, replay, try_by_chance};
pub use process::{
    both, exists, free_port, in_a_process_of_its_own, kill, must, program, until, wait_for,
    wait_up_to,
};

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// What holds a folder of some kind, and nothing else, can do what that can.
#[macro_export]
macro_rules! is_a {
    ($holder:ty, $folder:ty) => {
        impl std::ops::Deref for $holder {
            type Target = $folder;

            fn deref(&self) -> &$folder {
                &self.0
            }
        }
    };
}

/// A file of this project, by its path from the top.
pub fn house(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

/// Digits in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
