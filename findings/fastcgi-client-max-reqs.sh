#!/bin/sh
# npm's fastcgi-client 0.2.0 looks for the limit maxReqs under the name maxConns: with maxReqs alone there is no limit, and with
# both, that of connections holds for requests.
#
# The manual has maxReqs bound the concurrent requests, where mpxsConns sends several over one connection. A number of 65535 or
# less is tested, and options.maxConns taken. Where that is undefined, each comparison with it is false, so the server's own
# FCGI_MAX_REQS is ignored too, and a program that takes one request at a time is sent as many as there are. No report was found.
# What this project does: FCGI_MPXS_CONNS is 0, and a second request within the first is not executed (fastcgi_test).
#
# Seen 2026-11-28 with fastcgi-client@0.2.0, five requests at once:
#   maxReqs 1: 5 sent, 0 refused by the client
#   maxReqs 5, maxConns 1: 1 sent, 4 refused by the client
set -eu
package='fastcgi-client@0.2.0'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts "$package" >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >client.js <<'PROGRAM'
const net = require('net');
const connect = require('fastcgi-client');

// It takes connections and answers nothing: what the client sends at once is what is counted.
function attempt(what, options, next) {
    const server = net.createServer((socket) => socket.resume()).listen(0, '127.0.0.1', () => {
        const client = connect({ port: server.address().port, skipCheckServer: true, mpxsConns: true, ...options });
        client.on('ready', () => {
            let sent = 0, refused = 0;
            for (let i = 0; i < 5; i++) {
                client.request({ REQUEST_METHOD: 'GET' }, (error) => {
                    error ? refused++ : sent++;
                    if (sent + refused === 5) {
                        console.log(`${what}: ${sent} sent, ${refused} refused by the client`);
                        next();
                    }
                });
            }
        });
    });
}
attempt('maxReqs 1', { maxReqs: 1 },
    () => attempt('maxReqs 5, maxConns 1', { maxReqs: 5, maxConns: 1 }, () => process.exit()));
PROGRAM
node --no-deprecation client.js >seen
cat seen
cat >expected <<'OUTPUT'
maxReqs 1: 5 sent, 0 refused by the client
maxReqs 5, maxConns 1: 1 sent, 4 refused by the client
OUTPUT
cmp expected seen
