#!/bin/sh
# libfcgi's FCGX_ClearError clears the error of a stream, and leaves it closed: a flush sends nothing and
# reports success, and a write of more than the buffer fails.
#
# fcgiapp.h says that it clears "the stream error code and end-of-file indication". Behind a write that failed
# the stream's isClosed, which the failure has set, stays: a program that clears the error and goes on, as
# after clearerr(3), loses all that it writes from then on.
# What this project does: src/fastcgi/writer.c clears isClosed itself, and writer_test writes a long response
# behind one that failed.
#
# Seen 2026-11-28 with libfcgi0ldbl=2.4.2-2+deb12u1:
#   before: wrote 3
#   after a failed flush: error 32, closed 1
#   after FCGX_ClearError: error 0, closed 1, of 3 bytes wrote 3, flush returned 0, of 4000 bytes wrote -1
set -eu
packages='libfcgi0ldbl=2.4.2-2+deb12u1 libfcgi-dev=2.4.2-2+deb12u1'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
libraries=$(dirname "$(find root -name 'libfcgi.so.0')")

cat >clear.c <<'PROGRAM'
#include <fcgiapp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    FCGX_Stream *out;
    static const char bytes[4000];
    int pair[2];

    signal(SIGPIPE, SIG_IGN);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    out = FCGX_CreateWriter(pair[1], 1, 1024, 6);
    printf("before: wrote %d\n", FCGX_PutStr("abc", 3, out));
    close(pair[0]);
    FCGX_FFlush(out);
    printf("after a failed flush: error %d, closed %d\n", FCGX_GetError(out), out->isClosed);
    dup2(socket(AF_UNIX, SOCK_DGRAM, 0), pair[1]);
    FCGX_ClearError(out);
    printf("after FCGX_ClearError: error %d, closed %d,", FCGX_GetError(out), out->isClosed);
    printf(" of 3 bytes wrote %d", FCGX_PutStr("abc", 3, out));
    printf(", flush returned %d,", FCGX_FFlush(out));
    printf(" of 4000 bytes wrote %d\n", FCGX_PutStr(bytes, sizeof bytes, out));
    return 0;
}
PROGRAM
cc -I"$(dirname "$(find root -name fcgiapp.h)")" -o clear clear.c -L"$libraries" -l:libfcgi.so.0
LD_LIBRARY_PATH=$libraries ./clear >seen
cat seen
cat >expected <<'SEEN'
before: wrote 3
after a failed flush: error 32, closed 1
after FCGX_ClearError: error 0, closed 1, of 3 bytes wrote 3, flush returned 0, of 4000 bytes wrote -1
SEEN
cmp -s seen expected || { echo "this has changed"; exit 1; }
