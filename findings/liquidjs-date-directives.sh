#!/bin/sh
# liquidjs leaves %F, %T and seven more directives of the filter `date` as they are: a time in ISO 8601 becomes "%FT%T+00:00".
#
# Its manual says that it follows Shopify's Liquid, which uses Ruby's strftime, and names two differences, %Z and %q. Ruby has
# %F and %T, and templates for webhooks use them. The text is sent without an error, and refused far away, or stored as a name.
# Upstream has a closed report of %Z (harttle/liquidjs issue 684); none of these was found.
# What this project does: its templates write %Y-%m-%dT%H:%M:%S%z, which both have (docs/senders.md).
#
# Seen 2026-11-28 with liquidjs@10.30.1:
#   %FT%T%:z: %FT%T+00:00
#   %Y-%m-%dT%H:%M:%S%:z: 2024-12-30T11:22:33+00:00
#   Ruby's directives that are left: %D %F %G %g %R %r %T %V %v
set -eu
package='liquidjs@10.30.1'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts "$package" >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >render.mjs <<'PROGRAM'
import { Liquid } from 'liquidjs';
const engine = new Liquid({ timezoneOffset: 0 });
const render = (format) => engine.parseAndRenderSync(`{{ '2024-12-30T11:22:33Z' | date: '${format}' }}`);
for (const format of ['%FT%T%:z', '%Y-%m-%dT%H:%M:%S%:z']) {
    console.log(`${format}: ${render(format)}`);
}
// Those of Time#strftime in Ruby 3.1.
const directives = [...'YCymBbhdejHkIlPpMSLNzZAauwGgVUWscDFvxXrRTnt'].map((letter) => `%${letter}`);
const left = directives.filter((directive) => render(directive) === directive);
const order = new Intl.Collator('en', { caseFirst: 'upper' }).compare;
console.log(`Ruby's directives that are left: ${left.sort(order).join(' ')}`);
PROGRAM
node render.mjs >seen
cat seen
cat >expected <<'OUTPUT'
%FT%T%:z: %FT%T+00:00
%Y-%m-%dT%H:%M:%S%:z: 2024-12-30T11:22:33+00:00
Ruby's directives that are left: %D %F %G %g %R %r %T %V %v
OUTPUT
cmp expected seen
