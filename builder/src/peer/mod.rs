//! Speaking to a member of a Proxmox VE cluster: its certificate, and a login at its API.

mod certificate;
mod failure;
pub mod http;
mod login;
mod tls;

pub use certificate::{Certificate, Details};
pub use failure::{Failure, MEMBER_LINE};
pub use login::{Factors, Login, finish, log_in};
pub use tls::{Connection, PORT, Pins, Refused, connect};
