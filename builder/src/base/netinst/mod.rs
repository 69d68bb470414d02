//! The netinst source: the Debian installer, unattended, in a virtual machine.

mod fetch;
mod iso;
