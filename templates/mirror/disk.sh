# The last hook: makes the root file system inside the raw disk, and puts grub in front of it.
#
# It runs in mmdebstrap's user namespace, where owners are what they will be, and takes the new system's
# own mke2fs: so the file system is the same on every host. The disk is an open file that imgbuild hands
# down, because this namespace may not look into the user's folders.
echo "imgbuild-stage: file system"
disk=/proc/self/fd/{{ disk }}
open_view "$1"
cat > "$1/mnt/mke2fs.conf" <<'CONF'
{{ mke2fs_conf }}CONF
SOURCE_DATE_EPOCH=$(cat "$view/usr/share/imgbuild/source-date")
export SOURCE_DATE_EPOCH
MKE2FS_CONFIG=/mnt/mke2fs.conf chroot "$1" mke2fs -F -q -t ext4 {{ mke2fs_options }} -d /mnt/root "$disk" {{ kib }}k
# The first 440 bytes of boot.img are code; what is behind them in its sector is the partition table.
grub="$view/boot/grub/i386-pc"
[ "$(stat -c %s "$grub/boot.img")" = 512 ] || { echo "grub's boot.img does not have 512 bytes" >&2; exit 1; }
[ "$(stat -c %s "$grub/core.img")" -le {{ core_room }} ] ||
    { echo "grub's core.img has more than {{ core_room }} bytes, and does not fit before the partition" >&2; exit 1; }
dd if="$grub/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$grub/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
close_view "$1"
echo "imgbuild-stage: remove the work files"
