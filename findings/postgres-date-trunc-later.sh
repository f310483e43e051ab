#!/bin/sh
# PostgreSQL's date_trunc('day', moment, zone) can lie after the moment: by up to an hour, where clocks go back over midnight.
#
# There a day begins twice. The manual (section 9.9.2) has date_trunc set what is less significant to zero, with
# the midnight of the zone as its result. It finds that midnight by the rule for ambiguous input (appendix B.2): the second one.
# So `t >= date_trunc('day', t, zone)` is false for the first hour of that day, an incident of then is older than "today", and
# where the day is the first of a month, date_trunc('month') is as late. 'hour' is right. No report of it was found.
# What this project does: the views' periods begin at the first of two midnights (migrations/0003_reporting.sql,
# time_zones_test).
#
# It is run in PGlite, which is PostgreSQL for Node.js; 15.20 of Debian says the same.
#
# Seen 2026-11-28 with @electric-sql/pglite@0.5.17, PostgreSQL 18.7:
#   Atlantic/Azores, day: 2025-10-26 00:20 UTC becomes 2025-10-26 01:00 UTC, 00:40:00 later
#   Atlantic/Azores, hour: 2025-10-26 00:20 UTC becomes 2025-10-26 00:00 UTC
#   America/Havana, day: 2020-11-01 04:10 UTC becomes 2020-11-01 05:00 UTC, 00:50:00 later
#   America/Havana, month: 2020-11-01 04:10 UTC becomes 2020-11-01 05:00 UTC, 00:50:00 later
set -eu
package='@electric-sql/pglite@0.5.17'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts "$package" >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >truncate.mjs <<'PROGRAM'
import { PGlite } from '@electric-sql/pglite';
const database = new PGlite();
await database.query("SET TimeZone = 'UTC'");
const { rows } = await database.query(`
    SELECT format('%s, %s: %s UTC becomes %s UTC%s', zone, unit, left(moment::text, 16), left(start::text, 16),
                  ', ' || CASE WHEN start > moment THEN start - moment END || ' later') AS line
    FROM (VALUES ('Atlantic/Azores', 'day', timestamptz '2025-10-26 00:20Z'),
                 ('Atlantic/Azores', 'hour', '2025-10-26 00:20Z'),
                 ('America/Havana', 'day', '2020-11-01 04:10Z'),
                 ('America/Havana', 'month', '2020-11-01 04:10Z')) v (zone, unit, moment)
    CROSS JOIN LATERAL date_trunc(unit, moment, zone) start`);
for (const { line } of rows) {
    console.log(line);
}
await database.close();
PROGRAM
node truncate.mjs >seen
cat seen
cat >expected <<'OUTPUT'
Atlantic/Azores, day: 2025-10-26 00:20 UTC becomes 2025-10-26 01:00 UTC, 00:40:00 later
Atlantic/Azores, hour: 2025-10-26 00:20 UTC becomes 2025-10-26 00:00 UTC
America/Havana, day: 2020-11-01 04:10 UTC becomes 2020-11-01 05:00 UTC, 00:50:00 later
America/Havana, month: 2020-11-01 04:10 UTC becomes 2020-11-01 05:00 UTC, 00:50:00 later
OUTPUT
cmp expected seen
