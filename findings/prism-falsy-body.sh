#!/bin/sh
# Prism takes the JSON bodies 0, false, null and "" for no body at all: where one is required it refuses them, and where none is,
# null passes as an integer.
#
# All four are JSON texts (RFC 8259, section 2), and the document below allows any; `required` (OpenAPI 3.1, request body object)
# asks for a body, not for one that is true. A client that is tested against the mock is told that it sent nothing. {}, [] and 1
# are let through. No report of it was found.
# What this project does: tests/scripts/openapi_test sends such bodies past Prism, and the worker says what is wrong with them.
#
# Seen 2026-11-28 with @stoplight/prism-cli@5.14.2:
#   /required 1: 200
#   /required {}: 200
#   /required 0: 422, Body parameter is required
#   /required false: 422, Body parameter is required
#   /required null: 422, Body parameter is required
#   /required "": 422, Body parameter is required
#   /integer 1: 200
#   /integer "1": 422, Request body must be integer
#   /integer null: 200
set -eu
package='@stoplight/prism-cli@5.14.2'
directory=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" || true; wait "$server" || true; }; rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts "$package" >npm.log 2>&1 || { cat npm.log; exit 2; }
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')

cat >api.yaml <<'DOCUMENT'
openapi: 3.1.0
info: {title: Bodies, version: '1'}
paths:
  /required:
    post:
      requestBody: {required: true, content: {application/json: {schema: {}}}}
      responses: {'200': {description: taken}}
  /integer:
    post:
      requestBody: {content: {application/json: {schema: {type: integer}}}}
      responses: {'200': {description: taken}}
DOCUMENT
node node_modules/.bin/prism mock --port "$port" api.yaml >prism.log 2>&1 &
server=$!
tries=0
until grep -q 'is listening' prism.log; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { cat prism.log; exit 2; }
    sleep 0.2
done

ask()
{
    status=$(curl -q -s --max-time 60 --noproxy '*' -o page -w '%{http_code}' -H 'Content-Type: application/json' -d "$2" \
        "http://127.0.0.1:$port$1")
    echo "$1 $2: $status$(sed -n 's/.*"message":"\([^"]*\)".*/, \1/p' page)"
}
{
    for body in 1 '{}' 0 false null '""'; do
        ask /required "$body"
    done
    for body in 1 '"1"' null; do
        ask /integer "$body"
    done
} >seen
cat seen
cat >expected <<'OUTPUT'
/required 1: 200
/required {}: 200
/required 0: 422, Body parameter is required
/required false: 422, Body parameter is required
/required null: 422, Body parameter is required
/required "": 422, Body parameter is required
/integer 1: 200
/integer "1": 422, Request body must be integer
/integer null: 200
OUTPUT
cmp expected seen
