-- The schema: incidents with their services and metadata, tokens, and the one function through which the worker
-- writes. One transaction; `incidentctl migrate` runs it, and so does `psql -v ON_ERROR_STOP=1 -f 0001_initial.sql`.
BEGIN;

CREATE SCHEMA intake;
COMMENT ON SCHEMA intake IS 'Tables that incidents.fcgi writes, through functions alone.';
CREATE SCHEMA IF NOT EXISTS reporting;
COMMENT ON SCHEMA reporting IS 'Views for analysts; the role incidents_reader sees these and nothing else.';

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

-- Keys compare byte by byte: faster than a locale, and an index on them outlives an upgrade of the C library.
CREATE TABLE intake.incident (
    reference_id text COLLATE "C" PRIMARY KEY CHECK (octet_length(reference_id) BETWEEN 1 AND 1024),
    name         text,
    priority     text,
    source_url   text,
    started_at   timestamptz NOT NULL,
    resolved_at  timestamptz,
    metadata     jsonb CHECK (jsonb_typeof(metadata) = 'object'),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
) WITH (fillfactor = 90);
COMMENT ON TABLE intake.incident IS 'One row an incident, as its last upsert left it.';
COMMENT ON COLUMN intake.incident.reference_id IS 'The sender''s identifier, kept byte for byte.';
COMMENT ON COLUMN intake.incident.name IS 'NULL where it was never given or was cleared; so with every optional column.';
COMMENT ON COLUMN intake.incident.resolved_at IS 'NULL while the incident is open. May lie before started_at: clocks differ.';
COMMENT ON COLUMN intake.incident.created_at IS 'When this database first saw the incident.';
COMMENT ON COLUMN intake.incident.updated_at IS 'When a request last changed the incident, its services or its metadata.';

CREATE TABLE intake.incident_service (
    reference_id text COLLATE "C" NOT NULL REFERENCES intake.incident ON DELETE CASCADE,
    identifier   text COLLATE "C" NOT NULL CHECK (octet_length(identifier) BETWEEN 1 AND 1024),
    name         text,
    position     integer NOT NULL CHECK (position > 0),
    PRIMARY KEY (reference_id, identifier)
);
COMMENT ON TABLE intake.incident_service IS 'The services that an incident affects.';
COMMENT ON COLUMN intake.incident_service.position IS 'From 1, in the order sent.';

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

CREATE FUNCTION intake.schema_version() RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT max(version) FROM intake.migration
$$;
COMMENT ON FUNCTION intake.schema_version() IS 'The newest migration that this database has seen.';

-- The next three functions are called by apply_batch alone, under the search_path that it sets; each with one of its own
-- would cost a tenth of the rate.

-- Whether the incident is stored already as the item would leave it. One statement, so one
-- snapshot: the incident and its services are compared as they stood at one moment. Metadata is compared as text,
-- because jsonb calls 1.1 and 1.10 equal, and every digit counts.
CREATE FUNCTION intake.is_unchanged(item jsonb) RETURNS boolean
    LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM intake.incident i
        WHERE i.reference_id = item->>'reference_id'
          AND i.started_at = (item->>'started_at')::timestamptz
          AND (NOT item ? 'name' OR i.name IS NOT DISTINCT FROM item->>'name')
          AND (NOT item ? 'priority' OR i.priority IS NOT DISTINCT FROM item->>'priority')
          AND (NOT item ? 'source_url' OR i.source_url IS NOT DISTINCT FROM item->>'source_url')
          AND (NOT item ? 'resolved_at' OR i.resolved_at IS NOT DISTINCT FROM (item->>'resolved_at')::timestamptz)
          AND (NOT item ? 'metadata' OR i.metadata::text IS NOT DISTINCT FROM item->>'metadata')
          AND (NOT item ? 'services' OR item->'services' = (
              SELECT coalesce(jsonb_agg(jsonb_build_array(s.identifier, s.name) ORDER BY s.position), '[]')
              FROM intake.incident_service s
              WHERE s.reference_id = i.reference_id)));
END
$$;

