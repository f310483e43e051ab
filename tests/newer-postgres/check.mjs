// The SQL on PostgreSQL releases newer than Debian's: every item of a batch gets its own verdict, in its own place, and what
// is stored is what the verdicts say. PostgreSQL 16 began to feed aggregates in another order, which once handed them round.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const directory = pathToFileURL(`${path.resolve(process.argv[2])}/`);
const files = fs.readdirSync(directory).filter((name) => /^\d+_.*\.sql$/.test(name)).sort();
// The worker's own statement.
const statement = [...fs.readFileSync(new URL('../src/store/database.c', directory), 'utf8')
    .match(/char query\[\] =([^;]*);/)[1].matchAll(/"(.*)"/g)].map(([, text]) => text).join('');
const good = 'aa'.repeat(32), weak = 'cc'.repeat(32), unknown = 'bb'.repeat(32);

function shuffled(items) {
    return items.map((item) => [Math.random(), item]).sort((a, b) => a[0] - b[0]).map(([, item]) => item);
}

// Each with the verdict that it must get.
function batch(round) {
    const upsert = (token, name) => ({ op: 'upsert', token, reference_id: `${name} ${round}`, started_at: '2024-01-01T00:00:00Z' });
    return shuffled([
        [upsert(good, 'Z'), 'created'], [upsert(good, 'a'), 'created'], [upsert(good, 'ä'), 'created'],
        [upsert(unknown, 'M'), 'not_authed'], [upsert(weak, 'K'), 'not_permitted'],
        [{ ...upsert(good, 'kept'), reference_id: 'kept' }, 'unchanged'],
        [{ op: 'delete', token: weak, reference_id: `never ${round}` }, 'not_found'],
        [{ op: 'delete', token: weak, reference_id: `Z ${round - 1}` }, round === 0 ? 'not_found' : 'deleted'],
        [{ op: 'authorize', token: weak, scope: 'delete' }, 'authorized'], [{ op: 'authorize', token: weak, scope: 'upsert' }, 'not_permitted'],
        [{ op: 'ping' }, 'ready']]);
}

for (const release of ['postgres16', 'postgres17', 'postgres18']) {
    const { PGlite } = await import(release);
    const db = new PGlite();
    const apply = async (items) => (await db.query(statement,
        [files.length, JSON.stringify(items), null, null, null, '{}'])).rows.map((row) => row.outcome);

    for (const file of files) await db.exec(fs.readFileSync(new URL(file, directory), 'utf8'));
    await db.exec(`INSERT INTO intake.api_token (token_hash, prefix, label, scopes) VALUES
        (decode('${good}', 'hex'), 'p', 'good', '{upsert,delete}'), (decode('${weak}', 'hex'), 'p', 'weak', '{delete}')`);
    assert.deepEqual(await apply([{ op: 'upsert', token: good, reference_id: 'kept', started_at: '2024-01-01T00:00:00Z' }]), ['created']);
    for (let round = 0; round < 20; round++) {
        const items = batch(round);
        assert.deepEqual(await apply(items.map(([item]) => item)), items.map(([, verdict]) => verdict), JSON.stringify(items));
    }
    // Of each round a and ä, of the last Z too, and kept.
    assert.equal((await db.query('SELECT count(*)::int AS n FROM intake.incident')).rows[0].n, 20 * 2 + 1 + 1);
    const views = (await db.query("SELECT table_name AS name FROM information_schema.views WHERE table_schema = 'reporting'")).rows;
    for (const { name } of views) await db.query(`SELECT * FROM reporting.${name}`);
    console.log(`${(await db.query('SHOW server_version')).rows[0].server_version}: good, ${views.length} views`);
    await db.close();
}
