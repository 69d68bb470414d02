# Stand-in for tests; see docs/stand-in.md. As much of the real module as makes a ticket:
#
#     perl -MPVE::AccessControl -e 'print PVE::AccessControl::assemble_ticket("root\@pam")'
#
# The signature is that of ../../../lib/pve-standin/pvestandin/tickets.py.
package PVE::AccessControl;

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use MIME::Base64 qw(encode_base64);

my $KEY = ($ENV{PVE_STANDIN_ROOT} // '') . '/etc/pve/priv/authkey.key';

sub assemble_ticket {
    my ($data, $aad) = @_;
    open(my $file, '<', $KEY) or die "can't open '$KEY' - $!\n";
    my $key = do { local $/; <$file> };
    my $text = sprintf('PVE:%s:%08X', $data, time());
    my $full = defined($aad) ? "$text:$aad" : $text;
    return $text . '::' . encode_base64(join('', map { hmac_sha256("$_:$full", $key) } 0 .. 7), '');
}

1;
