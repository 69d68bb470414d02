//! QEMU: command line, accelerator choice, supervision.
