-- A year of incidents up to now, for the questions of docs/reporting.md. No chance in it: the same every time, but for the day.
INSERT INTO intake.incident
    (reference_id, name, priority, source_url, started_at, resolved_at, services, metadata, created_at, updated_at)
SELECT 'INC-' || 1000 + n,
       (ARRAY['Checkout fails', 'Search is slow', 'Nobody can log in', 'Mails come late'])[1 + n % 4],
       (ARRAY['P3', 'P2', 'P3', 'P1', 'P3'])[1 + n % 5],
       'https://status.example.com/incidents/' || 1000 + n,
       started_at,
       CASE WHEN n <= 177 THEN started_at + interval '1 minute' * ((15 + n * 37 % 120) * (400 - n) / CASE n % 5 WHEN 3 THEN 400 ELSE 200 END) END,
       (SELECT jsonb_agg(jsonb_build_array(identifier, name) ORDER BY place)
        FROM (VALUES (1, 'checkout', 'Checkout', 2), (2, 'payments-api', NULL, 4), (3, 'search', 'Search', 3), (4, 'login', 'Login', 5))
             AS service (place, identifier, name, every)
        WHERE n % every = 0),
       jsonb_build_object('cause', jsonb_build_object('kind', (ARRAY['deploy', 'load', 'deploy', 'config', 'hardware'])[1 + n % 5]),
                          'regions', jsonb_build_array('eu', 'us')),
       started_at, started_at
FROM generate_series(1, 180) n,
     LATERAL (SELECT now() - interval '51 hours' * (180 - n) - interval '1 hour' * (n * 7 % 11) - interval '25 minutes') t (started_at);
INSERT INTO intake.incident (reference_id, name, started_at, resolved_at, created_at, updated_at) VALUES
    ('INC-2001', 'A clock was wrong', now() - interval '40 days', now() - interval '41 days', now(), now()),
    ('INC-2002', 'Planned', now() + interval '3 days', NULL, now(), now()),
    ('INC-2003', 'Forgotten', now() - interval '200 days', NULL, now(), now());
