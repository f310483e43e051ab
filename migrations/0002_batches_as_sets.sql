-- A batch is applied as a set: a handful of statements for all its items, where 0001 ran a handful for each. With batches
-- of 64 that doubles the rate (docs/benchmarks.md).
BEGIN;

DROP FUNCTION intake.upsert_incident(jsonb);
DROP FUNCTION intake.replace_services(text, jsonb);
DROP FUNCTION intake.is_unchanged(jsonb);

-- The schema's version as a constant, which the planner puts where it is asked for: to read the table would cost a plain CGI
-- request a tenth of its time. Every migration renews it by recording itself.
CREATE FUNCTION intake.renew_schema_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION intake.schema_version() RETURNS integer LANGUAGE sql IMMUTABLE AS %L',
                   'SELECT ' || (SELECT max(m.version) FROM intake.migration m));
    RETURN NULL;
END
$$;
CREATE TRIGGER renew_schema_version AFTER INSERT OR UPDATE OR DELETE ON intake.migration
    FOR EACH STATEMENT EXECUTE FUNCTION intake.renew_schema_version();

-- Services go with their incident by a trigger for each statement. A foreign key would do a look-up for each service that is
-- stored, a fifth of all that an upsert costs (docs/benchmarks.md), to guard against what only apply_batch does: it stores
-- services of incidents alone that it has created or locked. What an administrator does by hand is looked after here: who
-- deletes incidents deletes their services, and nobody renames one.
ALTER TABLE intake.incident_service DROP CONSTRAINT incident_service_reference_id_fkey;
CREATE FUNCTION intake.remove_services() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM intake.incident_service s USING gone WHERE s.reference_id = gone.reference_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER remove_services AFTER DELETE ON intake.incident
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION intake.remove_services();
CREATE FUNCTION intake.refuse_orphans() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM intake.incident_service) THEN
        RAISE EXCEPTION 'truncate intake.incident_service in the same command' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER refuse_orphans AFTER TRUNCATE ON intake.incident
    FOR EACH STATEMENT EXECUTE FUNCTION intake.refuse_orphans();

CREATE FUNCTION intake.refuse_renaming() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'an incident keeps its reference_id: its services are stored under it' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER refuse_renaming BEFORE UPDATE OF reference_id ON intake.incident
    FOR EACH ROW WHEN (OLD.reference_id <> NEW.reference_id) EXECUTE FUNCTION intake.refuse_renaming();

-- The next three functions are called by apply_batch alone, under the settings that it sets; each with its own would cost
-- a tenth of the rate.

-- Whether the item would change the incident's own row. Simple enough for the planner to inline. Metadata is compared as
-- text, because jsonb calls 1.1 and 1.10 equal, and every digit counts.
CREATE FUNCTION intake.would_change(incident intake.incident, item jsonb) RETURNS boolean
    LANGUAGE sql STABLE
AS $$
    SELECT incident.started_at <> (item->>'started_at')::timestamptz
        OR item ? 'name' AND incident.name IS DISTINCT FROM item->>'name'
        OR item ? 'priority' AND incident.priority IS DISTINCT FROM item->>'priority'
        OR item ? 'source_url' AND incident.source_url IS DISTINCT FROM item->>'source_url'
        OR item ? 'resolved_at' AND incident.resolved_at IS DISTINCT FROM (item->>'resolved_at')::timestamptz
        OR item ? 'metadata' AND incident.metadata::text IS DISTINCT FROM item->>'metadata'
$$;

-- Makes the services of incidents, whose rows the caller has locked or created, exactly those of their items. Returns the
-- incidents where anything differed. Separate statements, each with a fresh snapshot: a single one with both in CTEs
-- would see the services as they stood before the lock, and two callers would leave the union of theirs.
CREATE FUNCTION intake.replace_services(created jsonb[], locked jsonb[]) RETURNS text[]
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    unlinked text[];
    linked   text[];
