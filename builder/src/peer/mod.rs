//! Speaking to a member of a Proxmox VE cluster: its certificate, a login at its API, and how the
//! cluster stands.

pub(crate) mod api;
mod certificate;
mod failure;
pub(crate) mod http;
pub(crate) mod login;
mod standing;
mod tls;

pub(crate) use certificate::Certificate;
pub(crate) use failure::{Failure, MEMBER_LINE};
pub(crate) use login::{Factors, Login, finish, log_in};
pub(crate) use standing::{Node, Standing, standing};
pub(crate) use tls::{Connection, PORT, Pins, connect};
