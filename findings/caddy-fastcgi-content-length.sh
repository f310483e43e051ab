#!/bin/sh
# Caddy gives a FastCGI program CONTENT_LENGTH=-1 for a body without a length, and 0 for a request without a body.
#
# CGI (RFC 3875, section 4.1.2) has digits there, or nothing where no body is known of. Caddy writes out the number that
# its language's library keeps for "unknown", and the bytes come nevertheless. A program that takes it for 0 drops them.
# What this project does: src/http/request.c reads -1 as "none given", and takes the body up to its end.
#
# Seen 2026-11-28 with caddy=2.6.2-5:
#   HTTP/1.1, Content-Length: 3: CONTENT_LENGTH=3, a body of 3 bytes
#   HTTP/1.1, chunked: CONTENT_LENGTH=-1, a body of 3 bytes
#   HTTP/2, no length: CONTENT_LENGTH=-1, a body of 3 bytes
#   GET: CONTENT_LENGTH=0, a body of 0 bytes
set -eu
packages='caddy=2.6.2-5'
directory=$(mktemp -d)
server='' program=''
finish()
{
    for pid in $server $program; do
        kill "$pid" || true
        wait "$pid" || true
    done
    rm -rf "$directory"
}
trap finish EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done

cat >program.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

my $socket = IO::Socket::UNIX->new(Local => 'program.sock', Listen => 5) or die;
while (my $peer = $socket->accept) {
    my ($params, $body) = ('', '');
    while (read($peer, my $header, 8) == 8) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
        read($peer, my $content, $len + $padding) if $len + $padding;
        $params .= substr($content, 0, $len) if $type == 4;
        $body .= substr($content, 0, $len) if $type == 5;
        last if $type == 5 && $len == 0;
    }
    my $page = "Content-Type: text/plain\r\n\r\n";
    while ($params ne '') {
        my @lens = map { my ($len) = unpack 'C', $params; my $size = $len < 128 ? 1 : 4;
                         $len = unpack('N', $params) & 0x7FFFFFFF if $size == 4;
                         substr($params, 0, $size) = ''; $len } 1, 2;
        my ($name, $value) = unpack "a$lens[0] a$lens[1]", $params;
        substr($params, 0, $lens[0] + $lens[1]) = '';
        $page .= "$name=$value, " if $name eq 'CONTENT_LENGTH';
    }
    $page .= 'a body of ' . length($body) . " bytes\n";
    print $peer pack('CCnnCC', 1, 6, 1, length $page, 0, 0), $page, pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
    close $peer;
}
PROGRAM
perl program.pl &
program=$!
cat >Caddyfile <<CONFIGURATION
{
	admin off
	auto_https off
	servers {
		protocols h1 h2 h2c
	}
}
http://localhost {
	bind unix/$directory/caddy.sock
	reverse_proxy unix/$directory/program.sock {
		transport fastcgi
	}
}
CONFIGURATION
export HOME="$directory" XDG_DATA_HOME="$directory" XDG_CONFIG_HOME="$directory"
root/usr/bin/caddy run --config Caddyfile >caddy.log 2>&1 &
server=$!
tries=0
until [ -S caddy.sock ] && [ -S program.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat caddy.log; exit 2; }
    sleep 0.1
done

ask()
{
    printf '%s: ' "$1"
    shift
    printf abc | curl -s --max-time 60 --unix-socket caddy.sock "$@" http://localhost/
}
{
    ask 'HTTP/1.1, Content-Length: 3' --data-binary @-
    ask 'HTTP/1.1, chunked' -X POST -T -
    ask 'HTTP/2, no length' --http2-prior-knowledge -X POST -T -
    ask 'GET'
} >seen
cat seen
cat >expected <<'OUTPUT'
HTTP/1.1, Content-Length: 3: CONTENT_LENGTH=3, a body of 3 bytes
HTTP/1.1, chunked: CONTENT_LENGTH=-1, a body of 3 bytes
HTTP/2, no length: CONTENT_LENGTH=-1, a body of 3 bytes
GET: CONTENT_LENGTH=0, a body of 0 bytes
OUTPUT
cmp expected seen
