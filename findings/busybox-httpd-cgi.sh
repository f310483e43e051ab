#!/bin/sh
# busybox httpd sees a CGI program's Status only in the first line: behind Content-Type, a 404 or 503 leaves as 200 OK.
#
# CGI has no such rule; its grammar of a response (RFC 3875, section 6.2.1) even names Content-Type first, and Status behind it.
# The line is handed to the client as a header instead. Two more rules of CGI do not hold: CONTENT_LENGTH is set for POST alone,
# a PUT has it as HTTP_CONTENT_LENGTH (section 4.1.2); and a chunked body reaches the program with its chunk sizes, where the
# server must take the coding off or refuse the request (section 4.2). No report of them was found.
# What this project does: Status is the first line of each response (src/http/response.c), and a body is taken as JSON or not at
# all. docs/quirks.md names busybox.
#
# Seen 2026-11-28 with busybox=1:1.35.0-4+deb12u1+b1:
#   Status first: HTTP/1.1 404 Not Found
#   Content-Type first: HTTP/1.1 200 OK, and a header Status: 404 Not Found
#   POST: CONTENT_LENGTH=3, 3 bytes
#   PUT: HTTP_CONTENT_LENGTH=3, 3 bytes
#   POST, chunked: no length, 13 bytes
set -eu
packages='busybox=1:1.35.0-4+deb12u1+b1'
directory=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" || true; wait "$server" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')

mkdir -p www/cgi-bin
cat >www/cgi-bin/program <<'PROGRAM'
#!/bin/sh
case $QUERY_STRING in
status) printf 'Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\n' ;;
type) printf 'Content-Type: text/plain\r\nStatus: 404 Not Found\r\n\r\n' ;;
*)
    printf 'Content-Type: text/plain\r\n\r\n'
    echo "$(env | grep CONTENT_LENGTH || echo 'no length'), $(wc -c) bytes"
    ;;
esac
PROGRAM
chmod 755 www/cgi-bin/program
root/bin/busybox httpd -f -p "127.0.0.1:$port" -h "$directory/www" >httpd.log 2>&1 &
server=$!

ask() { curl -q -s --max-time 60 --noproxy '*' --retry 20 --retry-connrefused --retry-delay 1 "$@"; }
{
    echo "Status first: $(ask -D - "http://127.0.0.1:$port/cgi-bin/program?status" | tr -d '\r' | head -n 1)"
    ask -D headers "http://127.0.0.1:$port/cgi-bin/program?type"
    tr -d '\r' <headers >lines
    echo "Content-Type first: $(head -n 1 lines), and a header $(grep '^Status' lines)"
    echo "POST: $(ask -d abc "http://127.0.0.1:$port/cgi-bin/program")"
    echo "PUT: $(ask -X PUT -d abc "http://127.0.0.1:$port/cgi-bin/program")"
    echo "POST, chunked: $(ask -H 'Transfer-Encoding: chunked' -d abc "http://127.0.0.1:$port/cgi-bin/program")"
} >seen
cat seen
cat >expected <<'OUTPUT'
Status first: HTTP/1.1 404 Not Found
Content-Type first: HTTP/1.1 200 OK, and a header Status: 404 Not Found
POST: CONTENT_LENGTH=3, 3 bytes
PUT: HTTP_CONTENT_LENGTH=3, 3 bytes
POST, chunked: no length, 13 bytes
OUTPUT
cmp expected seen
