action=run
case ${1:-} in
    start | stop | console | status | service) action=$1; shift ;;
esac
nice=
io_class=
oom_score=
cpu_weight=
log=
case $action in
    run | start) parse "$@" ;;
    service)
        case ${1:-} in
            install)
                shift
                nice=10
                io_class=idle
                oom_score=500
                cpu_weight=20
                parse "$@"
                ;;
            remove) ;;
            *) usage_error "service takes install or remove" ;;
        esac
        ;;
esac
case "$*" in --help | -h) usage; exit 0 ;; esac
folder=$(readlink -f -- "$0")
cd -- "${folder%/*}/"
PWD=$(pwd -P)
case $action in
    stop) stop_machine "$@"; exit ;;
    console) attach_console "$@"; exit ;;
    status) tell_status "$@"; exit ;;
    service)
        if [ "${1:-}" = remove ]; then shift; remove_service "$@"; else install_service; fi
        exit
        ;;
    start)
        if running && [ "$process_state" != T ]; then
            echo "$name: unchanged: running, as process $pid"
            exit
        fi
        check_not_running
        check_service_options
        if [ "$service" = systemd ]; then
            check_not_retired
            check_folder
            start_service
            started
            exit
        fi
        ;;
esac
check_not_retired
check_folder
take_lock
if [ -n "$log" ]; then exec >run.log 2>&1 </dev/null; fi
step_back
check_tools
check_seed
if has_overlay; then check_overlay; fi
find_base
choose_accelerator
if [ "$network" = bridge ]; then check_bridge; fi
if has_overlay; then check_base; else make_overlay; fi
check_space
place_sockets

# What QEMU itself may do, should a guest ever break out into it: seccomp(2). With the bridge it
# starts a helper; and the sandbox of an ordinary user's QEMU takes away that a setuid program gets
# what it is setuid for (no_new_privs), so the helper could open no bridge (seen with QEMU 7.2).
sandbox=on,obsolete=deny,elevateprivileges=deny,resourcecontrol=deny
if [ "$network" = user ]; then
    sandbox=$sandbox,spawn=deny
elif [ "$(id -u)" != 0 ]; then
    sandbox=off
fi

set -- -name "$name" -sandbox "$sandbox" -nodefaults -display none -pidfile qemu.pid -m "$memory_mib"
if [ "$accel" = kvm ]; then
    set -- "$@" -accel kvm -cpu host -smp "$cores"
else
    # Old QEMUs (5.2 was seen) compute BMI2's BZHI wrong, QEMU's issue 1374, and the kernel
    # hangs while it unpacks itself.
    set -- "$@" -accel tcg,thread=single -cpu max,bmi2=off -smp 1
fi
# What this PC cannot write or read holds the guest, which would else call its disk broken.
on_error=werror=stop,rerror=stop
# The first disk boots; the seed can be written to, because the guest wipes it in the end. What the
# disk stands on is said here: the name in its header may be that of a base that was replaced.
backing=backing.driver=qcow2,backing.file.driver=file,backing.file.filename=$(doubled "$backing")
set -- "$@" \
    -drive "if=none,id=disk,file=$overlay,format=qcow2,cache=writeback,discard=unmap,$on_error,$backing" \
    -device virtio-blk-pci,drive=disk,bootindex=0 \
    -drive "if=none,id=seed,file=seed.img,format=raw,cache=writeback,$on_error" \
    -device virtio-blk-pci,drive=seed \
    -object rng-random,id=rng,filename=/dev/urandom \
    -device virtio-rng-pci,rng=rng \
    -device virtio-balloon-pci,free-page-reporting=on
if [ "$network" = bridge ]; then
    set -- "$@" -netdev "bridge,id=net,br=$bridge,helper=$helper"
elif keeps_from_loopback; then
    set -- "$@" -netdev stream,id=net,server=off,"addr.type=unix,addr.path=$(doubled "${sockets}passt.sock")"
else
    [ -z "$why" ] || say "warning: $name can reach what listens on this PC's 127.0.0.1: $why"
    set -- "$@" -netdev "user,id=net,$user_net$forwards"
fi
# Without a boot ROM: what is on the network never boots in place of a broken disk.
set -- "$@" -device "virtio-net-pci,netdev=net,mac=$mac,romfile="
if [ "$console" = terminal ]; then
    set -- "$@" -machine q35 -serial chardev:console -mon chardev=console,mode=readline \
        -chardev stdio,id=console,mux=on,signal=off,logfile=/dev/fd/7,logappend=off
else
    # Without graphics the firmware, too, speaks on the serial line.
    set -- "$@" -machine q35,graphics=off -serial chardev:console \
        -chardev "socket,id=console,path=$(doubled "${sockets}console.sock"),server=on,wait=off,logfile=/dev/fd/7,logappend=off"
fi
# Descriptors 6 to 8 lead to the keeper. The control socket has a short name because a socket's path may have 108 bytes.
set -- "$@" -qmp "unix:$(doubled "${sockets}qmp.sock"),server=on,wait=off" \
    -chardev socket,id=keeper,fd=6 -mon chardev=keeper,mode=control \
    -device virtio-serial-pci -chardev file,id=status,path=/dev/null,logfile=/dev/fd/8,logappend=off \
    -device virtserialport,chardev=status,name=org.imgbuild.firstboot

if [ "$action" = start ]; then
    start_in_background "$@"
    started
    exit
fi
if [ "$console" = terminal ]; then
    say "Ctrl-A x switches the machine off (inside screen: Ctrl-A a x); console.log has a copy"
else
    say "the console goes to $PWD/console.log"
    if [ -n "$background" ]; then
        say "(in the background of a terminal; run.sh console attaches to it)"
        exec </dev/null
    fi
fi
exec perl -e "$(keeper_program)" -- "$name" qemu-system-x86_64 "$@"
