#!/bin/sh
# node-fastcgi 2.0.0 closes a connection after its first response, though FCGI_KEEP_CONN asks it not to; so the slower of
# two multiplexed requests never gets its response.
#
# FastCGI (section 5.1) leaves the connection to the web server where the flag is set. The package's manual calls it "fully
# compliant", and it answers FCGI_MPXS_CONNS=1, which invites a client to multiplex. It looks the flag up under a name that
# fastcgi-stream does not have (KEEP_CONN for KEEPCONN), so the flag is never seen. nginx's fastcgi_keep_conn gains nothing.
# No report of it was found.
# What this project does: connections stay open with the flag, and FCGI_MPXS_CONNS is 0 (fastcgi_test).
#
# Seen 2026-11-28 with node-fastcgi@2.0.0 and fastcgi-stream@1.0.0:
#   FCGI_MPXS_CONNS: 1
#   one request with FCGI_KEEP_CONN: /fast, end of request 1, then closed
#   two at once with FCGI_KEEP_CONN: /fast, end of request 2, then closed
set -eu
packages='node-fastcgi@2.0.0 fastcgi-stream@1.0.0'
directory=$(mktemp -d)
program=
trap '[ -z "$program" ] || { kill "$program" || true; wait "$program" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts $packages >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >program.js <<'PROGRAM'
const waiting = [];
require('node-fastcgi').createServer((request, response) => {
    const say = () => {
        response.writeHead(200, { 'Content-Type': 'text/plain' });
        response.end(request.url);
    };
    if (request.url === '/slow') {
        waiting.push(say);
        return;
    }
    say();
    setTimeout(() => waiting.forEach((next) => next()), 500);
}).listen('program.sock');
PROGRAM
node --no-deprecation program.js >program.log 2>&1 &
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

sub record { my ($type, $id, $content) = @_; pack('CCnnCC', 1, $type, $id, length $content, 0, 0) . $content }
sub pair { my ($name, $value) = @_; pack('CC', length $name, length $value) . $name . $value }
sub request {
    my ($id, $path) = @_;
    record(1, $id, pack('nCx5', 1, 1))
        . record(4, $id, pair(REQUEST_METHOD => 'GET') . pair(REQUEST_URI => $path) . pair(SERVER_PROTOCOL => 'HTTP/1.1'))
        . record(4, $id, '') . record(5, $id, '');
}

my ($what, @requests) = @ARGV;
my $socket = IO::Socket::UNIX->new('program.sock') or die;
my ($id, @seen) = (0);
my $records = @requests ? join '', map { request(++$id, $_) } @requests : record(9, 0, pair(FCGI_MPXS_CONNS => ''));
print $socket $records;
$socket->flush;
$SIG{ALRM} = sub { print "$what: ", join(', ', @seen, "then open\n"); exit };
alarm 60;
while (read($socket, my $header, 8) == 8) {
    my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
    read($socket, my $content, $len + $padding) if $len + $padding;
    $content = substr $content, 0, $len;
    if ($type == 10) { print "$what: ", substr($content, 2 + length 'FCGI_MPXS_CONNS'), "\n"; exit }
    push @seen, $1 if $type == 6 && $content =~ m{(/\w+)\z};
    push @seen, "end of request $id" if $type == 3;
    alarm 5 if $type == 3;
}
print "$what: ", join(', ', @seen, "then closed\n");
PROGRAM
{
    perl client.pl 'FCGI_MPXS_CONNS'
    perl client.pl 'one request with FCGI_KEEP_CONN' /fast
    perl client.pl 'two at once with FCGI_KEEP_CONN' /slow /fast
} >seen
cat seen
cat >expected <<'OUTPUT'
FCGI_MPXS_CONNS: 1
one request with FCGI_KEEP_CONN: /fast, end of request 1, then closed
two at once with FCGI_KEEP_CONN: /fast, end of request 2, then closed
OUTPUT
cmp expected seen
