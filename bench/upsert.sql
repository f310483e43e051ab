-- pgbench's transaction: what the worker sends for the sample incident, as a batch of one. bench/run puts the token's hash
-- in TOKEN's place and the schema's version in VERSION's: pgbench sets no variable inside quotes.
\set id random(1, 1000000000000)
SELECT outcome, token_label FROM intake.apply_batch(VERSION, ('[{"op":"upsert","token":"TOKEN","reference_id":"INC-' || :id::text || '","started_at":"2024-01-01 09:22:33.000000+00","resolved_at":"2024-01-01 10:07:00.000000+00","name":"Checkout fails for card payments","priority":"P1","source_url":"https://status.example.com/incidents/1042","services":[["checkout","Checkout"],["payments-api",null]],"metadata":{"cause":{"kind":"deploy","commit":"9f1c2ab"},"customers_affected":412}}]')::jsonb);
