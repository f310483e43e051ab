#!/bin/sh
# Net::Async::FastCGI::PSGI encodes a PSGI program's bytes as UTF-8 once more, and hands it the request's body decoded: any byte
# above 7F is two on its way out, and an image or an accented letter is spoilt.
#
# PSGI has the response's body made of bytes and psgi.input read as bytes ("The Input Stream", "Body" of its specification); a
# Content-Length that the program counted is too small then. The class below it encodes what it is given unless it is told not
# to, which suits text, and the PSGI class does not tell it. No report of it was found.
# What this project does: bodies and responses are bytes throughout (src/fastcgi/writer.c).
#
# Seen 2026-11-28 with libnet-async-fastcgi-perl=0.25-2:
#   sent to the program: c3a9, CONTENT_LENGTH=2
#   read by the program: e9, 1 long
#   returned by the program: c3a9, Content-Length: 2
#   sent to the web server: c383c2a9, Content-Length: 2
set -eu
packages='libnet-async-fastcgi-perl=0.25-2 libnet-fastcgi-perl=0.14-2 libio-async-perl=0.802-1 libfuture-perl=0.49-1
    libstruct-dumb-perl=0.14-1 libmetrics-any-perl=0.09-1'
directory=$(mktemp -d)
program=
trap '[ -z "$program" ] || { kill "$program" || true; wait "$program" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done

cat >program.pl <<'PROGRAM'
use strict;
use IO::Async::Loop;
use IO::Socket::UNIX;
use Net::Async::FastCGI::PSGI;

my $loop = IO::Async::Loop->new;
my $server = Net::Async::FastCGI::PSGI->new(
    app => sub {
        $_[0]->{'psgi.input'}->read(my $body, 100);
        open my $log, '>', 'read' or die;
        printf $log "read by the program: %s, %d long\n", join('', map { sprintf '%02x', ord } split //, $body), length $body;
        close $log;
        return [200, ['Content-Type' => 'image/png', 'Content-Length' => 2], ["\xc3\xa9"]];
    });
$loop->add($server);
$server->listen(handle => IO::Socket::UNIX->new(Local => 'program.sock', Listen => 5));
$loop->run;
PROGRAM
PERL5LIB=$directory/root/usr/share/perl5 perl program.pl >program.log 2>&1 &
program=$!
tries=0
until [ -S program.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat program.log; exit 2; }
    sleep 0.1
done

cat >client.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

sub record { my ($type, $content) = @_; pack('CCnnCC', 1, $type, 1, length $content, 0, 0) . $content }
sub pair { my ($name, $value) = @_; pack('CC', length $name, length $value) . $name . $value }

my $socket = IO::Socket::UNIX->new('program.sock') or die;
my $body = "\xc3\xa9";
print $socket record(1, pack 'nCx5', 1, 0), record(4, pair(REQUEST_METHOD => 'POST') . pair(CONTENT_LENGTH => length $body)),
    record(4, ''), record(5, $body), record(5, '');
$socket->flush;
my $page = '';
while (read($socket, my $header, 8) == 8) {
    my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
    read($socket, my $content, $len + $padding) if $len + $padding;
    $page .= substr $content, 0, $len if $type == 6;
    last if $type == 3;
}
my ($headers, $rest) = split /\r\n\r\n/, $page, 2;
print 'sent to the web server: ', unpack('H*', $rest), ', ', $headers =~ /(Content-Length: \d+)/, "\n";
PROGRAM
{
    echo 'sent to the program: c3a9, CONTENT_LENGTH=2'
    perl client.pl >page
    cat read
    echo 'returned by the program: c3a9, Content-Length: 2'
    cat page
} >seen
cat seen
cat >expected <<'OUTPUT'
sent to the program: c3a9, CONTENT_LENGTH=2
read by the program: e9, 1 long
returned by the program: c3a9, Content-Length: 2
sent to the web server: c383c2a9, Content-Length: 2
OUTPUT
cmp expected seen
