#!/bin/sh
# HAProxy answers 502 to HEAD where the FastCGI program sends a body, and puts "content-length: 0" on its 304.
#
# A CGI program should leave the body of HEAD out; where it does not, the server MUST discard it (RFC 3875, section 4.3.3), as
# nginx, Apache, lighttpd, Caddy and h2o do. Go's net/http/fcgi and most scripts send it, so an uptime monitor that asks by HEAD
# finds a healthy program down. And a 304 may have no Content-Length but that of the 200 in its place (RFC 9110, section 8.6).
# HAProxy's manual has nothing on either; no report of them was found.
# What this project does: the worker sends no body for HEAD and no 304; docs/quirks.md says what else HAProxy needs.
#
# Seen 2026-11-28 with haproxy=2.6.12-1+deb12u4:
#   GET /page: 200, content-length: 8
#   HEAD /page: 502
#   HEAD /without-body: 200
#   GET /not-modified: 304, content-length: 0
set -eu
packages='haproxy=2.6.12-1+deb12u4 liblua5.3-0=5.3.6-2 libopentracing-c-wrapper0=1.1.3-3+b1 libopentracing1=1.6.0-4'
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
libraries=$(dirname "$(find "$directory/root" -name 'liblua5.3.so.0')")

cat >program.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

my $socket = IO::Socket::UNIX->new(Local => 'program.sock', Listen => 5) or die;
while (my $peer = $socket->accept) {
    my $params = '';
    while (read($peer, my $header, 8) == 8) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
        read($peer, my $content, $len + $padding) if $len + $padding;
        $params .= substr($content, 0, $len) if $type == 4;
        next unless $type == 5 && $len == 0;
        my $page = "Content-Type: text/plain\r\n\r\n";
        $page .= 'the page' if $params =~ m{/page};
        $page = "Status: 304 Not Modified\r\nETag: \"1\"\r\n\r\n" if $params =~ m{/not-modified};
        print $peer pack('CCnnCC', 1, 6, $id, length $page, 0, 0), $page, pack('CCnnCC', 1, 6, $id, 0, 0, 0),
            pack('CCnnCCNC4', 1, 3, $id, 8, 0, 0, 0, 0, 0, 0, 0);
        last;
    }
    close $peer;
}
PROGRAM
perl program.pl &
program=$!
cat >haproxy.cfg <<CONFIGURATION
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
fcgi-app program
    docroot $directory
    no option keep-conn
frontend web
    bind $directory/web.sock
    default_backend programs
backend programs
    use-fcgi-app program
    server program unix@$directory/program.sock proto fcgi
CONFIGURATION
LD_LIBRARY_PATH=$libraries root/usr/sbin/haproxy -db -f haproxy.cfg >haproxy.log 2>&1 &
server=$!
tries=0
until [ -S web.sock ] && [ -S program.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat haproxy.log; exit 2; }
    sleep 0.1
done

ask()
{
    curl -q -s -D headers -o page --max-time 60 --unix-socket web.sock "$@" "http://localhost$path"
    status=$(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' headers)
    length=$(tr -d '\r' <headers | grep '^content-length' || true)
    [ "$status" -lt 500 ] || length=
    echo "$status${length:+, $length}"
}
{
    path=/page
    echo "GET $path: $(ask)"
    echo "HEAD $path: $(ask --head)"
    path=/without-body
    echo "HEAD $path: $(ask --head)"
    path=/not-modified
    echo "GET $path: $(ask -H 'If-None-Match: "1"')"
} >seen
cat seen
cat >expected <<'OUTPUT'
GET /page: 200, content-length: 8
HEAD /page: 502
HEAD /without-body: 200
GET /not-modified: 304, content-length: 0
OUTPUT
cmp expected seen
