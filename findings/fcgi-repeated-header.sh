#!/bin/sh
# HAProxy, h2o 2.2 and nginx 1.22 hand a header that a request has twice to a FastCGI program as two variables of one name.
#
# CGI (RFC 3875, section 4.1.18) says that the server MUST rewrite them as a single value, which Caddy does. Most programs keep
# variables in a table, and the last one of a name wins there; libfcgi's FCGX_GetParam finds the first. So the same request is
# read in two ways, and one of the values is lost. HAProxy joins such headers for no FastCGI program, though it joins cookies
# that HTTP/2 has split. nginx does it since 1.23, and h2o has a change for it (h2o/h2o pull request 667, for Rack); no report
# was found for HAProxy.
# What this project does: the first of each name counts (parser_test).
#
# Seen 2026-11-28 with haproxy=2.6.12-1+deb12u4, h2o=2.2.5+dfsg2-7, nginx=1.22.1-9+deb12u11, caddy=2.6.2-5:
#   haproxy: HTTP_X_TEAM=search, HTTP_X_TEAM=checkout
#   h2o: HTTP_X_TEAM=search, HTTP_X_TEAM=checkout
#   nginx: HTTP_X_TEAM=search, HTTP_X_TEAM=checkout
#   caddy: HTTP_X_TEAM=search, checkout
set -eu
packages='haproxy=2.6.12-1+deb12u4 liblua5.3-0=5.3.6-2 libopentracing-c-wrapper0=1.1.3-3+b1 libopentracing1=1.6.0-4
    h2o=2.2.5+dfsg2-7 nginx=1.22.1-9+deb12u11 caddy=2.6.2-5'
directory=$(mktemp -d)
pids=
finish()
{
    for pid in $pids; do
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
libraries=$(dirname "$(find "$directory/root" -name 'liblua5.3.so.0')")

cat >program.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

umask 0;
my $socket = IO::Socket::UNIX->new(Local => 'program.sock', Listen => 5) or die;
while (my $peer = $socket->accept) {
    my $params = '';
    while (read($peer, my $header, 8) == 8) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
        read($peer, my $content, $len + $padding) if $len + $padding;
        $params .= substr($content, 0, $len) if $type == 4;
        last if $type == 5 && $len == 0;
    }
    my @found;
    while ($params ne '') {
        my @lens = map { my ($len) = unpack 'C', $params; my $size = $len < 128 ? 1 : 4;
                         $len = unpack('N', $params) & 0x7FFFFFFF if $size == 4;
                         substr($params, 0, $size) = ''; $len } 1, 2;
        my ($name, $value) = unpack "a$lens[0] a$lens[1]", $params;
        substr($params, 0, $lens[0] + $lens[1]) = '';
        push @found, "$name=$value" if $name eq 'HTTP_X_TEAM';
    }
    my $page = "Content-Type: text/plain\r\n\r\n" . join(', ', @found) . "\n";
    print $peer pack('CCnnCC', 1, 6, 1, length $page, 0, 0), $page, pack('CCnnCC', 1, 6, 1, 0, 0, 0),
        pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
    close $peer;
}
PROGRAM
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
    bind $directory/haproxy.sock
    default_backend programs
backend programs
    use-fcgi-app program
    server program unix@$directory/program.sock proto fcgi
CONFIGURATION
cat >h2o.conf <<CONFIGURATION
listen:
  port: $directory/h2o.sock
  type: unix
hosts:
  default:
    paths:
      /:
        fastcgi.connect:
          port: $directory/program.sock
          type: unix
CONFIGURATION
cat >nginx.conf <<CONFIGURATION
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path bodies;
    fastcgi_temp_path pages;
    server {
        listen unix:$directory/nginx.sock;
        location / {
            fastcgi_pass unix:$directory/program.sock;
            fastcgi_param REQUEST_METHOD \$request_method;
        }
    }
}
CONFIGURATION
cat >Caddyfile <<CONFIGURATION
{
	admin off
	auto_https off
}
http://localhost {
	bind unix/$directory/caddy.sock
	reverse_proxy unix/$directory/program.sock {
		transport fastcgi
	}
}
CONFIGURATION
perl program.pl &
pids=$!
LD_LIBRARY_PATH=$libraries root/usr/sbin/haproxy -db -f haproxy.cfg >haproxy.log 2>&1 &
pids="$pids $!"
root/usr/bin/h2o -m worker -c h2o.conf >h2o.log 2>&1 &
pids="$pids $!"
root/usr/sbin/nginx -e nginx.log -p "$directory" -c nginx.conf >nginx.out 2>&1 &
pids="$pids $!"
HOME=$directory root/usr/bin/caddy run --config Caddyfile --adapter caddyfile >caddy.log 2>&1 &
pids="$pids $!"
tries=0
until [ -S program.sock ] && [ -S haproxy.sock ] && [ -S h2o.sock ] && [ -S nginx.sock ] && [ -S caddy.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { tail -n 5 ./*.log ./*.out; exit 2; }
    sleep 0.1
done

for name in haproxy h2o nginx caddy; do
    echo "$name: $(curl -q -s --max-time 60 --unix-socket "$name.sock" -H 'X-Team: search' -H 'X-Team: checkout' http://localhost/)"
done >seen
cat seen
cat >expected <<'OUTPUT'
haproxy: HTTP_X_TEAM=search, HTTP_X_TEAM=checkout
h2o: HTTP_X_TEAM=search, HTTP_X_TEAM=checkout
nginx: HTTP_X_TEAM=search, HTTP_X_TEAM=checkout
caddy: HTTP_X_TEAM=search, checkout
OUTPUT
cmp expected seen
