-- What `incidentctl import` is measured beside: COPY into a staging table, then an upsert of all their rows at once, into the
-- same table. Nothing is checked. It is run in the directory where the file is.
\set ON_ERROR_STOP on
BEGIN;
CREATE TEMP TABLE staged_incident (
    reference_id text COLLATE "C", name text, priority text, source_url text, started_at timestamptz, resolved_at timestamptz,
    metadata jsonb, services jsonb
) ON COMMIT DROP;
\copy staged_incident FROM 'with-services.copy'

INSERT INTO intake.incident AS i
    (reference_id, name, priority, source_url, started_at, resolved_at, metadata, services, created_at, updated_at)
SELECT s.*, now(), now() FROM staged_incident s
ON CONFLICT (reference_id) DO UPDATE SET
    name = excluded.name, priority = excluded.priority, source_url = excluded.source_url, started_at = excluded.started_at,
    resolved_at = excluded.resolved_at, metadata = excluded.metadata, services = excluded.services,
    updated_at = excluded.updated_at;
COMMIT;
