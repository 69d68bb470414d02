#!/bin/sh
# Starts {{ name }}. Made by imgbuild: changes are lost at the next "imgbuild seed {{ name }}".
# Needs qemu-img, qemu-system-x86_64 (QEMU 5.2 or newer, with zstd), and what every Debian and Ubuntu
# has: coreutils, util-linux, grep, perl-base.
set -eu
# The logs hold what the guest prints; they are as private as its disk.
umask 077

name={{ name }}
overlay={{ name }}.qcow2
overlay_base={{ name }}.qcow2.base
base_seen={{ name }}.qcow2.base.seen
disk_bytes={{ disk_bytes }}
base={{ base }}
base_bytes={{ base_bytes }}
base_sha256={{ base_sha256 }}
memory_mib={{ memory_mib }}
cores={{ cores }}
mac={{ mac }}
# Of the seed that was made with this script.
instance_id={{ instance_id }}
bridge={{ bridge }}
# For --user-net: QEMU plays the gateway and the DNS server of the lab's network. Its own
# address must be another one. Rules without a guest address go to where DHCP would start.
address={{ address }}
gateway={{ gateway }}
prefix={{ prefix }}
user_net='net={{ range }},dns={{ gateway }},host={{ user_net_host }},dhcpstart={{ address }},ipv6=off'
# Where this PC keeps things.
kvm=/dev/kvm
boot_id_file=/proc/sys/kernel/random/boot_id
net_folder=/sys/class/net
bridge_conf=/etc/qemu/bridge.conf
helper_first=/usr/lib/qemu/qemu-bridge-helper
helper_second=/usr/libexec/qemu-bridge-helper

{{ words }}