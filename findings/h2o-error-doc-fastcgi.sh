#!/bin/sh
# h2o's `error-doc` also replaces what a FastCGI program answers: its own 503 loses body and Content-Type, but no other header.
#
# It is nginx's error_page with fastcgi_intercept_errors on, and cannot be turned off for the program's answers: whoever wants a
# page for "no program is there" loses what the program says under the same status. nginx and Apache hand that on by default.
# What this project does: errors/h2o-503.html, the page for both, is JSON and names the reasons of both (docs/servers/h2o.md).
#
# Seen 2026-11-28 with h2o=2.2.5+dfsg2-7:
#   without error-doc: 503, text/plain, Retry-After 7: the program's own words
#   with error-doc: 503, text/html, Retry-After 7: the page
#   with error-doc, no program: 503, text/html, Retry-After none: the page
set -eu
packages='h2o=2.2.5+dfsg2-7'
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
chmod 755 "$directory" # h2o runs as nobody where this is run by root
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done

cat >program.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

umask 0;
my $socket = IO::Socket::UNIX->new(Local => 'program.sock', Listen => 5) or die;
while (my $peer = $socket->accept) {
    while (read($peer, my $header, 8) == 8) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
        read($peer, my $content, $len + $padding) if $len + $padding;
        last if $type == 5 && $len == 0;
    }
    my $page = "Status: 503\r\nContent-Type: text/plain\r\nRetry-After: 7\r\n\r\nthe program's own words\n";
    print $peer pack('CCnnCC', 1, 6, 1, length $page, 0, 0), $page, pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
    close $peer;
}
PROGRAM
perl program.pl &
program=$!
mkdir www
echo 'the page' >www/503.html
cat >h2o.conf <<CONFIGURATION
listen:
  port: $directory/h2o.sock
  type: unix
hosts:
  default:
    paths:
      /page:
        file.dir: $directory/www
      /without:
        fastcgi.connect: &program
          port: $directory/program.sock
          type: unix
      /with:
        fastcgi.connect: *program
        error-doc: &page
          status: 503
          url: /page/503.html
      /away:
        fastcgi.connect:
          port: $directory/away.sock
          type: unix
        error-doc: *page
CONFIGURATION
root/usr/bin/h2o -m worker -c h2o.conf >h2o.log 2>&1 &
server=$!
tries=0
until [ -S h2o.sock ] && [ -S program.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat h2o.log; exit 2; }
    sleep 0.1
done

ask()
{
    said=$(curl -s --max-time 60 -o page -w '%{http_code}, %{content_type}' -D headers --unix-socket h2o.sock "http://localhost$2")
    later=$(tr -d '\r' <headers | sed -n 's/^Retry-After: //Ip')
    echo "$1: $said, Retry-After ${later:-none}: $(cat page)"
}
{
    ask 'without error-doc' /without
    ask 'with error-doc' /with
    ask 'with error-doc, no program' /away
} >seen
cat seen
cat >expected <<'OUTPUT'
without error-doc: 503, text/plain, Retry-After 7: the program's own words
with error-doc: 503, text/html, Retry-After 7: the page
with error-doc, no program: 503, text/html, Retry-After none: the page
OUTPUT
cmp expected seen
