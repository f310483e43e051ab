#!/bin/sh
# Go's net/http/fcgi and net/http/cgi take the first WriteHeader for the last: after 103 Early Hints the response's own status
# is dropped, and the page leaves with "Status: 103".
#
# The manual of http.ResponseWriter (Go 1.19) allows any number of 1xx headers before the final one, and the same handler under
# net/http sends 103, then 503. CGI (RFC 3875, section 6.3.3) has one status for a response, so the 1xx could be left out. As it
# is, a web server is told that there is no final response, and a client that would repeat on 503 never sees one. net/http/cgi
# logs that the header was written twice, net/http/fcgi says nothing. No report of it was found for these two packages.
# What this project does: its responses have one status, and it sends no 1xx.
#
# Seen 2026-11-28 with golang-1.19-go=1.19.8-2:
#   net/http, /plain: 503
#   net/http, /early: 103, then 503
#   net/http/fcgi, /plain: Status: 503 Service Unavailable, then the page
#   net/http/fcgi, /early: Status: 103 Early Hints, then the page
#   net/http/cgi, /plain: Status: 503 Service Unavailable, then the page
#   net/http/cgi, /early: Status: 103 Early Hints, then the page
set -eu
packages='golang-1.19-go=1.19.8-2 golang-1.19-src=1.19.8-2'
directory=$(mktemp -d)
program=
trap '[ -z "$program" ] || { kill "$program" || true; wait "$program" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done

cat >program.go <<'PROGRAM'
package main

import (
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/fcgi"
	"os"
)

func handle(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/early" {
		w.WriteHeader(http.StatusEarlyHints)
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	io.WriteString(w, "the page")
}

func main() {
	handler := http.HandlerFunc(handle)
	if len(os.Args) == 1 {
		cgi.Serve(handler)
		return
	}
	plain, _ := net.Listen("unix", "http.sock")
	records, _ := net.Listen("unix", "fcgi.sock")
	go http.Serve(plain, handler)
	fcgi.Serve(records, handler)
}
PROGRAM
GOROOT=$directory/root/usr/lib/go-1.19 GOCACHE=$directory/cache GOFLAGS='' CGO_ENABLED=0 \
    root/usr/lib/go-1.19/bin/go build -o program program.go
./program servers &
program=$!
tries=0
until [ -S http.sock ] && [ -S fcgi.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 2
    sleep 0.1
done

cat >client.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

sub record { my ($type, $content) = @_; pack('CCnnCC', 1, $type, 1, length $content, 0, 0) . $content }
sub pair { my ($name, $value) = @_; pack('CC', length $name, length $value) . $name . $value }

my $socket = IO::Socket::UNIX->new('fcgi.sock') or die;
print $socket record(1, pack 'nCx5', 1, 0), record(4, pair(REQUEST_METHOD => 'GET') . pair(SERVER_PROTOCOL => 'HTTP/1.1')
    . pair(HTTP_HOST => 'localhost') . pair(REQUEST_URI => $ARGV[0])), record(4, ''), record(5, '');
$socket->flush;
while (read($socket, my $header, 8) == 8) {
    my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
    read($socket, my $content, $len + $padding) if $len + $padding;
    print substr $content, 0, $len if $type == 6;
}
PROGRAM
summary() { tr -d '\r' | sed -n '/^Status:/p; /page/p' | paste -sd, | sed 's/,/, then /'; }
for path in /plain /early; do
    codes=$(curl -q -s -o page -D - --unix-socket http.sock "http://localhost$path" | sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' | paste -sd,)
    echo "net/http, $path: $(echo "$codes" | sed 's/,/, then /')"
done >seen
for path in /plain /early; do
    echo "net/http/fcgi, $path: $(perl client.pl "$path" | summary)"
done >>seen
for path in /plain /early; do
    echo "net/http/cgi, $path: $(REQUEST_METHOD=GET SERVER_PROTOCOL=HTTP/1.1 HTTP_HOST=localhost REQUEST_URI=$path ./program 2>>cgi.log | summary)"
done >>seen
cat seen
cat >expected <<'OUTPUT'
net/http, /plain: 503
net/http, /early: 103, then 503
net/http/fcgi, /plain: Status: 503 Service Unavailable, then the page
net/http/fcgi, /early: Status: 103 Early Hints, then the page
net/http/cgi, /plain: Status: 503 Service Unavailable, then the page
net/http/cgi, /early: Status: 103 Early Hints, then the page
OUTPUT
cmp expected seen
