-- The tables: incidents, tokens, history, abandoned attempts. One transaction; `incidentctl migrate` runs it, or
-- `psql -X -v ON_ERROR_STOP=1 -f 0001_tables.sql`.
--
-- Every unique constraint contains reference_id, so that tables can be distributed by it (docs/operations.md, Citus).
BEGIN;

CREATE SCHEMA intake;
COMMENT ON SCHEMA intake IS 'Tables that incidents.fcgi writes, through functions alone.';
CREATE SCHEMA IF NOT EXISTS reporting;
COMMENT ON SCHEMA reporting IS 'Views for analysts; their role sees these and nothing else.';

CREATE TABLE intake.migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT current_user
);
COMMENT ON TABLE intake.migration IS 'The migrations that this database has seen.';
COMMENT ON COLUMN intake.migration.checksum IS
    'SHA-256 of the file, in hexadecimal; NULL where psql applied it, until incidentctl migrate runs next.';

-- Fixed-width columns come first, so that alignment wastes no byte. Keys compare byte by byte: faster than a locale, and an index
-- on them survives an upgrade of the C library. Each page keeps room for one more row, so that an update touches no index (HOT);
-- no index has a column that ordinary updates change. No CHECK: Postgres parses it for each statement, a twentieth of a batch of
-- 16. The worker checks what it sends, and views ignore services that are not an array.
CREATE TABLE intake.incident (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    started_at   timestamptz NOT NULL,
    resolved_at  timestamptz,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    reference_id text COLLATE "C" PRIMARY KEY,
    name         text,
    priority     text,
    source_url   text,
    services     jsonb,
    metadata     jsonb,
    updated_by   text
) WITH (fillfactor = 95);
COMMENT ON TABLE intake.incident IS 'One row an incident, as its last upsert left it.';
COMMENT ON COLUMN intake.incident.id IS
    'A number for reports to join by: the same for as long as the incident is stored, and not used again. Numbers may be missing.';
COMMENT ON COLUMN intake.incident.resolved_at IS 'NULL while the incident is open. May lie before started_at: clocks differ.';
COMMENT ON COLUMN intake.incident.created_at IS 'When this database first saw the incident.';
COMMENT ON COLUMN intake.incident.updated_at IS 'When a request last changed the incident, its services or its metadata.';
COMMENT ON COLUMN intake.incident.reference_id IS 'The sender''s identifier, kept byte for byte.';
COMMENT ON COLUMN intake.incident.name IS 'NULL where it was never given or was cleared; so with every optional column.';
COMMENT ON COLUMN intake.incident.services IS
    'The services that the incident affects: [[identifier, name or null], ...] in the order sent, each identifier once.';
COMMENT ON COLUMN intake.incident.updated_by IS 'The label of the token that last changed it, at updated_at.';

-- GENERATED ALWAYS keeps numbers unique; a unique index would have to contain reference_id.
CREATE INDEX incident_id ON intake.incident (id);
CREATE INDEX incident_started_at ON intake.incident (started_at);

CREATE TABLE intake.api_token (
    token_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash   bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    prefix       text NOT NULL,
    label        text NOT NULL CHECK (label <> ''),
    scopes       text[] NOT NULL CHECK (scopes <@ ARRAY['upsert', 'delete'] AND cardinality(scopes) > 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
COMMENT ON TABLE intake.api_token IS 'Bearer tokens, never in the clear.';
COMMENT ON COLUMN intake.api_token.token_hash IS 'SHA-256 of the token''s bytes. The token has 256 random bits, so it needs no salt.';
COMMENT ON COLUMN intake.api_token.prefix IS 'The token''s first characters, to recognise it by.';
COMMENT ON COLUMN intake.api_token.last_used_at IS 'At most a minute old: written no oftener.';

-- An incident before or after a change, without its key and the times of its storage. A row costs a third of what JSON costs to
-- write; reporting.incident_history shows it as JSON.
CREATE TYPE intake.incident_state AS (
    name        text,
    priority    text,
    source_url  text,
    started_at  timestamptz,
    resolved_at timestamptz,
    services    jsonb,
    metadata    jsonb
);

-- The key grows at its end, which is cheap. An index by reference_id doubles the cost of history, so the changes of one incident
-- are found by a scan: a quarter of a second for a million changes.
CREATE TABLE intake.incident_change (
    change_id    bigint GENERATED ALWAYS AS IDENTITY,
    changed_at   timestamptz NOT NULL,
    reference_id text COLLATE "C" NOT NULL,
    action       text NOT NULL,
    token_label  text,
    before       intake.incident_state,
    after        intake.incident_state,
    PRIMARY KEY (change_id, reference_id),
    CHECK (num_nonnulls(before, after) = CASE action WHEN 'updated' THEN 2 ELSE 1 END)
);
COMMENT ON TABLE intake.incident_change IS 'The changes of incidents, one row each; append-only.';
COMMENT ON COLUMN intake.incident_change.change_id IS 'Of one incident, the order of its changes. Numbers may be missing.';
COMMENT ON COLUMN intake.incident_change.changed_at IS 'As updated_at of the incident.';
COMMENT ON COLUMN intake.incident_change.action IS 'created, updated or deleted. A request that changed nothing left no row.';
COMMENT ON COLUMN intake.incident_change.token_label IS 'The label of the token; incidentctl for what an administrator deleted with it.';
COMMENT ON COLUMN intake.incident_change.before IS 'The incident before the change; NULL at creation.';
COMMENT ON COLUMN intake.incident_change.after IS 'The incident after the change; NULL at deletion.';

CREATE TABLE intake.abandoned_attempt (
    number       bigint PRIMARY KEY,
    abandoned_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0); -- so that it shrinks to no page again
COMMENT ON TABLE intake.abandoned_attempt IS
    'Calls of apply_batch whose connection broke and which were repeated: they must not be stored any more. Kept for a day.';

-- The services of incidents, a row each.
CREATE VIEW intake.incident_service AS
SELECT i.reference_id,
       (service->>0) COLLATE "C" AS identifier,
       service->>1 AS name,
       position::integer AS position,
       hashtextextended(service->>0, i.id) AS id
FROM intake.incident i
CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN jsonb_typeof(i.services) = 'array' THEN i.services END) WITH ORDINALITY AS _ (service, position);
COMMENT ON VIEW intake.incident_service IS 'The services that incidents affect, a row each.';
COMMENT ON COLUMN intake.incident_service.name IS 'NULL where none was sent.';
COMMENT ON COLUMN intake.incident_service.position IS 'From 1, in the order sent.';
COMMENT ON COLUMN intake.incident_service.id IS
    'Computed from the incident''s id and the identifier, so the same for as long as the incident has the service.';

INSERT INTO intake.migration (version, name, checksum)
VALUES (1, 'tables', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
