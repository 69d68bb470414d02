# Before a hook of mmdebstrap's: a second view of the new root "$1", without what is mounted in it and with
# nothing in the folders that only a running system fills. Everything that is made for it is in memory, and
# no part of the root.
set -eu
view="$1/mnt/root"
open_view() {
    mount -t tmpfs -o mode=0755 imgbuild "$1/mnt"
    mkdir "$view"
    mount --bind "$1" "$view"
    for folder in dev proc sys run tmp; do
        mount -t tmpfs -o "mode=$(stat -c %a "$view/$folder")" imgbuild "$view/$folder"
    done
    # mmdebstrap's own settings of APT.
    rm -f "$view"/etc/apt/apt.conf.d/*mmdebstrap
}
close_view() {
    umount "$view/dev" "$view/proc" "$view/sys" "$view/run" "$view/tmp" "$view" "$1/mnt"
}
