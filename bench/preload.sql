-- Stores the incidents KEPT-(:first) to KEPT-(:last) as load.lua sends them.
SET synchronous_commit = off;
INSERT INTO intake.incident
    (reference_id, name, priority, source_url, started_at, resolved_at, services, metadata, created_at, updated_at)
SELECT 'KEPT-' || n, 'Checkout fails for card payments', 'P1', 'https://status.example.com/incidents/1042',
       '2024-01-01 09:22:33Z', '2024-01-01 10:07:00Z', '[["checkout","Checkout"],["payments-api",null]]',
       '{"cause":{"kind":"deploy","commit":"9f1c2ab"},"customers_affected":412}', now(), now()
FROM generate_series(:first, :last) n;
