#!/bin/sh
# nginx's `error_page 413 /path` shows the page over HTTP/1.1, and over HTTP/2 nginx's own HTML in its place.
#
# Where error_page leads is another location, and over HTTP/2 the body is held against its client_max_body_size once more.
# It is as much too large there, so the page is given up.
# What this project does: nginx/incidents.conf and nginx/incidents-fcgiwrap.conf have `client_max_body_size 0` in /incidents-error/.
#
# Seen 2026-11-28 with nginx=1.22.1-9+deb12u11:
#   --http1.1: our page
#   --http2-prior-knowledge: HTML of nginx
set -eu
packages='nginx=1.22.1-9+deb12u11'
directory=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" || true; wait "$server" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done

cat >nginx.conf <<CONFIGURATION
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path bodies;
    server {
        listen unix:$directory/http1.sock;
        listen unix:$directory/http2.sock http2;
        client_max_body_size 1k;
        default_type text/plain;
        error_page 413 /plain/413;
        location = /plain/413 {
            internal;
            return 413 "our page";
        }
    }
}
CONFIGURATION
root/usr/sbin/nginx -e error.log -p "$directory" -c nginx.conf >nginx.log 2>&1 &
server=$!
tries=0
until [ -S http1.sock ] && [ -S http2.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat nginx.log error.log; exit 2; }
    sleep 0.1
done

head -c 4096 /dev/zero >body
# Over HTTP/2 curl 7.88 loses an answer that comes while it still sends; then it asks again.
ask()
{
    tries=0 page=
    while [ -z "$page" ] && [ "$tries" -lt 20 ]; do
        tries=$((tries + 1))
        page=$(curl -s --max-time 2 "$1" --unix-socket "$2" --data-binary @body "http://localhost$3" |
            tr -d '\r\n' | sed 's/<html>.*<\/html>/HTML of nginx/')
    done
    echo "$1: $page"
}
{
    ask --http1.1 http1.sock /
    ask --http2-prior-knowledge http2.sock /
} >seen
cat seen
cat >expected <<'OUTPUT'
--http1.1: our page
--http2-prior-knowledge: HTML of nginx
OUTPUT
cmp expected seen
