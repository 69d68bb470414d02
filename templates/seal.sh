#!/bin/sh
# Removes all identity from the base, so that every clone makes its own. The points are
# virt-sysprep's and those of a Proxmox VE node; `imgbuild audit` proves each one afterwards.
set -eu
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo "imgbuild-stage: seal"

empty_folder() { [ ! -d "$1" ] || find "$1" -mindepth 1 -delete; }

# Identity
rm -f /etc/ssh/ssh_host_* /etc/ssh/ssh_known_hosts /etc/hostid
rm -f /root/.ssh/id_* /root/.ssh/known_hosts*
empty_folder /etc/ssh/authorized_keys.d
[ ! -L /root/.ssh/authorized_keys ] || rm -f /root/.ssh/authorized_keys
# Empty, not absent: an absent one, or "uninitialized", is a first boot for systemd.
: > /etc/machine-id
chmod 0444 /etc/machine-id
rm -f /var/lib/dbus/machine-id
rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/urandom/random-seed
[ ! -d /etc/iscsi ] || echo GenerateName=yes > /etc/iscsi/initiatorname.iscsi
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem

# Cluster. Where pmxcfs has run there are keys, and it is not known where all of them went: such a
# base is refused, not cleaned.
for trace in /var/lib/pve-cluster/config.db* /var/lib/pve-cluster/.pmxcfs.lockfile /etc/pve/*; do
    [ ! -e "$trace" ] || { echo "Proxmox's cluster file system has run in the base: $trace is there" >&2; exit 1; }
done
empty_folder /var/lib/pve-cluster
empty_folder /etc/pve
rm -f /etc/corosync/authkey /etc/corosync/corosync.conf
empty_folder /var/lib/corosync
empty_folder /var/lib/rrdcached/db
empty_folder /var/lib/rrdcached/journal
empty_folder /var/log/pve/tasks
empty_folder /var/log/pveproxy
rm -f /etc/network/interfaces.new
empty_folder /var/lib/pve-manager/jobs
rm -f /var/lib/pve-manager/pkgupdates

# The day on which a password was set, in days since 1970, is the day of this build.
awk -F : -v OFS=: -v day=$(($(cat /usr/share/imgbuild/source-date) / 86400)) '$3 > day { $3 = day } { print }' \
    /etc/shadow > /etc/shadow.new
cat /etc/shadow.new > /etc/shadow
rm /etc/shadow.new

# Traces
find /var/log -type f -delete
# Emptied, not removed: the folder is what makes a clone keep its journal over a power cut.
empty_folder /var/log/journal
rm -f /root/.bash_history /root/.viminfo /root/.lesshst /root/.wget-hsts /root/.python_history
find /home -mindepth 2 -maxdepth 2 -name '.*history' -delete
for folder in /var/lib/dhcp /var/lib/dhcpcd /var/lib/chrony /var/spool/mail /var/mail /var/cache/apt/archives \
    /var/lib/apt/lists /var/backups /var/cache/man /var/tmp /var/lib/logrotate /var/lib/systemd/timers; do
    empty_folder "$folder"
done
# mmdebstrap keeps its own settings of APT in /tmp until it has cleaned up, and removes them itself.
find /tmp -mindepth 1 -maxdepth 1 ! -name 'mmdebstrap.*' -exec rm -rf {} +
for queue in active bounce corrupt defer deferred flush hold incoming maildrop saved trace; do
    empty_folder /var/spool/postfix/$queue
done
# aux-cache knows files by their inodes, which are others in the finished image.
rm -f /var/cache/ldconfig/aux-cache /var/cache/apt/pkgcache.bin /var/cache/apt/srcpkgcache.bin /var/cache/debconf/*-old \
    /var/lib/dpkg/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/resolv.conf
find /etc -type f \( -name '*~' -o -name '*.bak' -o -name '*.orig' -o -name '*.dpkg-old' -o -name '*.ucf-old' \) -exec rm -f {} +
