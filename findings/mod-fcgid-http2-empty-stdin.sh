#!/bin/sh
# mod_fcgid ends the body before it begins: over HTTP/2 without a Content-Length, an empty FCGI_STDIN comes first.
#
# An empty record of that type is how FastCGI ends a stream. Over HTTP/2 mod_fcgid turns each empty piece of its input into
# one, and counts a CONTENT_LENGTH that is right. A program that believes the first of the two has an empty body.
# What this project does: src/fastcgi/parser.c lets an empty record end the body only where CONTENT_LENGTH bytes are there.
#
# The program below answers with the types of the records that it was sent (1: begin, 4: FCGI_PARAMS, 5: FCGI_STDIN) and
# the bytes of each FCGI_STDIN, up to the empty one behind CONTENT_LENGTH bytes.
#
# Seen 2026-11-28 with libapache2-mod-fcgid=1:2.3.9-4 and apache2-bin=2.4.71-1~deb12u1:
#   HTTP/1.1: records 1 4 4 5(3) 5(0), CONTENT_LENGTH=3
#   HTTP/2: records 1 4 4 5(0) 5(3) 5(0), CONTENT_LENGTH=3
set -eu
packages='libapache2-mod-fcgid=1:2.3.9-4 apache2-bin=2.4.71-1~deb12u1 libapr1=1.7.2-3+deb12u1 libaprutil1=1.6.3-1+deb12u1
    libnghttp2-14=1.52.0-1+deb12u3'
directory=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" || true; wait "$server" || true; }; rm -rf "$directory"' EXIT
chmod 755 "$directory" # the program runs as nobody where this is run by root
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
modules=$directory/root/usr/lib/apache2/modules
libraries=$(dirname "$(find "$directory/root" -name 'libapr-1.so.0')")
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')

cat >records.fcgi <<'PROGRAM'
#!/usr/bin/perl
use strict;
use IO::Socket::UNIX;

sub take {
    my ($peer, $wanted) = @_;
    my $bytes = '';
    while (length $bytes < $wanted) {
        read($peer, $bytes, $wanted - length $bytes, length $bytes) or exit;
    }
    return $bytes;
}

my $socket = IO::Socket::UNIX->new_from_fd(0, 'r+');
while (my $peer = $socket->accept) {
    my ($params, $total, $seen) = ('', 0, '');
    while (1) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', take($peer, 8);
        my $content = take($peer, $len + $padding);
        $seen .= $type == 5 ? " 5($len)" : " $type";
        $params .= $content if $type == 4;
        $total += $len if $type == 5;
        last if $type == 5 && $len == 0 && $total >= ($params =~ /CONTENT_LENGTH(\d+)/ ? $1 : 0);
    }
    $params =~ /CONTENT_LENGTH(\d*)/;
    my $page = "Content-Type: text/plain\r\n\r\nrecords$seen, CONTENT_LENGTH=$1\n";
    print $peer pack('CCnnCC', 1, 6, 1, length $page, 0, 0), $page, pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
    close $peer;
}
PROGRAM
chmod 755 records.fcgi
cat >apache.conf <<CONFIGURATION
ServerName localhost
Listen 127.0.0.1:$port
PidFile $directory/apache.pid
ErrorLog $directory/error.log
DefaultRuntimeDir $directory
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule http2_module $modules/mod_http2.so
LoadModule fcgid_module $modules/mod_fcgid.so
User nobody
Group nogroup
Protocols h2c http/1.1
FcgidIPCDir $directory/ipc
FcgidProcessTableFile $directory/table
DocumentRoot $directory
<Files records.fcgi>
    SetHandler fcgid-script
    Options +ExecCGI
</Files>
CONFIGURATION
LD_LIBRARY_PATH=$libraries root/usr/sbin/apache2 -DFOREGROUND -f "$directory/apache.conf" >apache.log 2>&1 &
server=$!
url=http://127.0.0.1:$port/records.fcgi

# A body that curl reads from a pipe has no Content-Length: in HTTP/1.1 it is chunked, in HTTP/2 its frames end it.
post()
{
    printf abc | curl -s --retry 50 --retry-delay 1 --retry-connrefused --max-time 60 "$1" -X POST -T - "$url"
}
{
    echo "HTTP/1.1: $(post --http1.1)"
    echo "HTTP/2: $(post --http2-prior-knowledge)"
} >seen
cat seen
cat >expected <<'OUTPUT'
HTTP/1.1: records 1 4 4 5(3) 5(0), CONTENT_LENGTH=3
HTTP/2: records 1 4 4 5(0) 5(3) 5(0), CONTENT_LENGTH=3
OUTPUT
cmp expected seen
