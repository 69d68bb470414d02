# Stand-in for tests; see docs/stand-in.md. What a program sees of the real class:
# it is an object with `msg` and, for an answer of the server, `code`, and it reads as text.
package PVE::APIClient::Exception;

use strict;
use warnings;

use Exporter 'import';
our @EXPORT_OK = qw(raise);

use overload
    '""' => sub { $_[0]->stringify() },
    'cmp' => sub { my ($one, $other, $swapped) = @_; my $order = "$one" cmp "$other"; return $swapped ? -$order : $order; },
    fallback => 1;

sub new {
    my ($class, $msg, %more) = @_;
    return bless { %more, msg => $msg }, $class;
}

sub raise {
    my ($msg, %more) = @_;
    my (undef, $file, $line) = caller;
    die PVE::APIClient::Exception->new($msg, %more, filename => $file, line => $line);
}

# The code in front, unless the text has it; the place only without a newline, as die does it.
sub stringify {
    my ($self) = @_;
    my ($text, $code) = ($self->{msg}, $self->{code});
    $text = "$code $text" if defined($code) && $text !~ /\A\s*\Q$code\E[\s:,]/;
    $text .= " at $self->{filename} line $self->{line}\n" if $text !~ /\n\z/;
    return $text;
}

1;
