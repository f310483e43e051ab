#!/bin/sh
# Perl's FCGI::Client 0.09 sends no body where the body is "0", and CONTENT_LENGTH=1 all the same.
#
# "0" is false in Perl, and the client asks whether there is a body by its truth. It is a JSON text (RFC 8259, section 2), a form
# without a name, a number in a file. CGI (RFC 3875, section 4.1.2) promises as many bytes as CONTENT_LENGTH says; a program
# that waits for one more byte waits in vain. "00" and "0.0" are sent. No report of it was found.
# What this project does: a body shorter than its CONTENT_LENGTH is refused as `invalid_json`, and nothing of it stored.
#
# Seen 2026-11-28 with libfcgi-client-perl=0.09-1:
#   "1": CONTENT_LENGTH=1, FCGI_STDIN: 1 byte, end
#   "0": CONTENT_LENGTH=1, FCGI_STDIN: end
#   "0.0": CONTENT_LENGTH=3, FCGI_STDIN: 3 bytes, end
set -eu
packages='libfcgi-client-perl=0.09-1 libmoo-perl=2.005005-1 libtype-tiny-perl=2.002001-1 libsub-quote-perl=2.006008-1
    libexporter-tiny-perl=1.006000-1 libclass-method-modifiers-perl=2.14-1 librole-tiny-perl=2.002004-1'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done

cat >client.pl <<'PROGRAM'
use strict;
use FCGI::Client;
use IO::Socket::UNIX;

for my $body ('1', '0', '0.0') {
    my ($ours, $theirs) = IO::Socket::UNIX->socketpair(AF_UNIX, SOCK_STREAM, 0) or die;
    my $child = fork // die;
    if ($child == 0) {
        close $ours;
        FCGI::Client::Connection->new(sock => $theirs)
            ->request({ REQUEST_METHOD => 'POST', CONTENT_LENGTH => length $body }, $body);
        exit;
    }
    close $theirs;
    my ($length, @stdin) = ('none');
    while (read($ours, my $header, 8) == 8) {
        my ($version, $type, $id, $len, $padding) = unpack 'CCnnC', $header;
        read($ours, my $content, $len + $padding) if $len + $padding;
        $length = $1 if $type == 4 && $len && $content =~ /CONTENT_LENGTH(\d+)/;
        push @stdin, $len == 0 ? 'end' : $len == 1 ? '1 byte' : "$len bytes" if $type == 5;
        last if $type == 5 && $len == 0;
    }
    print $ours pack('CCnnCCNC4', 1, 3, 1, 8, 0, 0, 0, 0, 0, 0, 0);
    close $ours;
    waitpid $child, 0;
    print "\"$body\": CONTENT_LENGTH=$length, FCGI_STDIN: ", join(', ', @stdin), "\n";
}
PROGRAM
PERL5LIB=$directory/root/usr/share/perl5 perl client.pl >seen
cat seen
cat >expected <<'OUTPUT'
"1": CONTENT_LENGTH=1, FCGI_STDIN: 1 byte, end
"0": CONTENT_LENGTH=1, FCGI_STDIN: end
"0.0": CONTENT_LENGTH=3, FCGI_STDIN: 3 bytes, end
OUTPUT
cmp expected seen
