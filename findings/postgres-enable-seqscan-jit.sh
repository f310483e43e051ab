#!/bin/sh
# PostgreSQL up to 17 compiles a query of one row, with every optimisation, where enable_seqscan=off meets a table without an
# index: tens of milliseconds in place of none.
#
# The manual has enable_seqscan (Query Planning) discourage a kind of plan, and a query compiled where it is costly ("When to
# JIT?"). The plan that is taken all the same carries the penalty of 10,000,000,000 in its cost, far past each limit of JIT.
# enable_nestloop and the other settings of that kind do the same. PostgreSQL 18 counts such plans apart from their cost.
# What this project does: intake.apply_batch turns sequential scans off, and what scans on purpose turns them on again
# (intake.forget_attempts in migrations/0002_functions.sql).
#
# Seen 2026-11-28 with postgresql-15=15.20-0+deb12u1:
#   enable_seqscan on: cost=0.00..1.01, not compiled
#   enable_seqscan off: cost=10000000000.00..10000000001.01, compiled, Inlining true, Optimization true
#   enable_seqscan off, jit off: cost=10000000000.00..10000000001.01, not compiled
set -eu
packages='postgresql-15=15.20-0+deb12u1 libllvm14=1:14.0.6-12'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
chmod 755 "$directory" # PostgreSQL runs as nobody where this is run by root
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
programs=$directory/root/usr/lib/postgresql/15/bin
libraries=$(dirname "$(find "$directory/root" -name 'libLLVM-14.so.1')")

mkdir data
as=
[ "$(id -u)" -ne 0 ] || { chown nobody data && as='setpriv --reuid=nobody --regid=nogroup --clear-groups'; }
postgres()
{
    program=$1
    shift
    LD_LIBRARY_PATH=$libraries LC_ALL=C $as "$programs/$program" "$@"
}
postgres initdb --auth=trust --no-sync -D data >initdb.log 2>&1 || { cat initdb.log; exit 2; }
explain()
{
    echo "CREATE TEMPORARY TABLE one AS SELECT 1 AS a; ANALYZE one; $2
EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT * FROM one WHERE a = 1;" | postgres postgres --single -D data postgres >plan 2>&1
    cost=$(sed -n 's/.*Seq Scan.*(\(cost=[0-9.]*\).*/\1/p' plan)
    jit=$(sed -n 's/.*Options: \(Inlining [a-z]*, Optimization [a-z]*\).*/compiled, \1/p' plan)
    echo "$1: $cost, ${jit:-not compiled}"
}
{
    explain 'enable_seqscan on' ''
    explain 'enable_seqscan off' 'SET enable_seqscan = off;'
    explain 'enable_seqscan off, jit off' 'SET enable_seqscan = off; SET jit = off;'
} >seen
cat seen
cat >expected <<'OUTPUT'
enable_seqscan on: cost=0.00..1.01, not compiled
enable_seqscan off: cost=10000000000.00..10000000001.01, compiled, Inlining true, Optimization true
enable_seqscan off, jit off: cost=10000000000.00..10000000001.01, not compiled
OUTPUT
cmp expected seen || { cat plan; exit 1; }
