#!/bin/sh
# Makes the system what the definition says: the second script inside the new root, after packages.sh.
# Rendered by imgbuild from templates/provision.sh; the folder /imgbuild holds its payload.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
payload=/imgbuild

stage() { echo "imgbuild-stage: $1"; }
{%- if eatmydata %}
export LD_PRELOAD=libeatmydata.so
{%- endif %}
# What has the time in it, such as an initramfs, gets this one: the same archives, the same bytes.
SOURCE_DATE_EPOCH=$(cat /usr/share/imgbuild/source-date)
export SOURCE_DATE_EPOCH

stage "firstboot"
install -m 0755 "$payload/firstboot" /usr/sbin/firstboot
install -m 0644 "$payload"/firstboot-*.service /etc/systemd/system/
mkdir -p /etc/systemd/system/sysinit.target.wants /etc/systemd/system/multi-user.target.wants
ln -sf /etc/systemd/system/firstboot-local.service /etc/systemd/system/sysinit.target.wants/
for unit in guard join rsa-key watch; do
    ln -sf "/etc/systemd/system/firstboot-$unit.service" /etc/systemd/system/multi-user.target.wants/
done
install -D -m 0644 "$payload/corosync-firstboot.conf" /etc/systemd/system/corosync.service.d/firstboot.conf
{%- if proxmox %}
# pveproxy, which follows it, is to wait for its end.
mkdir /etc/systemd/system/firstboot-rsa-key.service.d
printf '[Service]\nType=oneshot\n' > /etc/systemd/system/firstboot-rsa-key.service.d/proxmox.conf
{%- endif %}
# systemd's interactive wizard must not come up on a machine whose identity is empty.
ln -sf /dev/null /etc/systemd/system/systemd-firstboot.service

# The status port must be there before udev runs, because firstboot does.
cat >> /etc/initramfs-tools/modules <<'MODULES'
virtio_console
virtio_rng
MODULES

{%- if settings.small_initramfs %}
# The drivers of the disks that a virtual machine boots from, and of its network card, which must be there when ifupdown2
# begins, instead of all that the kernel has: 8 MB instead of 17 to read and unpack. Those of IDE and SATA disks wait until
# it is seen that the root is on no other: each q35 has such a controller without a disk, and its probing would come before
# the root. And without udev's database of hardware, 13 MB, in which nothing that finds a disk looks.
mkdir -p /etc/initramfs-tools/conf.d /etc/initramfs-tools/hooks
echo MODULES=list > /etc/initramfs-tools/conf.d/imgbuild
cat > /etc/initramfs-tools/hooks/imgbuild <<'HOOK'
#!/bin/sh
# Written by imgbuild, see its docs/base.md. Without this file and conf.d/imgbuild, and after
# "update-initramfs -u", it is Debian's initramfs again.
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk virtio_scsi sd_mod nvme ext4 crc32c crc32c_generic virtio_net e1000 e1000e \
    ahci ata_piix
mkdir -p "$DESTDIR/etc/modprobe.d"
printf 'blacklist %s\n' ahci ata_piix > "$DESTDIR/etc/modprobe.d/imgbuild.conf"
rm -f "$DESTDIR/usr/lib/udev/hwdb.bin" "$DESTDIR/usr/lib/udev/rules.d/75-net-description.rules"
# Of the devices that were there before udev those that lead to a disk or a network card; systemd asks for all of them later.
sed -i -e '/^udevadm trigger --type=subsystems/d' \
    -e 's/^udevadm trigger --type=devices.*/& --subsystem-match=pci --subsystem-match=virtio --subsystem-match=scsi --subsystem-match=block/' \
    "$DESTDIR/scripts/init-top/udev"
HOOK
mkdir -p /etc/initramfs-tools/scripts/local-block
cat > /etc/initramfs-tools/scripts/local-block/imgbuild <<'BLOCK'
#!/bin/sh
# Written by imgbuild: run where the root's disk is not there yet; see hooks/imgbuild.
[ "$1" != prereqs ] || exit 0
# The initramfs has -qb in MODPROBE_OPTIONS: with it no name helps against a blacklist.
MODPROBE_OPTIONS='' modprobe -qa ahci ata_piix
BLOCK
chmod 0755 /etc/initramfs-tools/hooks/imgbuild /etc/initramfs-tools/scripts/local-block/imgbuild
{%- endif %}

