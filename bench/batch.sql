-- pgbench's transaction: a batch of 64 as a busy worker sends it, made in the database. bench/run puts the token's hash in
-- TOKEN's place, the schema's version in VERSION's, and in KEY's what makes the reference_id of item n.
\set id random(1, 1000000000000)
SELECT cardinality(outcomes) FROM intake.apply_batch(VERSION, ARRAY(SELECT ROW ('upsert', '\xTOKEN', 'upsert', 63, '2024-01-01 09:22:33Z', '2024-01-01 10:07:00Z', KEY, 'Checkout fails for card payments ' || :id, 'P1', 'https://status.example.com/incidents/1042', '[["checkout","Checkout"],["payments-api",null]]', '{"cause":{"kind":"deploy","commit":"9f1c2ab"},"customers_affected":412}')::intake.operation FROM generate_series(1, 64) n));
