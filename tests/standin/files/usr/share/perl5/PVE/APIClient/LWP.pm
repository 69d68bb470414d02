# Stand-in for tests; see docs/stand-in.md. As much of Proxmox's client of its API as a
# look at a cluster's list of nodes takes, with the same words when it fails. The network
# is the business of ../lib/pve-standin/api-client, which gets all on its standard input.
package PVE::APIClient::LWP;

use strict;
use warnings;

use Carp;
use Cwd ();
use File::Basename ();
use IPC::Open2;
use JSON::PP ();

use PVE::APIClient::Exception qw(raise);

my $HELPER = Cwd::abs_path(File::Basename::dirname(Cwd::abs_path(__FILE__)) . '/../../../../lib/pve-standin/api-client');

sub new {
    my ($class, %param) = @_;
    my $self = {
        username => $param{username},
        password => $param{password},
        host => $param{host} || 'localhost',
        port => $param{port} || 8006,
        timeout => $param{timeout} || 60,
        ticket => $param{ticket},
        csrftoken => $param{csrftoken},
        manual_verification => $param{manual_verification},
        register_fingerprint_cb => $param{register_fingerprint_cb},
        fingerprint => { cache => $param{cached_fingerprints} || {} },
    };
    return bless $self, $class;
}

# One exchange with the server; the hash of api-client's answer.
my $exchange = sub {
    my ($self, $method, $path, $form) = @_;
    my $cache = $self->{fingerprint}->{cache};
    my $asked = JSON::PP->new->ascii->encode({
        host => $self->{host},
        port => $self->{port},
        timeout => $self->{timeout},
        fingerprints => [ grep { $cache->{$_} } sort keys %$cache ],
        method => $method,
        path => $path,
        form => $form,
        ticket => $self->{ticket},
        csrf => $self->{csrftoken} // '',
    });
    my $pid = open2(my $from, my $to, $HELPER);
    print {$to} $asked;
    close($to);
    my $text = do { local $/; <$from> };
    close($from);
    waitpid($pid, 0);
    croak "$HELPER failed" if $? || !defined($text) || $text eq '';
    return JSON::PP->new->decode($text);
};

# As $exchange, and a certificate that is not pinned is asked about or refused.
my $request = sub {
    my ($self, @what) = @_;
    my $answer = $exchange->($self, @what);
    if (my $seen = $answer->{unknown}) {
        $answer = $exchange->($self, @what) if $self->manual_verify_fingerprint($seen);
    }
    return $answer;
};

my $decode = sub { JSON::PP->new->allow_nonref->decode($_[0]->{body}) };

my $data_of = sub {
    my ($result) = @_;
    croak "undefined result" if !defined($result);
    croak "undefined result data" if !exists($result->{data});
    return $result->{data};
};

sub manual_verify_fingerprint {
    my ($self, $fingerprint) = @_;
    raise("fingerprint '$fingerprint' not verified, abort!\n") if !$self->{manual_verification};
    print "The authenticity of host '$self->{host}' can't be established.\n"
        . "X509 SHA256 key fingerprint is $fingerprint.\n"
        . "Are you sure you want to continue connecting (yes/no)? ";
    my $answer = <STDIN>;
    my $valid = ($answer // '') =~ /\A\s*yes\s*\z/i ? 1 : 0;
    $self->{fingerprint}->{cache}->{$fingerprint} = $valid;
    raise("Fingerprint not verified, abort!\n") if !$valid;
    $self->{register_fingerprint_cb}->($fingerprint) if $self->{register_fingerprint_cb};
    return $valid;
}

# The code of an authenticator, asked for at a terminal; the data of the full ticket.
my $second_factor = sub {
    my ($self, $form, $challenge) = @_;
    raise("TFA-enabled login currently works only with a TTY.") if !-t STDIN;
    local $| = 1;
    print "Enter totp code for user $form->{username}: ";
    chomp(my $code = <STDIN> // '');
    my $answer = { %$form, password => "totp:$code", 'tfa-challenge' => $challenge };
    return $self->post('/api2/json/access/ticket', $answer);
};

sub login {
    my ($self) = @_;
    my $form = { username => $self->{username} // 'unknown', password => $self->{password} || $self->{ticket} || '' };
    # A login goes without the ticket of an earlier one.
    delete $self->{ticket};
    my $answer = $request->($self, 'POST', '/api2/json/access/ticket', $form);
    raise("$answer->{status} $answer->{reason}\n", code => $answer->{status}) if $answer->{status} != 200;
    my $data = $data_of->($decode->($answer));
    ($self->{ticket}, $self->{csrftoken}) = ($data->{ticket}, $data->{CSRFPreventionToken});
    if ($data->{ticket} =~ m/\A[^:\s]+:!tfa!/) {
        $data = $second_factor->($self, $form, $data->{ticket});
        ($self->{ticket}, $self->{csrftoken}) = ($data->{ticket}, $data->{CSRFPreventionToken});
    }
    return $data;
}

sub call {
    my ($self, $method, $path, $param) = @_;
    $self->login() if !$self->{ticket} && $self->{username} && $self->{password};
    $path =~ s!\A/+!!;
    $path = "api2/json/$path" if $path !~ m!\Aapi2/!;
    my $answer = $request->($self, $method, "/$path", $param);
    my $is_json = $answer->{type} =~ m!application/json!;
    if ($answer->{status} != 200) {
        my $errors = $is_json ? eval { $decode->($answer)->{errors} } : undef;
        raise("$answer->{reason}\n", code => $answer->{status}, errors => $errors);
    }
    raise("got unexpected content type", code => $answer->{status}) if !$is_json;
    return $decode->($answer);
}

sub get_raw { my ($self, @what) = @_; return $self->call('GET', @what); }
sub get { my ($self, @what) = @_; return $data_of->($self->call('GET', @what)); }
sub post { my ($self, @what) = @_; return $data_of->($self->call('POST', @what)); }

1;
