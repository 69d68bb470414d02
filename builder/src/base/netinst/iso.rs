//! The installer's disc: what it is, and its kernel and initrd.