BEGIN
    IF locked <> '{}' THEN
        WITH deleted AS (
            DELETE FROM intake.incident_service s
            USING unnest(locked) item
            WHERE s.reference_id = item->>'reference_id'
              AND item ? 'services'
              AND s.identifier <> ALL (ARRAY(SELECT link->>0 FROM jsonb_array_elements(item->'services') link))
            RETURNING s.reference_id)
        SELECT array_agg(d.reference_id) INTO unlinked FROM deleted d;
    END IF;

    WITH upserted AS (
        INSERT INTO intake.incident_service AS s (reference_id, identifier, name, position)
        SELECT item->>'reference_id', link->>0, link->>1, ordinality
        FROM unnest(created || locked) item, jsonb_array_elements(item->'services') WITH ORDINALITY AS _(link, ordinality)
        ON CONFLICT (reference_id, identifier) DO UPDATE
            SET name = excluded.name, position = excluded.position
            WHERE (s.name, s.position) IS DISTINCT FROM (excluded.name, excluded.position)
        RETURNING s.reference_id)
    SELECT array_agg(u.reference_id) INTO linked FROM upserted u;

    RETURN unlinked || linked;
END
$$;

-- Creates or updates incidents, each once. Keys of an item: reference_id, started_at, and those of name, priority,
-- source_url, resolved_at, metadata, services ([[identifier, name or null], ...]) that the request holds. JSON null
-- clears, an empty array the services. An incident that is in neither result is unchanged.
--
-- Rows are created, then locked, in the order of reference_id, so that two such calls seldom wait for one another in a
-- circle. Where they do all the same, in a second round or with deletes between, Postgres ends one of them and its
-- requests are tried again.
CREATE FUNCTION intake.upsert_incidents(items jsonb[], OUT created text[], OUT updated text[])
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    moment       timestamptz;
    absent       jsonb[];
    differing    jsonb[];
    locked       jsonb[];
    now_created  text[];
    now_locked   text[];
    now_relinked text[];
    now_updated  text[];
    rounds       integer := 0;
BEGIN
    LOOP
        rounds := rounds + 1;
        IF rounds > 20 THEN -- a trigger of somebody else's keeps the row away, or others delete it each time
            RAISE EXCEPTION 'an incident vanished 20 times while it was stored' USING ERRCODE = 'serialization_failure';
        END IF;
        -- One statement, so one snapshot: an incident and its services are compared as they stood at one moment.
        SELECT array_agg(item) FILTER (WHERE i.reference_id IS NULL),
               array_agg(item) FILTER (WHERE i.reference_id IS NOT NULL)
        INTO absent, differing
        FROM unnest(items) item
        LEFT JOIN intake.incident i ON i.reference_id = item->>'reference_id'
        WHERE i.reference_id IS NULL
           OR intake.would_change(i, item)
           OR item ? 'services' AND item->'services' <> (
                SELECT coalesce(jsonb_agg(jsonb_build_array(s.identifier, s.name) ORDER BY s.position), '[]')
                FROM intake.incident_service s
                WHERE s.reference_id = i.reference_id);
        EXIT WHEN absent IS NULL AND differing IS NULL;
        moment := clock_timestamp();
        now_created := '{}';
        now_locked := '{}';
        now_updated := '{}';

        -- Where another transaction creates the same incident, this waits for it and leaves the incident to the next round.
        IF absent IS NOT NULL THEN
            WITH inserted AS (
                INSERT INTO intake.incident AS i
                    (reference_id, name, priority, source_url, started_at, resolved_at, metadata, created_at, updated_at)
                SELECT item->>'reference_id', item->>'name', item->>'priority', item->>'source_url',
                       (item->>'started_at')::timestamptz, (item->>'resolved_at')::timestamptz,
                       nullif(item->'metadata', 'null'), moment, moment
                FROM unnest(absent) item
                ORDER BY item->>'reference_id' COLLATE "C"
                ON CONFLICT (reference_id) DO NOTHING
                RETURNING i.reference_id)
            SELECT coalesce(array_agg(n.reference_id), '{}') INTO now_created FROM inserted n;
        END IF;

        IF differing IS NOT NULL THEN
            now_locked := ARRAY(
                SELECT i.reference_id
                FROM intake.incident i
                WHERE i.reference_id = ANY (ARRAY(SELECT item->>'reference_id' FROM unnest(differing) item))
                ORDER BY i.reference_id
                FOR NO KEY UPDATE);
        END IF;

        locked := ARRAY(SELECT item FROM unnest(differing) item WHERE item->>'reference_id' = ANY (now_locked));
        now_relinked := intake.replace_services(
            ARRAY(SELECT item FROM unnest(absent) item WHERE item->>'reference_id' = ANY (now_created)), locked);

        IF locked <> '{}' THEN
            moment := clock_timestamp(); -- after the wait for the locks: updated_at must not go back
            WITH changed AS (
                UPDATE intake.incident i SET
                    name        = CASE WHEN item ? 'name' THEN item->>'name' ELSE i.name END,
                    priority    = CASE WHEN item ? 'priority' THEN item->>'priority' ELSE i.priority END,
                    source_url  = CASE WHEN item ? 'source_url' THEN item->>'source_url' ELSE i.source_url END,
                    started_at  = (item->>'started_at')::timestamptz,
                    resolved_at = CASE WHEN item ? 'resolved_at' THEN (item->>'resolved_at')::timestamptz ELSE i.resolved_at END,
                    metadata    = CASE WHEN item ? 'metadata' THEN nullif(item->'metadata', 'null') ELSE i.metadata END,
                    updated_at  = greatest(moment, i.updated_at)
                FROM unnest(locked) item
                WHERE i.reference_id = item->>'reference_id'
                  AND (intake.would_change(i, item) OR i.reference_id = ANY (now_relinked))
                RETURNING i.reference_id)
            SELECT coalesce(array_agg(c.reference_id), '{}') INTO now_updated FROM changed c;
        END IF;

        created := created || now_created;
        updated := updated || now_updated;

        -- What appeared, or vanished, between the statements above.
        items := ARRAY(
            SELECT item FROM unnest(absent || differing) item
            WHERE item->>'reference_id' <> ALL (now_created || now_locked));
        EXIT WHEN items = '{}';
    END LOOP;
