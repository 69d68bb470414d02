# Becomes QEMU, and leaves a keeper beside it, which ends with it.
#
# QEMU bounds no log, and a guest writes 75 MB a second. So both logs come through pipes to the keeper,
# which keeps the end of each. And QEMU says to nobody why it holds a guest: through a control socket of
# its own the keeper hears it, tells it, and lets the guest go on as soon as that is possible. A keeper
# that was killed harms nothing: QEMU passes over a log that nobody reads (seen with QEMU 7.2).
#
# No module is loaded: each of POSIX, Socket and Fcntl takes longer than all that is done here before QEMU
# starts. The numbers are Linux's on x86-64.
my ($O_WRONLY, $O_CREAT, $O_EXCL, $O_TRUNC) = (1, 0100, 0200, 01000);
my ($F_DUPFD, $F_SETFD) = (0, 2);
my ($AF_UNIX, $SOCK_STREAM, $EINTR) = (1, 1, 4);

# As run.sh names them to QEMU; sh has one digit for a descriptor. The lock stays QEMU's, to its end.
my %NUMBER = (qmp => 6, console => 7, status => 8, lock => 9);
# Of each log there are two files of this size at most: the one that is written to, and the one before.
my $MOST_BYTES = 4 << 20;
my $PAUSE = 10;

my ($name, @qemu) = @ARGV;
my @passed;

sub say_that { syswrite STDERR, "$name/run.sh: @_\n" }

sub refuse {
    say_that("error: @_");
    exit 1;
}

sub open_log {
    my ($path) = @_;
    unlink $path, "$path.old";
    sysopen(my $file, $path, $O_WRONLY | $O_CREAT | $O_EXCL, 0600)
        or refuse("cannot make $path: $!");
    return $file;
}

# Closes a descriptor of run.sh's. Those of this program have a handle, which must go instead.
sub close_number {
    my ($number) = @_;
    open(my $it, '<&=', $number) and close $it;
}

# Under these numbers in the program that follows. Others may have them at this moment: all go up first.
sub pass_on {
    my @high = map {
        my $number = fcntl($_->[0], $F_DUPFD, 20) or refuse("cannot pass a descriptor on: $!");
        open(my $high, '+<&=', $number) or refuse("cannot pass a descriptor on: $!");
        close $_->[0];
        $high;
    } @_;
    for my $at (0 .. $#_) {
        my $number = $_[$at][1];
        close_number($number);
        # The lowest number that is free, from this one on.
        (fcntl($high[$at], $F_DUPFD, $number) // -1) == $number or refuse("cannot pass descriptor $number on: $!");
        open(my $same, '+<&=', $number) or refuse("cannot pass a descriptor on: $!");
        fcntl $same, $F_SETFD, 0;
        push @passed, $same;
    }
}

# Since this PC was started; its clock may be set meanwhile.
sub seconds {
    open(my $file, '<', '/proc/uptime') or return time;
    return (split ' ', <$file>)[0];
}

# Adds to a log; what the disk has no room for is lost.
sub keep_words {
    my ($log, $words) = @_;
    if ($log->{bytes} + length $words > $MOST_BYTES) {
        rename $log->{path}, "$log->{path}.old";
        sysopen(my $next, $log->{path}, $O_WRONLY | $O_CREAT | $O_TRUNC, 0600) or return;
        @$log{qw(file bytes)} = ($next, 0);
    }
    $log->{bytes} += syswrite($log->{file}, $words) // 0;
}

# What QEMU says of a disk that this PC does not read or write, on one line of JSON.
sub hear {
    my ($held, $line) = @_;
    if ($line =~ /"event": "BLOCK_IO_ERROR"/ && $line =~ /"action": "stop"/) {
        my ($work) = $line =~ /"operation": "(\w+)"/;
        my ($why) = $line =~ /"reason": "([^"]*)"/;
        $work //= 'use';
        $why //= 'QEMU does not say why';
        say_that("warning: $name is held, and loses nothing: this PC could not $work its disk ($why).",
            "It goes on by itself when that is mended, such as by free space")
            if !$held->{told};
        %$held = (told => 1, until => seconds() + $PAUSE, since_resume => undef);
    }
    elsif ($held->{told} && $line =~ /"event": "RESUME"/) {
        @$held{qw(until since_resume)} = (undef, seconds());
    }
}

sub keep {
    my ($qmp, @logs) = @_;
    $SIG{$_} = 'IGNORE' for qw(HUP INT QUIT TERM PIPE);
    $0 = "run.sh: keeps the logs of $name";
    syswrite $qmp, qq({"execute":"qmp_capabilities"}\n);
    my ($open, %held) = ('');
    while (@logs) {
        my $ready = '';
        vec($ready, fileno $_, 1) = 1 for map({ $_->{from} } @logs), $qmp // ();
        select($ready, undef, undef, $held{told} ? 1 : undef) >= 0 or next;
        @logs = grep {
            my $count = 1;
            if (vec($ready, fileno $_->{from}, 1)) {
                $count = sysread $_->{from}, my $words, 65536;
                keep_words($_, $words) if $count;
            }
            $count || !defined $count && $! == $EINTR;
        } @logs;
        if ($qmp && vec($ready, fileno $qmp, 1)) {
            undef $qmp if !sysread $qmp, $open, 65536, length $open;
            hear(\%held, $1) while $open =~ s/^(.*)\n//;
            $open = '' if length $open > 1 << 20;
        }
        if ($qmp && $held{until} && seconds() >= $held{until}) {
            $held{until} = seconds() + $PAUSE;
            syswrite $qmp, qq({"execute":"cont"}\n);
        }
        # What cannot be written yet is tried, and fails, at once.
        if ($held{since_resume} && seconds() >= $held{since_resume} + 2) {
            %held = ();
            say_that("$name goes on");
        }
    }
}

# The first block of an empty log is taken now: words must have room when the guest's disk has none.
say_that("QEMU starts") if -f STDERR && -z _;
my @logs;
my @ends;
for my $which ('console', 'status') {
    my $path = $which eq 'console' ? 'console.log' : 'status.jsonl';
    pipe(my $from, my $to) or refuse("cannot make a pipe: $!");
    push @logs, { from => $from, path => $path, file => open_log($path), bytes => 0 };
    push @ends, [$to, $NUMBER{$which}];
}
socketpair(my $own, my $qemus, $AF_UNIX, $SOCK_STREAM, 0) or refuse("cannot make a socket: $!");
push @ends, [$qemus, $NUMBER{qmp}];
defined(my $pid = fork) or refuse("cannot start a process: $!");
if ($pid == 0) {
    undef @ends;
    undef $qemus;
    close_number($NUMBER{lock});
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    keep($own, @logs);
    exit 0;
}
# The keeper's own ends, which may have these numbers.
undef @logs;
undef $own;
undef $qemus;
pass_on(splice @ends);
exec { $qemu[0] } @qemu or refuse("cannot start $qemu[0]: $!");
