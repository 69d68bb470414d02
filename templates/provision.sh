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

stage "settings"
# Both consoles, the same kernel command line for every kernel that comes later.
cat > /etc/default/grub <<'GRUB'
# Written by imgbuild. Run update-grub after a change.
GRUB_DEFAULT=0
GRUB_TIMEOUT=1
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
UUID={{ root_uuid }} / ext4 noatime,errors=remount-ro 0 1
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
# postfix's hooks for dial-up lines make the network's service wait for postfix, and postfix
# waits for the network: seen to stand still until a time limit ended it. dpkg keeps them away.
rm -f /etc/network/if-up.d/postfix /etc/network/if-down.d/postfix
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
set timeout=1
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
# The proxy of this build is not the clones'.
sed -i '/::Proxy /d' /etc/apt/apt.conf.d/99imgbuild
rm -f /usr/sbin/policy-rc.d /proxmox_install_mode /etc/dpkg/dpkg.cfg.d/imgbuild