END
$$;

-- Applies a batch of requests in one transaction and says what became of each, in their order. An element of items:
--   op            "upsert", "delete", "authorize" (the token alone is looked at) or "ping" (not even that)
--   token         SHA-256 of the bearer token, in hexadecimal
--   scope         with "authorize", the scope that the token must have; else the op itself is the scope
--   and the keys that upsert_incidents, or delete (reference_id), takes.
-- outcome is created, updated, unchanged, deleted, not_found, authorized, ready, not_authed or not_permitted.
-- Raises IS001 where the caller was built for a newer schema than this, or for one so old that it calls otherwise (2 was the
-- last to change that; a migration that does again has its own number there), before anything is looked at, and 21000
-- where two elements name the same incident: in a set neither comes first.
--
-- The caller waits patience_ms, null for ever, counted here from the arrival of the statement. Later than that nothing is
-- stored: 55P03. The caller has told its client that the request failed, or has sent it once more, and something newer may
-- have been stored since. The check comes when all rows are locked, so that nothing newer can slip in behind it.
--
-- attempt is a number that no other call has, lost are those of earlier calls with the same item of which the caller has not
-- heard, as its connection broke: they may still run, and wait for a lock. Each holds its own number as an advisory lock to
-- its end, and this one waits for theirs (55P03 where that takes long). Else one of them could commit after this one, and
-- after what the client has sent since.
--
-- The planner's settings: plans that hold whatever the arrays are and however the tables grow, one look into an index for
-- each item. Without them the plans of a session that began on empty tables read them whole, later on too.
DROP FUNCTION intake.apply_batch(integer, jsonb);
CREATE FUNCTION intake.apply_batch(expected_version integer, items jsonb, patience_ms integer DEFAULT NULL,
                                   attempt bigint DEFAULT NULL, lost bigint[] DEFAULT '{}')
    RETURNS TABLE (outcome text, token_label text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '500ms'
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
AS $$
DECLARE
    verdicts  text[];
    labels    text[];
    stale     integer[];
    upserts   jsonb[];
    deletes   text[];
    ambiguous boolean;
    created   text[];
    updated   text[];
    deleted   text[];
BEGIN
    IF attempt IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(attempt);
        PERFORM pg_advisory_xact_lock(earlier) FROM unnest(lost) earlier;
    END IF;

    IF expected_version NOT BETWEEN 2 AND intake.schema_version() THEN
        RAISE EXCEPTION 'this database has schema version %, the program needs %', intake.schema_version(), expected_version
            USING ERRCODE = 'IS001';
    END IF;
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'this database is read-only' USING ERRCODE = 'read_only_sql_transaction';
    END IF;

    -- A verdict is the outcome already, or the operation that is permitted. The order is said in each aggregate: from
    -- PostgreSQL 16 on, that of the rows is the one which count(DISTINCT) wants.
    SELECT array_agg(verdict ORDER BY ordinality),
           array_agg(label ORDER BY ordinality),
           array_agg(token_id) FILTER (WHERE last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute'),
           array_agg(item) FILTER (WHERE verdict = 'upsert'),
           array_agg(item->>'reference_id') FILTER (WHERE verdict = 'delete'),
           count(item->>'reference_id') > count(DISTINCT item->>'reference_id' COLLATE "C")
    INTO verdicts, labels, stale, upserts, deletes, ambiguous
    FROM (
        SELECT item, ordinality, t.token_id, t.label, t.last_used_at,
               CASE WHEN item->>'op' = 'ping' THEN 'ready'
                    WHEN t.token_id IS NULL THEN 'not_authed'
                    WHEN coalesce(item->>'scope', item->>'op') = ANY (t.scopes) IS NOT TRUE THEN 'not_permitted'
                    WHEN item->>'op' = 'authorize' THEN 'authorized'
                    ELSE item->>'op'
               END AS verdict
        FROM jsonb_array_elements(items) WITH ORDINALITY AS _(item, ordinality)
        LEFT JOIN intake.api_token t
               ON t.token_hash = decode(item->>'token', 'hex')
              AND t.revoked_at IS NULL
              AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())) AS judged;
    IF ambiguous THEN
        RAISE EXCEPTION 'two items of a batch name the same incident' USING ERRCODE = 'cardinality_violation';
    END IF;

    IF upserts IS NOT NULL THEN
        SELECT u.created, u.updated INTO created, updated FROM intake.upsert_incidents(upserts) u;
    END IF;
    IF deletes IS NOT NULL THEN
        PERFORM FROM intake.incident i WHERE i.reference_id = ANY (deletes) ORDER BY i.reference_id FOR UPDATE;
        WITH gone AS (
            DELETE FROM intake.incident i WHERE i.reference_id = ANY (deletes) RETURNING i.reference_id)
        SELECT array_agg(g.reference_id) INTO deleted FROM gone g;
    END IF;

    -- SKIP LOCKED: the last use is no reason for two batches to wait for one another.
    IF stale IS NOT NULL THEN
        UPDATE intake.api_token t SET last_used_at = clock_timestamp()
        FROM (SELECT token_id FROM intake.api_token WHERE token_id = ANY (stale) FOR UPDATE SKIP LOCKED) AS free
        WHERE t.token_id = free.token_id;
    END IF;

    IF clock_timestamp() > statement_timestamp() + patience_ms * interval '1 millisecond' THEN
        RAISE EXCEPTION 'the batch took longer than its % ms', patience_ms USING ERRCODE = 'lock_not_available';
    END IF;

    RETURN QUERY
    SELECT CASE verdict
               WHEN 'upsert' THEN CASE WHEN reference_id = ANY (created) THEN 'created'
                                       WHEN reference_id = ANY (updated) THEN 'updated'
                                       ELSE 'unchanged' END
               WHEN 'delete' THEN CASE WHEN reference_id = ANY (deleted) THEN 'deleted' ELSE 'not_found' END
               ELSE verdict
           END, label
    FROM ROWS FROM (jsonb_array_elements(items), unnest(verdicts), unnest(labels)) AS _(item, verdict, label)
    CROSS JOIN LATERAL (SELECT item->>'reference_id' AS reference_id) incident;
END
$$;

-- As 0001 has it, but for the arguments of apply_batch.
CREATE OR REPLACE FUNCTION intake.grant_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'incidents_worker') THEN
        GRANT USAGE ON SCHEMA intake TO incidents_worker;
        GRANT EXECUTE ON FUNCTION intake.schema_version(), intake.apply_batch(integer, jsonb, integer, bigint, bigint[]) TO incidents_worker;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'incidents_reader') THEN
        GRANT USAGE ON SCHEMA reporting TO incidents_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO incidents_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA reporting GRANT SELECT ON TABLES TO incidents_reader;
    END IF;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;
SELECT intake.grant_roles();

INSERT INTO intake.migration (version, name, checksum)
VALUES (2, 'batches_as_sets', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
