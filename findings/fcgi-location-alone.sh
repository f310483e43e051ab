#!/bin/sh
# A FastCGI program that answers with `Location:` alone redirects behind nginx, but not behind Caddy, h2o and Apache's
# mod_proxy_fcgi: they send 200, an empty page, and a Location that browsers ignore.
#
# FastCGI (section 6.2) has a Responder answer as a CGI/1.1 program does, and there (RFC 3875, section 6.2.3) a Location
# without a Status is a redirect: the server makes it 302. Apache's own mod_cgid does. PHP adds the Status by itself, so a
# program of another kind, moved from CGI or from nginx, is the first to meet this. No report of it was found.
# What this project does: it never redirects; each of its responses has a Status.
#
# Seen 2026-11-28 with nginx=1.22.1-9+deb12u11, caddy=2.6.2-5, h2o=2.2.5+dfsg2-7, apache2-bin=2.4.71-1~deb12u1:
#   nginx: 302, Location: http://localhost/there
#   caddy: 200, Location: http://localhost/there
#   h2o: 200, Location: http://localhost/there
#   mod_proxy_fcgi: 200, Location: http://localhost/there
#   mod_cgid: 302, Location: http://localhost/there
set -eu
packages='nginx=1.22.1-9+deb12u11 caddy=2.6.2-5 h2o=2.2.5+dfsg2-7 apache2-bin=2.4.71-1~deb12u1 libapr1=1.7.2-3+deb12u1
    libaprutil1=1.6.3-1+deb12u1 libnghttp2-14=1.52.0-1+deb12u3'
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
chmod 755 "$directory" # some servers run as nobody where this is run by root
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
modules=$directory/root/usr/lib/apache2/modules
libraries=$(dirname "$(find "$directory/root" -name 'libapr-1.so.0')")
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')

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
    my $page = "Location: http://localhost/there\r\n\r\n";
    print $peer pack('CCnnCC', 1, 6, 1, length $page, 0, 0), $page, pack('CCnnCC', 1, 6, 1, 0, 0, 0),
        pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
    close $peer;
}
PROGRAM
cat >program.cgi <<'PROGRAM'
#!/bin/sh
printf 'Location: http://localhost/there\r\n\r\n'
PROGRAM
chmod 755 program.cgi
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
cat >apache.conf <<CONFIGURATION
ServerName localhost
ServerRoot $directory
PidFile apache.pid
ErrorLog apache.log
Listen 127.0.0.1:$port
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule alias_module $modules/mod_alias.so
LoadModule cgid_module $modules/mod_cgid.so
LoadModule proxy_module $modules/mod_proxy.so
LoadModule proxy_fcgi_module $modules/mod_proxy_fcgi.so
ScriptSock $directory/cgid.sock
User nobody
Group nogroup
<Directory $directory>
    Require all granted
</Directory>
ScriptAlias /cgi $directory/program.cgi
ProxyPass /fcgi unix:$directory/program.sock|fcgi://localhost/
CONFIGURATION
perl program.pl &
pids=$!
root/usr/sbin/nginx -e nginx.log -p "$directory" -c nginx.conf >nginx.out 2>&1 &
pids="$pids $!"
HOME=$directory root/usr/bin/caddy run --config Caddyfile --adapter caddyfile >caddy.log 2>&1 &
pids="$pids $!"
root/usr/bin/h2o -m worker -c h2o.conf >h2o.log 2>&1 &
pids="$pids $!"
LD_LIBRARY_PATH=$libraries root/usr/sbin/apache2 -D FOREGROUND -f "$directory/apache.conf" >apache.out 2>&1 &
pids="$pids $!"
tries=0
until [ -S program.sock ] && [ -S nginx.sock ] && [ -S caddy.sock ] && [ -S h2o.sock ] &&
    curl -q -s -f --max-time 60 --noproxy '*' -o page "http://127.0.0.1:$port/cgi"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { tail -n 5 *.log *.out; exit 2; }
    sleep 0.1
done

ask()
{
    echo "$1: $(curl -q -s --max-time 60 --noproxy '*' -o page -w '%{http_code}, Location: %header{location}' "$2" "$3" "$4")"
}
{
    for name in nginx caddy h2o; do
        ask "$name" --unix-socket "$name.sock" http://localhost/here
    done
    ask mod_proxy_fcgi --connect-to "::127.0.0.1:$port" http://localhost/fcgi
    ask mod_cgid --connect-to "::127.0.0.1:$port" http://localhost/cgi
} >seen
cat seen
cat >expected <<'OUTPUT'
nginx: 302, Location: http://localhost/there
caddy: 200, Location: http://localhost/there
h2o: 200, Location: http://localhost/there
mod_proxy_fcgi: 200, Location: http://localhost/there
mod_cgid: 302, Location: http://localhost/there
OUTPUT
cmp expected seen
