#!/bin/sh
# lighttpd answers 411 Length Required to an HTTP/2 POST without a Content-Length, though its frames say where it ends.
#
# RFC 9113, section 8.1.1: the field is optional, for END_STREAM ends the body. The same body, chunked over HTTP/1.1, is taken.
# What this project does: errors/request-411.html answers in JSON, and docs/servers/lighttpd.md tells what the sender can do.
#
# Seen 2026-11-28 with lighttpd=1.4.69-1:
#   --http1.1 -T -: a body of 3 bytes
#   --http2-prior-knowledge --data-binary @-: a body of 3 bytes
#   --http2-prior-knowledge -T -: 411 Length Required
set -eu
packages='lighttpd=1.4.69-1'
directory=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" || true; wait "$server" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done

mkdir www
cat >www/length.cgi <<'PROGRAM'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\na body of %s bytes\n' "$(wc -c)"
PROGRAM
chmod 755 www/length.cgi
cat >lighttpd.conf <<CONFIGURATION
server.document-root = "$directory/www"
server.bind = "$directory/lighttpd.sock"
server.upload-dirs = ( "$directory" )
server.feature-flags = ( "server.h2c" => "enable" )
server.modules = ( "mod_cgi" )
cgi.assign = ( ".cgi" => "" )
CONFIGURATION
modules=$(find "$directory/root" -name mod_cgi.so)
root/usr/sbin/lighttpd -D -f lighttpd.conf -m "${modules%/*}" >lighttpd.log 2>&1 &
server=$!
tries=0
until [ -S lighttpd.sock ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat lighttpd.log; exit 2; }
    sleep 0.1
done

# Over HTTP/2 curl 7.88 loses an answer that comes while it still sends; then it asks again.
ask()
{
    tries=0 page=
    while [ -z "$page" ] && [ "$tries" -lt 20 ]; do
        tries=$((tries + 1))
        page=$(printf abc |
            curl -s --max-time 5 --unix-socket lighttpd.sock -X POST "$@" http://localhost/length.cgi |
            sed -n '/bytes/p; s/.*<h1>\(.*\)<\/h1>.*/\1/p')
    done
    echo "$*: $page"
}
{
    ask --http1.1 -T -
    ask --http2-prior-knowledge --data-binary @-
    ask --http2-prior-knowledge -T -
} >seen
cat seen
cat >expected <<'OUTPUT'
--http1.1 -T -: a body of 3 bytes
--http2-prior-knowledge --data-binary @-: a body of 3 bytes
--http2-prior-knowledge -T -: 411 Length Required
OUTPUT
cmp expected seen