-- Makes the services of an incident, whose row the caller has locked, exactly those of the item. Returns whether
-- anything differed. Separate statements, each with a fresh snapshot: a single one with data-modifying CTEs would see
-- the services as they stood before the lock, and two callers would leave the union of theirs.
CREATE FUNCTION intake.replace_services(incident_reference_id text, services jsonb) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    differs boolean;
BEGIN
    DELETE FROM intake.incident_service s
    WHERE s.reference_id = incident_reference_id
      AND s.identifier <> ALL (ARRAY(SELECT link->>0 FROM jsonb_array_elements(services) link));
    differs := FOUND;

    INSERT INTO intake.incident_service AS s (reference_id, identifier, name, position)
    SELECT incident_reference_id, link->>0, link->>1, ordinality
    FROM jsonb_array_elements(services) WITH ORDINALITY AS _(link, ordinality)
    ON CONFLICT (reference_id, identifier) DO UPDATE
        SET name = excluded.name, position = excluded.position
        WHERE (s.name, s.position) IS DISTINCT FROM (excluded.name, excluded.position);
    RETURN differs OR FOUND;
END
$$;

-- Creates or updates one incident. Keys of the item: reference_id, started_at, and those of name, priority, source_url,
-- resolved_at, metadata, services ([[identifier, name or null], ...]) that the request holds. JSON null clears, an
-- empty array the services.
CREATE FUNCTION intake.upsert_incident(item jsonb) RETURNS text
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    moment  timestamptz := clock_timestamp();
    is_new  boolean;
    differs boolean;
BEGIN
    IF intake.is_unchanged(item) THEN
        RETURN 'unchanged';
    END IF;

    -- Locks the row, whether or not the WHERE lets it be updated, until the transaction ends.
    INSERT INTO intake.incident AS i
        (reference_id, name, priority, source_url, started_at, resolved_at, metadata, created_at, updated_at)
    VALUES (item->>'reference_id', item->>'name', item->>'priority', item->>'source_url',
            (item->>'started_at')::timestamptz, (item->>'resolved_at')::timestamptz,
            nullif(item->'metadata', 'null'), moment, moment)
    ON CONFLICT (reference_id) DO UPDATE SET
        name        = CASE WHEN item ? 'name' THEN excluded.name ELSE i.name END,
        priority    = CASE WHEN item ? 'priority' THEN excluded.priority ELSE i.priority END,
        source_url  = CASE WHEN item ? 'source_url' THEN excluded.source_url ELSE i.source_url END,
        started_at  = excluded.started_at,
        resolved_at = CASE WHEN item ? 'resolved_at' THEN excluded.resolved_at ELSE i.resolved_at END,
        metadata    = CASE WHEN item ? 'metadata' THEN excluded.metadata ELSE i.metadata END,
        updated_at  = excluded.updated_at
    WHERE i.started_at <> excluded.started_at
       OR item ? 'name' AND i.name IS DISTINCT FROM excluded.name
       OR item ? 'priority' AND i.priority IS DISTINCT FROM excluded.priority
       OR item ? 'source_url' AND i.source_url IS DISTINCT FROM excluded.source_url
       OR item ? 'resolved_at' AND i.resolved_at IS DISTINCT FROM excluded.resolved_at
       OR item ? 'metadata' AND i.metadata::text IS DISTINCT FROM excluded.metadata::text
    RETURNING i.xmax = 0 INTO is_new; -- a row that DO UPDATE locked and updated has our own transaction there
    differs := FOUND;

    IF item ? 'services' AND intake.replace_services(item->>'reference_id', item->'services') AND NOT differs THEN
        UPDATE intake.incident i SET updated_at = moment WHERE i.reference_id = item->>'reference_id';
        differs := true;
    END IF;
    RETURN CASE WHEN is_new THEN 'created' WHEN differs THEN 'updated' ELSE 'unchanged' END;
END
$$;

