#!/bin/sh
# Net::Async::FastCGI's send_http_response begins with an HTTP status line: nginx drops the line and goes on, Caddy and h2o
# answer 502 and 503 in its place.
#
# A FastCGI program answers as a CGI program (FastCGI, section 6.2), with headers alone; a status line is no header field
# (RFC 3875, section 6.3). The manual names this method as the way to answer with an HTTP::Response, and Net::Async::FastCGI
# adds the right `Status` too, behind the line. No report of it was found.
# What this project does: Status is its first line (src/http/response.c).
#
# Seen 2026-11-28 with libnet-async-fastcgi-perl=0.25-2, nginx=1.22.1-9+deb12u11, caddy=2.6.2-5, h2o=2.2.5+dfsg2-7:
#   sent: HTTP/1.1 404 Not Found, Content-Type: text/plain, Status: 404
#   nginx: 404 nothing here
#   caddy: 502 no page of ours
#   h2o: 503 no page of ours
set -eu
packages='libnet-async-fastcgi-perl=0.25-2 libnet-fastcgi-perl=0.14-2 libio-async-perl=0.802-1 libfuture-perl=0.49-1
    libstruct-dumb-perl=0.14-1 libmetrics-any-perl=0.09-1 libhttp-message-perl=6.44-1 libhttp-date-perl=6.05-2
    liburi-perl=5.17-1 libclone-perl=0.46-1 nginx=1.22.1-9+deb12u11 caddy=2.6.2-5 h2o=2.2.5+dfsg2-7'
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

cat >program.pl <<'PROGRAM'
use strict;
use HTTP::Response;
use IO::Async::Loop;
use IO::Socket::UNIX;
use Net::Async::FastCGI;

umask 0;
my $loop = IO::Async::Loop->new;
my $server = Net::Async::FastCGI->new(
    on_request => sub {
        my $response = HTTP::Response->new(404, 'Not Found', ['Content-Type' => 'text/plain'], "nothing here\n");
        $response->protocol('HTTP/1.1');
        $_[1]->send_http_response($response);
    });
$loop->add($server);
$server->listen(handle => IO::Socket::UNIX->new(Local => 'program.sock', Listen => 5));
$loop->run;
PROGRAM
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
PERL5LIB=$directory/root/usr/share/perl5:$(echo "$directory"/root/usr/lib/*/perl5/*) perl program.pl >program.log 2>&1 &
pids=$!
root/usr/sbin/nginx -e nginx.log -p "$directory" -c nginx.conf >nginx.out 2>&1 &
pids="$pids $!"
HOME=$directory root/usr/bin/caddy run --config Caddyfile --adapter caddyfile >caddy.log 2>&1 &
pids="$pids $!"
root/usr/bin/h2o -m worker -c h2o.conf >h2o.log 2>&1 &
pids="$pids $!"
tries=0
until [ -S program.sock ] && [ -S nginx.sock ] && [ -S caddy.sock ] && [ -S h2o.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { tail -n 5 ./*.log ./*.out; exit 2; }
    sleep 0.1
done

cat >client.pl <<'PROGRAM'
use strict;
use IO::Socket::UNIX;

sub record { my ($type, $content) = @_; pack('CCnnCC', 1, $type, 1, length $content, 0, 0) . $content }

my $socket = IO::Socket::UNIX->new('program.sock') or die;
print $socket record(1, pack 'nCx5', 1, 0), record(4, pack('CC', 14, 3) . 'REQUEST_METHODGET'), record(4, ''), record(5, '');
$socket->flush;
my $page = '';
while (read($socket, my $header, 8) == 8) {
    my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
    read($socket, my $content, $len + $padding) if $len + $padding;
    $page .= substr $content, 0, $len if $type == 6;
    last if $type == 3;
}
print 'sent: ', join(', ', split /\r\n/, (split /\r\n\r\n/, $page)[0]), "\n";
PROGRAM
{
    perl client.pl
    for name in nginx caddy h2o; do
        status=$(curl -q -s --max-time 60 -o page -w '%{http_code}' --unix-socket "$name.sock" http://localhost/)
        echo "$name: $status $(grep -s 'nothing here' page || echo 'no page of ours')"
        rm -f page
    done
} >seen
cat seen
cat >expected <<'OUTPUT'
sent: HTTP/1.1 404 Not Found, Content-Type: text/plain, Status: 404
nginx: 404 nothing here
caddy: 502 no page of ours
h2o: 503 no page of ours
OUTPUT
cmp expected seen