stage "settings"
# Both consoles, the same kernel command line for every kernel that comes later.
cat > /etc/default/grub <<'GRUB'
# Written by imgbuild. Run update-grub after a change.
GRUB_DEFAULT=0
GRUB_TIMEOUT={{ boot_menu_seconds }}
GRUB_DISTRIBUTOR="{{ distributor }}"
GRUB_CMDLINE_LINUX="{{ kernel_command_line }}"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_DISABLE_OS_PROBER=true
GRUB
# Kernel and boot loader can renew themselves in a clone: every clone's disk is /dev/vda.
debconf-set-selections <<'ANSWERS'
grub-pc grub-pc/install_devices multiselect /dev/vda
grub-pc grub-pc/install_devices_empty boolean false
ANSWERS
cat > /etc/fstab <<'FSTAB'
# noatime: a clone's overlay must not grow because files are read.
{%- if settings.discard %}
# discard: what is deleted goes back to the PC's disk.
{%- endif %}
UUID={{ root_uuid }} / ext4 noatime,{% if settings.discard %}discard,{% endif %}errors=remount-ro 0 1
FSTAB
cat > /etc/network/interfaces <<'INTERFACES'
auto lo
iface lo inet loopback
INTERFACES
# Debian's ifupdown2 says nothing about the targets that everything else waits for, so
# network-online.target was reached before the network was even begun. The limit keeps a
# network that hangs from holding up the login prompt.
mkdir -p /etc/systemd/system/networking.service.d
cat > /etc/systemd/system/networking.service.d/imgbuild.conf <<'UNIT'
[Unit]
After=network-pre.target
Before=network.target network-online.target
[Service]
TimeoutStartSec=180
UNIT
{%- if settings.short_networking %}
# Debian's start runs three programs of Python, one after the other: ifquery for interfaces of the class `mgmt`, ifup, and
# ifquery for `allow-hotplug`. Where no line speaks of either, ifup
# alone does the same.
cat > /usr/local/sbin/start-networking <<'START'
#!/bin/sh
# Written by imgbuild for networking.service; see /etc/systemd/system/networking.service.d/imgbuild.conf.
debians=/usr/share/ifupdown2/sbin/start-networking
files="/etc/network/interfaces /etc/network/interfaces.d"
# Word splitting is meant.
# shellcheck disable=SC2086
if [ "${CONFIGURE_INTERFACES:-yes}" = no ] || [ -n "${EXCLUDE_INTERFACES-}" ] || [ -e /run/network/ifstatelock ] ||
    [ "${VERBOSE-}" = yes ] || [ "${DEBUG-}" = yes ] || [ "${SYSLOG-}" = yes ] || grep -rEqs '^[[:space:]]*allow-' $files ||
    grep -rEhs '^[[:space:]]*source' $files | grep -qv '/etc/network/interfaces\.d/\*'; then
    exec "$debians" start
fi
rm -f /var/tmp/network/ifstatenew
mkdir -p /run/network
[ -e /etc/network/run ] || ln -s /run/network /etc/network/run
# As Debian's: what went wrong with one interface is in the log, and fails no unit.
/usr/sbin/ifup -a --perfmode || :
START
chmod 0755 /usr/local/sbin/start-networking
printf 'ExecStart=\nExecStart=/usr/local/sbin/start-networking\n' >> /etc/systemd/system/networking.service.d/imgbuild.conf
{%- endif %}
{%- if settings.network_first %}
# The way to a configured machine, step by step, while udev's workers, sshd and the login prompts can wait for the
# processor: systemd divides it among its units, and until the boot has ended these count a hundred times as much as another.
for unit in firstboot-local networking openvpn openvpn@ firstboot-join; do
    mkdir -p "/etc/systemd/system/$unit.service.d"
    printf '[Service]\nStartupCPUWeight=10000\n' > "/etc/systemd/system/$unit.service.d/network-first.conf"
