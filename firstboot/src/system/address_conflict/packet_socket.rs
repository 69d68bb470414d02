//! Whole frames of one interface: packet(7), which rustix does not have.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

/// Longer than any frame that is looked at; the rest is cut.
const LONGEST: usize = 256;

pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens an interface for frames of one type, those for another MAC included: what an answer is
    /// sent to may be one that is made up. Needs CAP_NET_RAW.
    pub(super) fn open(name: &str, index: i32, kind: u16) -> Result<Self> {
        let socket = Self::bound(index, kind);
        socket.with_context(|| format!("cannot open {name} to look for another machine's answers"))
    }

    fn bound(index: i32, kind: u16) -> io::Result<Self> {
        let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0: nothing comes before the interface is said.
        // SAFETY: no pointers; the result is looked at.
        let socket = checked(unsafe { libc::socket(libc::AF_PACKET, flags, 0) })?;
        // SAFETY: it was opened just now, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: a plain structure of numbers, for which zeros are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = kind.to_be();
        address.sll_ifindex = index;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        let pointer = (&raw const address).cast::<libc::sockaddr>();
        // SAFETY: the pointer is to a structure of that length, which lives until the call has ended.
        checked(unsafe { libc::bind(socket.as_raw_fd(), pointer, length) })?;
        let wanted = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        let length = size_of_val(&wanted) as libc::socklen_t;
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
        let pointer = (&raw const wanted).cast::<libc::c_void>();
        // SAFETY: as above. It ends with the socket.
        checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, length) })?;
        Ok(PacketSocket(socket))
    }

    /// Sends one. A failure (the interface is down, its queue is full) is as a frame that is lost.
    pub(super) fn send(&self, frame: &[u8]) {
        let _ = rustix::io::write(&self.0, frame);
    }

    /// The next frame, cut where it is long; `None` when there is none until `deadline`.
    pub(super) fn next(&self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; LONGEST];
        loop {
            match rustix::io::read(&self.0, &mut buffer[..]) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(Errno::AGAIN) => {}
                // The interface went down: nobody answers on it.
                Err(Errno::INTR | Errno::NETDOWN) => {}
                Err(error) => return Err(error).context("cannot read frames"),
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec {
                tv_sec: rest.as_secs() as i64,
                tv_nsec: i64::from(rest.subsec_nanos()),
            };
            let mut sockets = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut sockets, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for frames"),
            }
        }
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        well => Ok(well),
    }
}
