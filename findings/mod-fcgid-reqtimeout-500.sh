#!/bin/sh
# Where mod_reqtimeout gives up on a slow body, mod_fcgid answers 500 Internal Server Error, and mod_cgid 408 Request Timeout.
#
# 408 is what RFC 9110, section 15.5.9, has for it, and what mod_reqtimeout's manual says is sent. A sender that is told 500 looks
# for a defect in the program, which has not even been asked: mod_fcgid makes a 500 of every failure to read a body.
# What this project does: apache/incidents-errors.conf answers both in JSON: send it again. docs/servers tells them apart.
#
# Seen 2026-11-28 with libapache2-mod-fcgid=1:2.3.9-4 and apache2-bin=2.4.71-1~deb12u1, a body of Content-Length: 3:
#   mod_cgid, 3 bytes: HTTP/1.1 200 OK
#   mod_fcgid, 3 bytes: HTTP/1.1 200 OK
#   mod_cgid, 2 bytes and a pause: HTTP/1.1 408 Request Timeout
#   mod_fcgid, 2 bytes and a pause: HTTP/1.1 500 Internal Server Error
set -eu
packages='libapache2-mod-fcgid=1:2.3.9-4 apache2-bin=2.4.71-1~deb12u1 libapr1=1.7.2-3+deb12u1 libaprutil1=1.6.3-1+deb12u1'
directory=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" || true; wait "$server" || true; }; rm -rf "$directory"' EXIT
chmod 755 "$directory" # the programs run as nobody where this is run by root
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
modules=$directory/root/usr/lib/apache2/modules
libraries=$(dirname "$(find "$directory/root" -name 'libapr-1.so.0')")
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')

cat >program.cgi <<'PROGRAM'
#!/bin/sh
cat >/dev/null
printf 'Content-Type: text/plain\r\n\r\nthe program\n'
PROGRAM
cat >program.fcgi <<'PROGRAM'
#!/usr/bin/perl
use strict;
use IO::Socket::UNIX;

my $socket = IO::Socket::UNIX->new_from_fd(0, 'r+');
while (my $peer = $socket->accept) {
    while (read($peer, my $header, 8) == 8) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
        read($peer, my $content, $len + $padding) if $len + $padding;
        next unless $type == 5 && $len == 0;
        my $page = "Content-Type: text/plain\r\n\r\nthe program\n";
        print $peer pack('CCnnCC', 1, 6, 1, length $page, 0, 0), $page, pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
        last;
    }
    close $peer;
}
PROGRAM
chmod 755 program.cgi program.fcgi
cat >apache.conf <<CONFIGURATION
ServerName localhost
Listen 127.0.0.1:$port
PidFile $directory/apache.pid
ErrorLog $directory/error.log
DefaultRuntimeDir $directory
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule reqtimeout_module $modules/mod_reqtimeout.so
LoadModule cgid_module $modules/mod_cgid.so
LoadModule fcgid_module $modules/mod_fcgid.so
User nobody
Group nogroup
RequestReadTimeout body=2
ScriptSock $directory/cgid.sock
FcgidIPCDir $directory/ipc
FcgidProcessTableFile $directory/table
DocumentRoot $directory
<FilesMatch "^program[.]">
    SetHandler cgi-script
    Options +ExecCGI
</FilesMatch>
<Files program.fcgi>
    SetHandler fcgid-script
</Files>
CONFIGURATION
LD_LIBRARY_PATH=$libraries root/usr/sbin/apache2 -DFOREGROUND -f "$directory/apache.conf" >apache.log 2>&1 &
server=$!

cat >slow.pl <<'CLIENT'
use strict;
use IO::Socket::INET;

my ($port, $path, $body) = @ARGV;
my $peer;
for (1 .. 100) {
    $peer = IO::Socket::INET->new("127.0.0.1:$port") and last;
    select undef, undef, undef, 0.1;
}
print $peer "POST $path HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\n$body";
print scalar <$peer>;
CLIENT
ask()
{
    echo "$1: $(perl slow.pl "$port" "$2" "$3" | tr -d '\r')"
}
{
    ask 'mod_cgid, 3 bytes' /program.cgi abc
    ask 'mod_fcgid, 3 bytes' /program.fcgi abc
    ask 'mod_cgid, 2 bytes and a pause' /program.cgi ab
    ask 'mod_fcgid, 2 bytes and a pause' /program.fcgi ab
} >seen
cat seen
cat >expected <<'OUTPUT'
mod_cgid, 3 bytes: HTTP/1.1 200 OK
mod_fcgid, 3 bytes: HTTP/1.1 200 OK
mod_cgid, 2 bytes and a pause: HTTP/1.1 408 Request Timeout
mod_fcgid, 2 bytes and a pause: HTTP/1.1 500 Internal Server Error
OUTPUT
cmp expected seen
