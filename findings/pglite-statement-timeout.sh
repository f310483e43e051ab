#!/bin/sh
# PGlite takes SET statement_timeout and shows it, and lets a statement run on for as long as it likes.
#
# PostgreSQL's manual (Client Connection Defaults) has a statement that takes longer aborted. PGlite is that server, built for
# WebAssembly, where no timer interrupts a statement; its manual names no such limit. transaction_timeout is taken in the same
# way. So a test of "the database is too slow" passes on PGlite without ever being one. No report of it was found.
# What this project does: its tests run on PostgreSQL itself, or against a server of theirs that is silent (slow_database_test).
#
# Seen 2026-11-28 with @electric-sql/pglite@0.5.17, PostgreSQL 18.7:
#   statement_timeout is 100ms: pg_sleep(1) returned
#   transaction_timeout is 100ms: pg_sleep(1) returned
set -eu
package='@electric-sql/pglite@0.5.17'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts "$package" >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >sleep.mjs <<'PROGRAM'
import { PGlite } from '@electric-sql/pglite';
const database = new PGlite();
for (const name of ['statement_timeout', 'transaction_timeout']) {
    await database.query(`SET ${name} = '100ms'`);
    const shown = (await database.query(`SHOW ${name}`)).rows[0][name];
    let result = 'returned';
    try {
        await database.query('SELECT pg_sleep(1)');
    } catch (error) {
        result = `failed with ${error.code}`;
    }
    console.log(`${name} is ${shown}: pg_sleep(1) ${result}`);
    await database.query(`RESET ${name}`);
}
await database.close();
PROGRAM
node sleep.mjs >seen
cat seen
cat >expected <<'OUTPUT'
statement_timeout is 100ms: pg_sleep(1) returned
transaction_timeout is 100ms: pg_sleep(1) returned
OUTPUT
cmp expected seen
