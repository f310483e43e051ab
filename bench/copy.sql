-- What `incidentctl import` is measured beside: COPY into staging tables, then an upsert of all their rows at once, into the
-- same tables. Nothing is checked. It is run in the directory where bench/run has put the two files.
\set ON_ERROR_STOP on
BEGIN;
CREATE TEMP TABLE staged_incident (
    reference_id text COLLATE "C", name text, priority text, source_url text, started_at timestamptz, resolved_at timestamptz,
    metadata jsonb
) ON COMMIT DROP;
CREATE TEMP TABLE staged_service (
    reference_id text COLLATE "C", identifier text COLLATE "C", name text, position integer
) ON COMMIT DROP;
\copy staged_incident FROM 'incidents.copy'
\copy staged_service FROM 'services.copy'

INSERT INTO intake.incident AS i
    (reference_id, name, priority, source_url, started_at, resolved_at, metadata, created_at, updated_at)
SELECT s.*, now(), now() FROM staged_incident s
ON CONFLICT (reference_id) DO UPDATE SET
    name = excluded.name, priority = excluded.priority, source_url = excluded.source_url, started_at = excluded.started_at,
    resolved_at = excluded.resolved_at, metadata = excluded.metadata, updated_at = excluded.updated_at;
INSERT INTO intake.incident_service AS s (reference_id, identifier, name, position)
SELECT * FROM staged_service
ON CONFLICT (reference_id, identifier) DO UPDATE SET name = excluded.name, position = excluded.position;
COMMIT;
