// Sends an incident until it is stored or refused; Node 18, Deno, Bun and browsers have fetch.
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

const retry = new Set([408, 429, 500, 502, 503, 504]);

export async function upsert(incident, attempts = 8) {
  let wait = 0;
  let last;
  for (let attempt = 0; attempt < attempts; attempt++) {
    await sleep(wait * 1000);
    wait = Math.min(2 ** attempt, 60);
    try {
      const response = await fetch(`${process.env.INCIDENTS_URL}incidents.upsert`, {
        method: "POST",
        headers: {
          Authorization: `Bearer ${process.env.INCIDENTS_TOKEN}`,
          "Content-Type": "application/json",
        },
        body: JSON.stringify(incident),
        signal: AbortSignal.timeout(60_000),
      });
      const body = await response.text();
      if (response.status === 200) {
        const said = JSON.parse(body);
        if (said.ok) return said.action;
      }
      last = new Error(`${response.status} ${body}`);
      if (!retry.has(response.status)) throw Object.assign(last, { refused: true }); // it will be refused again
      wait = Number(response.headers.get("Retry-After")) || wait;
    } catch (error) {
      if (error.refused) throw error;
      last = error; // not reached, or the response got lost: sending it again is safe
    }
  }
  throw new Error(`not stored after ${attempts} attempts`, { cause: last });
}

console.log(await upsert(JSON.parse(await text(process.stdin))));
