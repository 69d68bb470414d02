has_overlay() {
    [ -e "$overlay" ] || [ -L "$overlay" ]
}

# Limits what follows in this shell, where it is not limited more already.
limit() {
    if (ulimit "$1" "$2") 2>/dev/null; then ulimit "$1" "$2"; fi
}

# The disk that is there, as QEMU sees it.
check_overlay() {
    # Of a disk that somebody has made for that, it must not take all of this PC.
    if ! said=$(limit -t 60 && limit -v 1048576 && qemu-img info -f qcow2 -- "$overlay" 2>&1); then
        case $said in
            *"Failed to get "*lock*)
                die "$overlay is in use: another QEMU or qemu-img has it open, on this PC or on one that" \
                    "has this folder, too. End that one first. qemu-img says: $said"
                ;;
        esac
        die "$overlay is no disk that QEMU can use: $said. To start afresh, without what is on it:" \
            "rm $PWD/$overlay*"
    fi
    [ ! -s "$overlay_base" ] || return 0
    found=
    case $said in
        *"backing file: "*bases/*)
            found=${said#*"backing file: "}
            found=${found#*bases/}
            found=${found%%.qcow2*}
            ;;
    esac
    case $found in
        "" | *[!0-9a-f]*) ;;
        *)
            say "warning: $overlay_base was not there; the disk itself says that it stands on $found"
            write_whole "$overlay_base" "$found"
            return
            ;;
    esac
    die "$overlay_base is not there, and nothing else says which base $overlay stands on; on another one" \
        "it is ruined. If it is the one of this seed: echo $base_sha256 >$PWD/$overlay_base." \
        "To start afresh, without what is on it: rm $PWD/$overlay"
}

# A small file with this line, whole even after a power cut.
write_whole() {
    printf '%s\n' "$2" >".$1.$$"
    sync -- ".$1.$$"
    mv -f -- ".$1.$$" "$1"
}

# $looks is what changes with a file's content: inode, size, times. A base that others may write to is
# theirs. A user's own group has the number of the user, mostly.
look_at_base() {
    read -r base_mode owner group looks <<END
$(stat -L -c '%a %u %g %i %s %.9Y %.9Z' -- "$1")
END
    case $base_mode in
        *[2367]) ;;
        *[2367]?) [ "$owner" != "$group" ] || return 0 ;;
        *) return 0 ;;
    esac
    if lacks_modes; then return 0; fi
    die "others than its owner may write to $1 (mode $base_mode), and with it to the disk of every machine" \
        "that stands on it. To go on: chmod go-w $1"
}

# The SHA-256 digest of a file is $found. openssl takes a fifth of the time where the processor has
# instructions for it, and is not on every PC.
digest() {
    if command -v openssl >/dev/null; then
        found=$(openssl dgst -sha256 -r <"$1") && found=${found%% *}
        case $found in *[!0-9a-f]*) ;; ????????????????????????????????????????????????????????????????) return ;; esac
    fi
    found=$(sha256sum <"$1")
    found=${found%% *}
}

# A QEMU that was built without zstd does not read a base, such as Debian 11's (5.2).
check_base_reader() {
    said=$(qemu-img info -f qcow2 -- "$1" 2>&1) ||
        die "this PC's QEMU cannot read $1: $said. A base is compressed with zstd, which Debian's" \
            "QEMU knows from 6.1 on (Debian 12, bullseye-backports), and Ubuntu's from 22.04 on"
}

# The digest takes seconds. It is compared again when the file is not as it was then: $base_seen.
check_base() {
    look_at_base "$backing"
    seen=
    if [ -r "$base_seen" ]; then read -r seen <"$base_seen" || :; fi
    [ "$seen" != "$wanted $looks" ] || return 0
    say "checking $backing, which is not known as it is now"
    digest "$backing"
    if [ "$found" != "$wanted" ]; then
        die "$backing was changed: found SHA-256 $found, expected $wanted. $overlay stands on it, and is" \
            "ruined by another one. Copy the right one there"
    fi
    check_base_reader "$backing"
    write_whole "$base_seen" "$wanted $looks"
}

# The image under the disk that is there, or that is to be made: by its digest, so that a new base
# is no concern of a disk that stands on an old one. ../bases has what the disks beside it stand on.
find_base() {
    wanted=$base_sha256
    if has_overlay; then read -r wanted _ <"$overlay_base" || :; fi
    case $wanted in
        "" | *[!0-9a-f]*) die "$overlay_base holds no SHA-256 digest: $wanted" ;;
    esac
    kept=../bases/$wanted.qcow2
    case $base in
        */*) beside=${base%/*}/bases/$wanted.qcow2 ;;
        *) beside=bases/$wanted.qcow2 ;;
    esac
    if [ -f "$kept" ]; then
        backing=$kept
    elif [ -f "$beside" ]; then
        backing=$beside
    elif [ "$wanted" != "$base_sha256" ]; then
        die "$overlay was made on another base than $base, and that one is not there: $kept." \
            "Copy it there, or start afresh: rm $overlay $overlay_base"
    elif [ -f "$base" ]; then
        backing=$base
    else
        die "neither $kept nor $base is there, and $overlay is nothing without it." \
            "Copy it there, or make it with: imgbuild base"
    fi
    [ "$wanted" = "$base_sha256" ] || return 0
    found=$(stat -L -c %s -- "$backing")
    if [ "$found" != "$base_bytes" ]; then
        die "$backing is not the image that this seed was made for:" \
            "found $found bytes, expected $base_bytes." \
            "Copy the right one there, or run: imgbuild seed $name"
    fi
}

# A second name for the file, or a copy where that cannot be (another file system, another owner).
link_or_copy() {
    ln -L -- "$1" "$2" 2>/dev/null || { cp -- "$1" "$2" && sync -- "$2"; }
}

make_overlay() {
    new=.$overlay.$$
    part=../bases/.$base_sha256.$$
    trap 'rm -f -- "$new" "$new.base" "$part" "$part.manifest"; rmdir ../bases 2>/dev/null || :' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    remove_old_parts
    look_at_base "$backing"
    say "checking $backing, only this once"
    checked=$backing
    if [ "$backing" = "$base" ]; then
        # What is compared is what the disk will stand on, whatever becomes of the base meanwhile.
        # It is no secret.
        (umask 022 && mkdir -p ../bases && link_or_copy "$base" "$part") ||
            die "cannot keep $base as $kept, where $overlay needs it"
        checked=$part
    fi
    digest "$checked"
    if [ "$found" != "$base_sha256" ]; then
        die "$backing is not the image that this seed was made for:" \
            "found SHA-256 $found, expected $base_sha256." \
            "Copy the right one there, or run: imgbuild seed $name"
    fi
    check_base_reader "$checked"
    if [ "$checked" != "$backing" ]; then keep_base; fi
    qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k -F qcow2 -b "$backing" "$new" "$disk_bytes" ||
        die "cannot make $overlay"
    printf '%s\n' "$base_sha256" >"$new.base"
    # This PC may lose its power at any moment, and a file without its bytes is no disk.
    sync -- "$new" "$new.base" || die "cannot write $overlay to the disk"
    mv -f -- "$new.base" "$overlay_base"
    look_at_base "$backing"
    write_whole "$base_seen" "$base_sha256 $looks"
    mv -n -- "$new" "$overlay"
    if [ -e "$new" ]; then die "$overlay appeared meanwhile; it was left as it is"; fi
    # The names as well, before a guest relies on what it has written. Not every file system can.
    sync -- . ../bases .. 2>/dev/null || :
    trap - EXIT HUP INT TERM
}

# Of starts that were cut off while they brought this base here.
remove_old_parts() {
    for old in ../bases/."$base_sha256".[0-9]*; do
        starter=${old##*/."$base_sha256".}
        if [ ! -e "/proc/${starter%%.*}" ]; then rm -f -- "$old"; fi
    done
}

# The base gets its name in ../bases, and a copy of its manifest, where there is one, its own. Another
# start may do the same at this moment.
keep_base() {
    manifest=${base%.*}.manifest.json
    if [ -f "$manifest" ]; then
        (umask 022 && cp -- "$manifest" "$part.manifest" && sync -- "$part.manifest") || :
        mv -f -- "$part.manifest" "${kept%.qcow2}.manifest.json" 2>/dev/null || :
    fi
    mv -f -- "$part" "$kept" 2>/dev/null || [ -f "$kept" ] || die "cannot make $kept"
    rm -f -- "$part" "$part.manifest"
    backing=$kept
}
