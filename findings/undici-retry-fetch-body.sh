#!/bin/sh
# undici's RetryAgent does not repeat a POST of fetch that has a body: where the server said 503, fetch waits for Retry-After and
# then rejects with "fetch failed", as if no server were there.
#
# The manual (RetryAgent, RetryHandler) has it repeat the methods that `methods` names, after Retry-After. Bodies that cannot be
# read twice it says are recognised, and rejected with UND_ERR_REQ_RETRY; a string is none of those. But fetch hands every body
# on as an iterator, which the first attempt has read to its end. The same string is repeated by undici's own request().
# Upstream knows it: nodejs/undici issue 3288, closed.
# What this project does: docs/senders/javascript.mjs repeats by itself, and docs/senders.md names this trap.
#
# Seen 2026-11-28 with undici@7.30.2:
#   request, string: 200; whole requests at the server: 2
#   fetch, string: fetch failed: UND_ERR_REQ_CONTENT_LENGTH_MISMATCH; whole requests at the server: 1
#   fetch, no body: 200; whole requests at the server: 2
set -eu
package='undici@7.30.2'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts "$package" >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >retry.mjs <<'PROGRAM'
import http from 'node:http';
import { once } from 'node:events';
import { Agent, RetryAgent, fetch, request } from 'undici';

async function attempt(what, send) {
    let whole = 0;
    const server = http.createServer((received, response) => {
        received.resume().on('end', () => {
            whole++;
            response.writeHead(whole === 1 ? 503 : 200, whole === 1 ? { 'Retry-After': '1' } : {});
            response.end();
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const agent = new RetryAgent(new Agent(), { maxRetries: 1, methods: ['POST'] });
    let result;
    try {
        result = await send(`http://127.0.0.1:${server.address().port}/`, agent);
    } catch (error) {
        result = `${error.message}: ${error.cause?.code}`;
    }
    await agent.destroy();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    console.log(`${what}: ${result}; whole requests at the server: ${whole}`);
}

const body = '{"a":1}';
await attempt('request, string', async (url, dispatcher) =>
    (await request(url, { method: 'POST', body, dispatcher })).statusCode);
await attempt('fetch, string', async (url, dispatcher) => (await fetch(url, { method: 'POST', body, dispatcher })).status);
await attempt('fetch, no body', async (url, dispatcher) => (await fetch(url, { method: 'POST', dispatcher })).status);
PROGRAM
node retry.mjs >seen
cat seen
cat >expected <<'OUTPUT'
request, string: 200; whole requests at the server: 2
fetch, string: fetch failed: UND_ERR_REQ_CONTENT_LENGTH_MISMATCH; whole requests at the server: 1
fetch, no body: 200; whole requests at the server: 2
OUTPUT
cmp expected seen
