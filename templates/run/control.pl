# Speaks with a running QEMU through its Unix sockets, which sh cannot; what is used here is in
# perl-base, which Debian and Ubuntu always have. It works in the machine's folder.
use strict;
use warnings;
use POSIX ();
use Socket;

$SIG{PIPE} = 'IGNORE';

# Where the sockets are: in the machine's folder, unless its file system has none.
my $sockets = '';
if (open my $file, '<', 'sockets') { chomp($sockets = <$file> // '') }

sub connected {
    my ($path) = @_;
    $path = $sockets . $path;
    socket(my $peer, PF_UNIX, SOCK_STREAM, 0) or die "cannot make a socket: $!\n";
    connect($peer, sockaddr_un($path)) or die "cannot reach $path: $!\n";
    return $peer;
}

# Gives QEMU an order without arguments and returns its answer. QMP has one JSON object per line
# and one client at a time: another one waits for the greeting until the first is gone, so no
# connection is kept.
sub qmp {
    my ($order, $limit) = @_;
    local $SIG{ALRM} = sub { die "QEMU did not answer on qmp.sock within $limit s\n" };
    alarm $limit;
    my $qemu = connected('qmp.sock');
    defined(my $greeting = <$qemu>) or die "QEMU did not greet\n";
    my $answer = '';
    for my $name ('qmp_capabilities', $order) {
        syswrite $qemu, qq({"execute":"$name"}\n);
        $answer = '';
        # Events come in between.
        while (defined(my $line = <$qemu>)) {
            next if $line !~ /^\s*\{\s*"(return|error)"/;
            die "QEMU refuses $name: $line" if $1 eq 'error';
            $answer = $line;
            last;
        }
        # After `quit` the connection may end before the answer.
        $answer ne '' or $name eq 'quit' or die "QEMU closed the connection\n";
    }
    alarm 0;
    return $answer;
}

# Where the serial console is, in QEMU's words: stdio, mux, file, or a socket and who is there.
sub console_place {
    my $answer = qmp('query-chardev', 5);
    while ($answer =~ /(\{[^{}]*\})/g) {
        my $device = $1;
        next if $device !~ /"label":\s*"console"/;
        return $1 if $device =~ /"filename":\s*"([^"]*)"/;
    }
    return '';
}

# A terminal that passes on every key and changes nothing.
sub raw_terminal {
    my $mode = POSIX::Termios->new;
    defined $mode->getattr(0) or die "cannot ask the terminal for its mode: $!\n";
    $mode->setiflag($mode->getiflag & ~(&POSIX::BRKINT | &POSIX::ICRNL | &POSIX::IGNCR
        | &POSIX::INLCR | &POSIX::INPCK | &POSIX::ISTRIP | &POSIX::IXON));
    $mode->setoflag($mode->getoflag & ~&POSIX::OPOST);
    $mode->setlflag($mode->getlflag & ~(&POSIX::ECHO | &POSIX::ECHONL | &POSIX::ICANON
        | &POSIX::IEXTEN | &POSIX::ISIG));
    $mode->setcc(&POSIX::VMIN, 1);
    $mode->setcc(&POSIX::VTIME, 0);
    defined $mode->setattr(0, &POSIX::TCSANOW) or die "cannot change the terminal's mode: $!\n";
}

sub send_all {
    my ($to, $bytes) = @_;
    while (length $bytes) {
        my $count = syswrite $to, $bytes;
        defined $count or die "cannot write: $!\n";
        substr($bytes, 0, $count) = '';
    }
}

# Keys to the machine and its words to the screen; returns why that ended.
sub talk {
    my ($machine) = @_;
    my $both = '';
    vec($both, 0, 1) = 1;
    vec($both, fileno $machine, 1) = 1;
    while (1) {
        my $ready = $both;
        next if select($ready, undef, undef, undef) < 0;
        if (vec($ready, fileno $machine, 1)) {
            my $count = sysread $machine, my $bytes, 65536;
            return 'it has ended' if !$count;
            send_all(\*STDOUT, $bytes);
        }
        if (vec($ready, 0, 1)) {
            my $count = sysread STDIN, my $keys, 4096;
            return 'the terminal was closed' if !$count;
            # Ctrl-]
            my $leaves = $keys =~ s/\x1d.*//s;
            send_all($machine, $keys);
            return 'left; it goes on' if $leaves;
        }
    }
}

sub console {
    my ($name, $pid) = @_;
    my $place = console_place();
    if ($place !~ /^(disconnected:)?unix:/) {
        my $terminal = readlink "/proc/$pid/fd/0";
        die $place =~ /^(stdio|mux)$/ && defined $terminal
            ? "the console of $name is on the terminal where it was started: $terminal\n"
            : "$name was started without a console to attach to: it is in console.log only\n";
    }
    $1 or die "somebody else is at the console of $name, and it takes one at a time\n";
    my $machine = connected('console.sock');
    my $before = POSIX::Termios->new;
    defined $before->getattr(0) or die "cannot ask the terminal for its mode: $!\n";
    for my $signal (qw(HUP INT QUIT TERM)) {
        $SIG{$signal} = sub { die "ended by SIG$signal\n" };
    }
    print STDERR "$name/run.sh: at the console of $name; Ctrl-] leaves it, Enter brings a prompt\n";
    my $why = eval { raw_terminal(); talk($machine) };
    my $error = $@;
    $before->setattr(0, &POSIX::TCSANOW);
    print STDERR "\n";
    die $error if !defined $why;
    print STDERR "$name/run.sh: $why\n";
}

# Whether sockets can be made in the machine's folder: FAT and NTFS have none.
sub can_listen {
    my $path = ".sock.$$";
    socket(my $door, PF_UNIX, SOCK_STREAM, 0) or die "cannot make a socket: $!\n";
    bind($door, sockaddr_un($path)) or die "cannot make a socket here: $!\n";
    unlink $path;
}

my ($what, @words) = @ARGV;
my $done = eval {
    if ($what eq 'console') { console(@words) }
    elsif ($what eq 'can-listen') { can_listen() }
    else { print qmp(@words) }
    1;
};
if (!$done) {
    my $prefix = $what eq 'console' ? "$words[0]/run.sh: error: " : '';
    print STDERR $prefix, $@;
    exit 1;
}
