//! The PC that runs the VM, told through the status port: a virtio-serial port of QEMU that carries one
//! JSON object a line.
//!
//! Nothing here ever waits for the host. What cannot be written yet (the port appears late,
//! or nobody reads at the other end) is kept, in a file under `/run` from one run of
//! firstboot to the next, and written when it can be.

use crate::contract::status::{Event, PORT};
use crate::system::root::Root;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Lines that another run could not write.
const PENDING: &str = "/run/firstboot/port.pending";
/// How much is kept for a host that never reads, in bytes.
const MOST_KEPT: usize = 1 << 20;

pub(super) struct HostPort<'a> {
    root: &'a Root,
    open: Option<OwnedFd>,
    pending: Vec<u8>,
}

impl<'a> HostPort<'a> {
    /// Begins with the lines that an earlier run left.
    pub(super) fn new(root: &'a Root) -> Self {
        let pending = root.read(PENDING).ok().flatten().unwrap_or_default();
        HostPort {
            root,
            open: None,
            pending,
        }
    }

    /// Sends one line, or keeps it for later.
    pub(super) fn send(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            self.send_line(&line);
        }
    }

    fn send_line(&mut self, line: &str) {
        if self.pending.len() + line.len() < MOST_KEPT {
            self.pending.extend_from_slice(line.as_bytes());
            self.pending.push(b'\n');
        }
        self.flush();
    }

    /// Tries for at most `wait` to write what is left, then leaves the rest to the next run.
    pub(super) fn close(mut self, wait: Duration) {
        let deadline = Instant::now() + wait;
        self.flush();
        while !self.pending.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            self.flush();
        }
        // Best effort: a status that nobody sees must not fail the machine.
        let _ = match self.pending.is_empty() {
            true => self.root.remove_file(PENDING).map(|_| ()),
            false => self.root.write(PENDING, &self.pending, 0o600),
        };
    }

    fn flush(&mut self) {
        if self.open.is_none() {
            self.open = self.find();
        }
        let Some(port) = &self.open else { return };
        let mut written = 0;
        while written < self.pending.len() {
            match rustix::io::write(port, &self.pending[written..]) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(_) => {
                    // Unplugged, perhaps: it is looked for again at the next line.
                    self.open = None;
                    break;
                }
            }
        }
        self.pending.drain(..written);
    }

    fn find(&self) -> Option<OwnedFd> {
        const CLASS: &str = "/sys/class/virtio-ports";
        let ports = self.root.list(CLASS).ok()?;
        let device = ports.into_iter().find(|port| {
            let name = self.root.read_text(&format!("{CLASS}/{port}/name"));
            matches!(name, Ok(Some(name)) if name.trim() == PORT)
        })?;
        let device = self.root.path(&format!("/dev/{device}")).ok()?;
        let flags =
            OFlags::WRONLY | OFlags::NONBLOCK | OFlags::APPEND | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(device, flags, Mode::empty()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;

    fn plug(root: &Root, device: &str, name: &str) {
        let file = format!("/sys/class/virtio-ports/{device}/name");
        root.write(&file, format!("{name}\n").as_bytes(), 0o444)
            .unwrap();
        root.write(&format!("/dev/{device}"), b"", 0o600).unwrap();
    }

    #[test]
    fn lines_go_to_the_port_of_that_name() {
        let (_folder, root) = tree();
        plug(&root, "vport1p1", "org.qemu.guest_agent.0");
        plug(&root, "vport1p2", PORT);
        let mut port = HostPort::new(&root);
        port.send_line("{\"a\":1}");
        port.send_line("{\"a\":2}");
        port.close(Duration::ZERO);
        let text = root.read_text("/dev/vport1p2").unwrap().unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"a\":2}\n");
        assert_eq!(root.read("/dev/vport1p1").unwrap().unwrap(), b"");
    }

    #[test]
    fn lines_are_kept_until_the_port_is_there() {
        let (_folder, root) = tree();
        let mut port = HostPort::new(&root);
        port.send_line("early");
        port.close(Duration::ZERO);
        let mut port = HostPort::new(&root);
        port.send_line("later");
        plug(&root, "vport0p1", PORT);
        port.close(Duration::ZERO);
        let text = root.read_text("/dev/vport0p1").unwrap().unwrap();
        assert_eq!(text, "early\nlater\n");
        assert!(!root.exists(PENDING).unwrap());
    }

    #[test]
    fn a_reader_that_is_not_there_does_not_block() {
        let (folder, root) = tree();
        plug(&root, "vport0p1", PORT);
        let device = folder.path().join("dev/vport0p1");
        std::fs::remove_file(&device).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &device,
            rustix::fs::FileType::Fifo,
            Mode::from(0o600),
            0,
        )
        .unwrap();
        let mut port = HostPort::new(&root);
        port.send_line("nobody reads");
        port.close(Duration::ZERO);
        assert_eq!(root.read(PENDING).unwrap().unwrap(), b"nobody reads\n");
    }
}
