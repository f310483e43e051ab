#!/bin/sh
# cgi-fcgi hands on more than CONTENT_LENGTH bytes: it reads its input 8184 bytes at a time, and hands on all that it has read.
#
# RFC 3875, section 4.2: more may be there behind the body, and a CGI program must not read it. A program behind cgi-fcgi that takes
# FCGI_STDIN up to its end has a body with a foreign tail.
# What this project does: a body of another length than its CONTENT_LENGTH is refused as `invalid_json`, and nothing of it stored.
#
# The program below answers with how much it was sent.
#
# Seen 2026-11-28 with libfcgi-bin=2.4.2-2+deb12u1:
#   CONTENT_LENGTH=3, 3 bytes there: 3 bytes handed on
#   CONTENT_LENGTH=3, 6 bytes there: 6 bytes handed on
#   CONTENT_LENGTH=3, 100000 bytes there: 8184 bytes handed on
#   CONTENT_LENGTH=9000, 100000 bytes there: 16368 bytes handed on
#   CONTENT_LENGTH=0, 6 bytes there: 0 bytes handed on
set -eu
packages='libfcgi-bin=2.4.2-2+deb12u1 libfcgi0ldbl=2.4.2-2+deb12u1'
directory=$(mktemp -d)
program=
trap '[ -z "$program" ] || { kill "$program" || true; wait "$program" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
libraries=$(dirname "$(find root -name 'libfcgi.so.0')")

cat >program.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

my $socket = IO::Socket::UNIX->new(Local => 'program.sock', Listen => 5) or die;
while (my $peer = $socket->accept) {
    my $total = 0;
    while (read($peer, my $header, 8) == 8) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
        read($peer, my $content, $len + $padding) if $len + $padding;
        $total += $len if $type == 5;
        last if $type == 5 && $len == 0;
    }
    my $page = "Content-Type: text/plain\r\n\r\n$total bytes handed on\n";
    print $peer pack('CCnnCC', 1, 6, 1, length $page, 0, 0), $page, pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
    close $peer;
}
PROGRAM
perl program.pl &
program=$!
tries=0
until [ -S program.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 2
    sleep 0.1
done

ask()
{
    head -c "$2" /dev/zero >body
    echo "CONTENT_LENGTH=$1, $2 bytes there: $(LD_LIBRARY_PATH=$libraries REQUEST_METHOD=POST CONTENT_LENGTH=$1 \
        root/usr/bin/cgi-fcgi -bind -connect program.sock <body | sed -n '$p')"
}
{
    ask 3 3
    ask 3 6
    ask 3 100000
    ask 9000 100000
    ask 0 6
} >seen
cat seen
cat >expected <<'OUTPUT'
CONTENT_LENGTH=3, 3 bytes there: 3 bytes handed on
CONTENT_LENGTH=3, 6 bytes there: 6 bytes handed on
CONTENT_LENGTH=3, 100000 bytes there: 8184 bytes handed on
CONTENT_LENGTH=9000, 100000 bytes there: 16368 bytes handed on
CONTENT_LENGTH=0, 6 bytes there: 0 bytes handed on
OUTPUT
cmp expected seen
