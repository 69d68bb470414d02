//! Speaking to a member of a Proxmox VE cluster: its certificate, and a login at its API.

mod certificate;
mod failure;
pub(crate) mod http;
mod login;
mod tls;

pub(crate) use certificate::Certificate;
pub(crate) use failure::{Failure, MEMBER_LINE};
pub(crate) use login::{Factors, Login, finish, log_in};
pub(crate) use tls::{Connection, PORT, Pins, connect};
