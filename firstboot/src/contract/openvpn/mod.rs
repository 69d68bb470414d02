//! OpenVPN's configuration file: what OpenVPN 2.6 (Debian 12 and 13) makes of it in the guest.
//!
//! The builder classifies a lab's configurations with it before they go onto a seed disk, and the
//! guest's steps read and change them with it.

mod ciphers;
mod classify;
mod display_safe;
mod edit;
mod finding;
mod nature;
mod options;
mod parse;
mod taken;

pub use classify::classify;
pub use display_safe::lines_without_secrets;
pub use edit::{calls_somebody, has_open_tap, with_tap, with_user_pass};
pub use finding::{Finding, Guest};
pub use nature::{NotText, text_of};
pub use options::{all as options, refused as refused_options};
pub use taken::{Named, Taken, classify_content, named_files, with_blocks};