-- Applies a batch of requests in one transaction and says what became of each. An element of items:
--   op            "upsert", "delete", "authorize" (the token alone is looked at) or "ping" (not even that)
--   token         SHA-256 of the bearer token, in hexadecimal
--   scope         with "authorize", the scope that the token must have; else the op itself is the scope
--   and the keys that upsert_incident, or delete (reference_id), takes.
-- outcome is created, updated, unchanged, deleted, not_found, authorized, ready, not_authed or not_permitted.
-- Raises IS001 where the schema is not the one that the caller was built for, before anything is looked at.
-- Callers sort items by reference_id, so that two batches cannot deadlock.
CREATE FUNCTION intake.apply_batch(expected_version integer, items jsonb)
    RETURNS TABLE (outcome text, token_label text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '500ms'
AS $$
DECLARE
    item         jsonb;
    version      integer := (SELECT max(m.version) FROM intake.migration m);
    last_token   text;
    token        record;
    needed_scope text;
    stale        integer[] := '{}';
BEGIN
    IF version IS DISTINCT FROM expected_version THEN
        RAISE EXCEPTION 'this database has schema version %, the program needs %', version, expected_version
            USING ERRCODE = 'IS001';
    END IF;
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'this database is read-only' USING ERRCODE = 'read_only_sql_transaction';
    END IF;

    FOR item IN SELECT value FROM jsonb_array_elements(items) LOOP
        token_label := NULL;
        IF item->>'op' = 'ping' THEN
            outcome := 'ready';
            RETURN NEXT;
            CONTINUE;
        END IF;

        IF item->>'token' IS DISTINCT FROM last_token THEN
            last_token := item->>'token';
            SELECT t.token_id, t.label, t.scopes, t.last_used_at INTO token
            FROM intake.api_token t
            WHERE t.token_hash = decode(last_token, 'hex')
              AND t.revoked_at IS NULL
              AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp());
            IF token.last_used_at IS NULL OR token.last_used_at < clock_timestamp() - interval '1 minute' THEN
                stale := stale || token.token_id;
            END IF;
        END IF;

        needed_scope := CASE WHEN item->>'op' = 'authorize' THEN item->>'scope' ELSE item->>'op' END;
        token_label := token.label;
        outcome := CASE
            WHEN token.token_id IS NULL THEN 'not_authed'
            WHEN needed_scope = ANY (token.scopes) IS NOT TRUE THEN 'not_permitted'
            WHEN item->>'op' = 'authorize' THEN 'authorized'
        END;
        IF outcome IS NULL AND item->>'op' = 'upsert' THEN
            outcome := intake.upsert_incident(item);
        ELSIF outcome IS NULL AND item->>'op' = 'delete' THEN
            DELETE FROM intake.incident i WHERE i.reference_id = item->>'reference_id';
            outcome := CASE WHEN FOUND THEN 'deleted' ELSE 'not_found' END;
        ELSIF outcome IS NULL THEN
            RAISE EXCEPTION 'unknown operation %', item->>'op' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        RETURN NEXT;
    END LOOP;

    -- SKIP LOCKED: the last use is no reason for two batches to wait for one another.
    IF stale <> '{}' THEN
        UPDATE intake.api_token t SET last_used_at = clock_timestamp()
        FROM (SELECT token_id FROM intake.api_token WHERE token_id = ANY (stale) FOR UPDATE SKIP LOCKED) AS free
        WHERE t.token_id = free.token_id;
    END IF;
END
$$;

-- Grants the roles what they need, those of them that exist. `incidentctl migrate` calls it every time, so that a
-- role which an administrator creates later gets its rights at the next run.
CREATE FUNCTION intake.grant_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'incidents_worker') THEN
        GRANT USAGE ON SCHEMA intake TO incidents_worker;
        GRANT EXECUTE ON FUNCTION intake.schema_version(), intake.apply_batch(integer, jsonb) TO incidents_worker;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'incidents_reader') THEN
        GRANT USAGE ON SCHEMA reporting TO incidents_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO incidents_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA reporting GRANT SELECT ON TABLES TO incidents_reader;
    END IF;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;

-- Roles belong to the whole server, and shared hosts give nobody the right to create one: the owner's role then serves
-- for all. Both are groups; whoever logs in is made a member (docs/database.md).
DO $$
DECLARE
    role_name text;
BEGIN
    IF (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
        FOREACH role_name IN ARRAY ARRAY['incidents_worker', 'incidents_reader'] LOOP
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        END LOOP;
    END IF;
END
$$;
SELECT intake.grant_roles();

INSERT INTO intake.migration (version, name, checksum)
VALUES (1, 'initial', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
