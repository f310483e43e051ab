#!/bin/sh
# npm's parse-prometheus-text-format 1.1.1 makes one histogram of all that have labels: of several series it keeps the last
# one's buckets, no label, no sum and no count. Summaries fare alike. Nothing is reported.
#
# A histogram with labels is what the format's own description shows (prometheus.io, "Exposition formats": each combination
# of labels has its buckets, sum and count), and what nearly every exporter has, such as a duration for each method.
# Counters and gauges keep their labels. No report of it was found.
# What this project does: /metrics has a histogram for each method; docs/quirks.md says what not to read it with.
#
# Seen 2026-11-28 with parse-prometheus-text-format@1.1.1:
#   counter: [{"value":"5","labels":{"method":"upsert"}},{"value":"7","labels":{"method":"delete"}}]
#   histogram: [{"buckets":{"0.1":"6","+Inf":"7"}}]
#   summary: [{"quantiles":{"0.5":"0.02"}}]
#   histogram without labels: [{"buckets":{"0.1":"6","+Inf":"7"},"count":"7","sum":"1.5"}]
set -eu
package='parse-prometheus-text-format@1.1.1'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts "$package" >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >parse.mjs <<'PROGRAM'
import module from 'parse-prometheus-text-format';
const parse = module.default ?? module;
const text = `# TYPE requests_total counter
requests_total{method="upsert"} 5
requests_total{method="delete"} 7
# TYPE seconds histogram
seconds_bucket{method="upsert",le="0.1"} 4
seconds_bucket{method="upsert",le="+Inf"} 5
seconds_sum{method="upsert"} 0.25
seconds_count{method="upsert"} 5
seconds_bucket{method="delete",le="0.1"} 6
seconds_bucket{method="delete",le="+Inf"} 7
seconds_sum{method="delete"} 1.5
seconds_count{method="delete"} 7
# TYPE wait summary
wait{method="upsert",quantile="0.5"} 0.01
wait_sum{method="upsert"} 0.25
wait_count{method="upsert"} 5
wait{method="delete",quantile="0.5"} 0.02
wait_sum{method="delete"} 1.5
wait_count{method="delete"} 7
# TYPE plain histogram
plain_bucket{le="0.1"} 6
plain_bucket{le="+Inf"} 7
plain_sum 1.5
plain_count 7
`;
const shown = { requests_total: 'counter', seconds: 'histogram', wait: 'summary', plain: 'histogram without labels' };
for (const family of parse(text)) {
    console.log(`${shown[family.name]}: ${JSON.stringify(family.metrics)}`);
}
PROGRAM
node parse.mjs >seen
cat seen
cat >expected <<'OUTPUT'
counter: [{"value":"5","labels":{"method":"upsert"}},{"value":"7","labels":{"method":"delete"}}]
histogram: [{"buckets":{"0.1":"6","+Inf":"7"}}]
summary: [{"quantiles":{"0.5":"0.02"}}]
histogram without labels: [{"buckets":{"0.1":"6","+Inf":"7"},"count":"7","sum":"1.5"}]
OUTPUT
cmp expected seen