done
{%- endif %}
# postfix's hooks for dial-up lines make the network's service wait for postfix, and postfix
# waits for the network: seen to stand still until a time limit ended it. dpkg keeps them away.
rm -f /etc/network/if-up.d/postfix /etc/network/if-down.d/postfix
{%- if settings.discard %}
# A weekly fstrim would name all free space of the disk to QEMU, which keeps 4 MB of tables about it in the
# overlay. What is deleted has been given back by then.
ln -sf /dev/null /etc/systemd/system/fstrim.timer
{%- endif %}
{%- if settings.small_log %}
# A file of the log begins with tables for the largest size that it may get: 3.7 MB for the 128 MiB of a disk of
# 32 GB, 0.3 MB for these. What is older than the newest 64 MiB goes.
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nSystemMaxUse=64M\nSystemMaxFileSize=8M\nRuntimeMaxFileSize=8M\n' > /etc/systemd/journald.conf.d/imgbuild.conf
{%- endif %}
{%- if settings.small_apt %}
# Each day's update writes the lists of all of Debian's packages into the overlay, 57 MB, and twice what APT makes of them,
# 44 MB each. Compressed as they come, and without what can be made again in a second, it is 21 MB.
printf '%s\n' 'Acquire::GzipIndexes "true";' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' > /etc/apt/apt.conf.d/imgbuild-small
{%- endif %}
{%- if settings.masked_units %}
# They look for snapshots of LVM, which this disk is not on; write down for grub that a boot went well, which its menu does not
# ask; fetch a crashed kernel's words from firmware that keeps none; and find the disks of NFS's block layout, which
# nobody has, and load NFS for it: a mount does that, too.
for unit in e2scrub_reap.service e2scrub_all.timer grub-common.service systemd-pstore.service nfs-blkmap.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
# It offers ssh to the host through AF_VSOCK, for which run.sh has no device, and loads five drivers to find that out.
mkdir -p /etc/systemd/system-generators
ln -sf /dev/null /etc/systemd/system-generators/systemd-ssh-generator
{%- endif %}
{%- if settings.late_drivers %}
# udev loads these for what each processor and each q35 has, beside the network's start, for which everything waits. A
# blacklist ends that alone; by its name each can be loaded. Proxmox's guests may need KVM.
late_drivers='aesni_intel ghash_clmulni_intel sha1_ssse3 sha256_ssse3 sha512_ssse3'
# shellcheck disable=SC2086
printf 'blacklist %s\n' kvm_intel kvm_amd $late_drivers > /etc/modprobe.d/imgbuild.conf
cat > /etc/systemd/system/late-drivers.service <<UNIT
[Unit]
Description=Load the drivers that no boot waits for
After=firstboot-join.service getty.target
Before=pve-guests.service
[Service]
Type=oneshot
RemainAfterExit=yes
# Each processor lacks some of them.
ExecStart=-/bin/sh -c 'grep -qw vmx /proc/cpuinfo && modprobe kvm_intel; grep -qw svm /proc/cpuinfo && modprobe kvm_amd; :'
ExecStart=-/bin/sh -c 'for driver in $late_drivers; do modprobe -q \$\$driver 2>/dev/null; done'
[Install]
WantedBy=multi-user.target
UNIT
ln -sf /etc/systemd/system/late-drivers.service /etc/systemd/system/multi-user.target.wants/
{%- endif %}
{%- if settings.late_units %}
# Nobody waits for these: they start when firstboot has begun its second stage and the login prompts are there. A prompt
# waits for no more jobs of systemd's, as it does to come behind the messages of a boot.
for unit in postfix.service postfix@-.service unattended-upgrades.service; do
    mkdir -p "/etc/systemd/system/$unit.d"
    printf '[Unit]\nAfter=firstboot-join.service getty.target\n' > "/etc/systemd/system/$unit.d/imgbuild.conf"
done
for unit in getty@.service serial-getty@.service; do
    mkdir -p "/etc/systemd/system/$unit.d"
    printf '[Service]\nType=simple\n' > "/etc/systemd/system/$unit.d/imgbuild.conf"
