#!/bin/sh
# jq's todate writes the year 1 as "1", which is no ISO 8601; gojq's fromdate refuses that one moment, and takes the next second.
#
# 0001-01-01T00:00:00Z is how Go programs write "no time": an incident that is still open, in exports of several products. jq's
# manual has todate write ISO 8601, where a year has four digits; jq leaves that to the C library's strftime, which pads no year.
# gojq, a jq in Go, takes the result of its parser for "could not be read" where it is Go's zero time. So neither takes the
# moment there and back: jq by its text, gojq not at all. No report of either was found.
# What this project does: share/incidents/import/prelude.jq writes the zeros (import_test), and compares no such text.
#
# Seen 2026-11-28 with jq=1.6-2.1+deb12u3 and gojq=0.12.11-1:
#   jq, -62135596800 | todate: "1-01-01T00:00:00Z"
#   gojq, -62135596800 | todate: "0001-01-01T00:00:00Z"
#   jq, "0001-01-01T00:00:00Z" | fromdate: -62135596800
#   gojq, "0001-01-01T00:00:00Z" | fromdate: an error
#   jq, "0001-01-01T00:00:01Z" | fromdate: -62135596799
#   gojq, "0001-01-01T00:00:01Z" | fromdate: -62135596799
set -eu
packages='jq=1.6-2.1+deb12u3 libjq1=1.6-2.1+deb12u3 libonig5=6.9.8-1 gojq=0.12.11-1'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
libraries=$(dirname "$(find "$directory/root" -name 'libjq.so.1')")

for filter in '-62135596800 | todate' '"0001-01-01T00:00:00Z" | fromdate' '"0001-01-01T00:00:01Z" | fromdate'; do
    for program in jq gojq; do
        seen=$(LD_LIBRARY_PATH=$libraries "root/usr/bin/$program" -n "$filter" 2>errors) || seen='an error'
        echo "$program, $filter: $seen"
    done
done >seen
cat seen
cat >expected <<'OUTPUT'
jq, -62135596800 | todate: "1-01-01T00:00:00Z"
gojq, -62135596800 | todate: "0001-01-01T00:00:00Z"
jq, "0001-01-01T00:00:00Z" | fromdate: -62135596800
gojq, "0001-01-01T00:00:00Z" | fromdate: an error
jq, "0001-01-01T00:00:01Z" | fromdate: -62135596799
gojq, "0001-01-01T00:00:01Z" | fromdate: -62135596799
OUTPUT
cmp expected seen
