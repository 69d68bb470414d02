"""The stand-in for Proxmox VE's cluster programs; see docs/stand-in.md."""
