-- pgbench's transaction: what the worker sends for the sample incident, as a batch of one. bench/run puts the token's hash
-- in TOKEN's place and the schema's version in VERSION's: pgbench sets no variable inside quotes.
\set id random(1, 1000000000000)
SELECT outcomes, token_labels FROM intake.apply_batch(VERSION, ARRAY[ROW ('upsert', '\xTOKEN', 'upsert', 63, '2024-01-01 09:22:33Z', '2024-01-01 10:07:00Z', 'INC-' || :id, 'Checkout fails for card payments', 'P1', 'https://status.example.com/incidents/1042', '[["checkout","Checkout"],["payments-api",null]]', '{"cause":{"kind":"deploy","commit":"9f1c2ab"},"customers_affected":412}')::intake.operation]);