done
{%- endif %}
# A clone without a seed has no keys and no name: these would fail, and it boots on without them.
mkdir -p /etc/systemd/system/ssh.service.d /etc/systemd/system/pve-cluster.service.d
printf '[Unit]\nConditionPathExistsGlob=/etc/ssh/ssh_host_*_key\n' > /etc/systemd/system/ssh.service.d/firstboot.conf
printf '[Unit]\nConditionPathExists=/var/lib/firstboot/journal.json\n' > /etc/systemd/system/pve-cluster.service.d/firstboot.conf
passwd -l root >/dev/null
{%- if not rpcbind %}
# nfs-common brings it. Only NFS 3 needs it, and it would answer whoever asks.
ln -sf /dev/null /etc/systemd/system/rpcbind.service
ln -sf /dev/null /etc/systemd/system/rpcbind.socket
{%- endif %}
{%- if unattended_upgrades %}
cat > {{ unattended_upgrades.file }} <<'APT'
{{ unattended_upgrades.text }}APT
{%- endif %}

stage "initramfs"
{%- if proxmox %}
for image in /boot/vmlinuz-*; do
    # Neither a kernel of Debian's nor one that no package renews.
    dpkg -S "$image" | grep -q '^proxmox-kernel-' || { echo "$image is no kernel of Proxmox's" >&2; exit 1; }
    depmod "${image#/boot/vmlinuz-}"
done
{%- endif %}
update-initramfs -c -k all
{%- if proxmox %}
for hook in {{ boot_hooks }}; do [ ! -e "$hook" ] || chmod a+x "$hook"; done
# Proxmox's packages keep no /vmlinuz up to date, so the boot menu names the files themselves.
version=$(linux-version list | linux-version sort --reverse | head -n 1)
kernel=/boot/vmlinuz-$version initrd=/boot/initrd.img-$version
{%- else %}
# /initrd.img, which the kernel's package had nothing to make of.
for image in /boot/vmlinuz-*; do
    linux-update-symlinks install "${image#/boot/vmlinuz-}" "$image"
done
kernel=/vmlinuz initrd=/initrd.img
{%- endif %}
test -e "$kernel" -a -e "$initrd" || { echo "the kernel package {{ kernel }} left no $kernel or $initrd" >&2; exit 1; }
{%- if source == "mirror" %}

stage "boot files"
# What grub-install would do with a disk: its modules, and a core that finds them.
mkdir -p /boot/grub/i386-pc
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /usr/lib/grub/i386-pc/boot.img /boot/grub/i386-pc/
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/grub/i386-pc/core.img biosdisk part_msdos ext2
# update-grub replaces this file at the first kernel that a clone installs.
cat > /boot/grub/grub.cfg <<CFG
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout={{ boot_menu_seconds }}
set default=0
menuentry "{{ distributor }} GNU/Linux" {
    search --no-floppy --fs-uuid --set=root {{ root_uuid }}
    linux $kernel root=UUID={{ root_uuid }} ro {{ kernel_command_line }}
    initrd $initrd
}
menuentry "{{ distributor }} GNU/Linux (single user)" {
    search --no-floppy --fs-uuid --set=root {{ root_uuid }}
    linux $kernel root=UUID={{ root_uuid }} ro single {{ kernel_command_line }}
    initrd $initrd
}
CFG
{%- elif source == "netinst" %}

stage "boot files"
grub-install --no-floppy /dev/vda
update-grub
# A menu in English, in text: nothing reads these.
rm -rf /boot/grub/locale /boot/grub/fonts
{%- if proxmox %}
first=$(sed -n 's/^[[:space:]]*linux[[:space:]]\{1,\}\([^ \t]*\).*/\1/p' /boot/grub/grub.cfg | head -n 1)
[ "$first" = "$kernel" ] || { echo "grub boots $first, not Proxmox's kernel $kernel" >&2; exit 1; }
{%- endif %}
{%- endif %}

stage "clean up"
{%- if eatmydata %}
unset LD_PRELOAD
dpkg --purge libeatmydata1
{%- endif %}
{%- if settings.caches %}
# The catalog of messages, ldconfig's cache, users: what systemd would make anew in each clone because /usr looks newer
# than these two files.
journalctl --update-catalog
touch /etc/.updated /var/.updated
{%- endif %}
# The proxy of this build is not the clones'.
sed -i '/::Proxy /d' /etc/apt/apt.conf.d/99imgbuild
rm -f /usr/sbin/policy-rc.d /proxmox_install_mode /etc/dpkg/dpkg.cfg.d/imgbuild
