-- Each incident says which token wrote it last, and a database may keep the history of its incidents: what each was before
-- and after every change. Off until `incidentctl history --on`; off, it costs nothing.
--
-- It waits 10 s for the lock on the incidents, not for ever: behind a long query it would hold up every request.
BEGIN;
SET LOCAL lock_timeout = '10s';

ALTER TABLE intake.incident ADD COLUMN updated_by text;
COMMENT ON COLUMN intake.incident.updated_by IS
    'The label of the token that last changed it, at updated_at. NULL where that was before there was this column.';

CREATE TABLE intake.incident_change (
    change_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference_id text COLLATE "C" NOT NULL,
    changed_at   timestamptz NOT NULL,
    action       text NOT NULL,
    token_label  text,
    before       jsonb,
    after        jsonb,
    CHECK (CASE action WHEN 'created' THEN before IS NULL AND after IS NOT NULL
                       WHEN 'updated' THEN before IS NOT NULL AND after IS NOT NULL
                       WHEN 'deleted' THEN before IS NOT NULL AND after IS NULL
                       ELSE false END)
);
CREATE INDEX incident_change_reference_id ON intake.incident_change (reference_id, change_id);
COMMENT ON TABLE intake.incident_change IS 'What became of incidents, one row a change; nothing in it is ever changed.';
COMMENT ON COLUMN intake.incident_change.change_id IS 'Of one incident, the order of its changes. Numbers may be missing.';
COMMENT ON COLUMN intake.incident_change.changed_at IS 'As updated_at of the incident.';
COMMENT ON COLUMN intake.incident_change.action IS 'created, updated or deleted. A request that changed nothing left no row.';
COMMENT ON COLUMN intake.incident_change.token_label IS 'The label of the token; incidentctl for what an administrator deleted with it.';
COMMENT ON COLUMN intake.incident_change.before IS 'The incident with its services ([[identifier, name], ...]) and metadata; NULL at creation.';
COMMENT ON COLUMN intake.incident_change.after IS 'The same after the change; NULL at deletion.';

CREATE FUNCTION intake.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'the history of incidents is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER refuse_rewriting BEFORE UPDATE OR DELETE OR TRUNCATE ON intake.incident_change
    FOR EACH STATEMENT EXECUTE FUNCTION intake.refuse_rewriting();

-- A constant, as schema_version() is, so that a database without a history pays nothing for the question.
CREATE FUNCTION intake.keeps_history() RETURNS boolean
    LANGUAGE sql IMMUTABLE
AS 'SELECT false';
COMMENT ON FUNCTION intake.keeps_history() IS 'Whether changes are written to incident_change; keep_history() renews it.';

-- The lock ends what is being written before it, and holds up what comes behind it until the answer is the new one: once
-- this is committed, every change is in the history, or none.
CREATE FUNCTION intake.keep_history(wanted boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '10s'
AS $$
BEGIN
    LOCK TABLE intake.incident IN EXCLUSIVE MODE;
    EXECUTE format('CREATE OR REPLACE FUNCTION intake.keeps_history() RETURNS boolean LANGUAGE sql IMMUTABLE AS %L',
                   'SELECT ' || wanted);
END
$$;
COMMENT ON FUNCTION intake.keep_history(boolean) IS 'Turns the history of incidents on or off. For the owner of the schema.';

-- As the API takes it back, whatever the session's settings: ISO 8601, in UTC. Years before 1 and after 9999, which an offset
-- leads to, are written with one.
CREATE FUNCTION intake.timestamp_text(moment timestamptz) RETURNS text
    LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN moment < '0001-01-01 00:00Z'
        THEN to_char(moment AT TIME ZONE 'UTC' + interval '23:59', 'YYYY-MM-DD"T"HH24:MI:SS.US"+23:59"')
        WHEN moment >= '10000-01-01 00:00Z'
        THEN to_char(moment AT TIME ZONE 'UTC' - interval '23:59', 'YYYY-MM-DD"T"HH24:MI:SS.US"-23:59"')
        ELSE to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    END
$$;

-- Incidents as history has them. A view, which the planner takes apart: a function would be called for each.
CREATE VIEW intake.incident_image AS
SELECT i.reference_id, i.updated_at, i.updated_by,
       jsonb_build_object(
           'reference_id', i.reference_id,
           'name', i.name,
           'priority', i.priority,
           'source_url', i.source_url,
           'started_at', intake.timestamp_text(i.started_at),
           'resolved_at', intake.timestamp_text(i.resolved_at),
           'services', (SELECT coalesce(jsonb_agg(jsonb_build_array(s.identifier, s.name) ORDER BY s.position), '[]')
                        FROM intake.incident_service s
                        WHERE s.reference_id = i.reference_id),
           'metadata', i.metadata) AS image
FROM intake.incident i;
COMMENT ON VIEW intake.incident_image IS 'Incidents with their services and metadata, as incident_change has them.';

-- Creates or updates incidents, each once. Keys of an item: reference_id, started_at, and those of name, priority,
-- source_url, resolved_at, metadata, services ([[identifier, name or null], ...]) that the request holds. JSON null
-- clears, an empty array the services. An incident that is in neither result is unchanged. labels has the label of each
-- item's token, by the token's hash.
--
-- Rows are created, then locked, in the order of reference_id, so that two such calls seldom wait for one another in a
-- circle. Where they do all the same, in a second round or with deletes between, Postgres ends one of them and its
-- requests are tried again.
--
-- History is looked up when the locks are held: keep_history() locks the table, so it cannot change behind that. The
-- incidents' images before are taken then too, while their services still stand; those after, when both are changed.
DROP FUNCTION intake.upsert_incidents(jsonb[]);
CREATE FUNCTION intake.upsert_incidents(items jsonb[], labels jsonb, OUT created text[], OUT updated text[])
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
    keeping      boolean;
    images       jsonb; -- before the change, by reference_id
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
        images := NULL;

        -- Where another transaction creates the same incident, this waits for it and leaves the incident to the next round.
        IF absent IS NOT NULL THEN
            WITH inserted AS (
                INSERT INTO intake.incident AS i
                    (reference_id, name, priority, source_url, started_at, resolved_at, metadata, created_at, updated_at,
                     updated_by)
                SELECT item->>'reference_id', item->>'name', item->>'priority', item->>'source_url',
                       (item->>'started_at')::timestamptz, (item->>'resolved_at')::timestamptz,
                       nullif(item->'metadata', 'null'), moment, moment, labels->>(item->>'token')
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

        keeping := intake.keeps_history();
        IF keeping AND now_locked <> '{}' THEN
            SELECT jsonb_object_agg(v.reference_id, v.image) INTO images
            FROM intake.incident_image v
            WHERE v.reference_id = ANY (now_locked);
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
                    updated_at  = greatest(moment, i.updated_at),
                    updated_by  = labels->>(item->>'token')
                FROM unnest(locked) item
                WHERE i.reference_id = item->>'reference_id'
                  AND (intake.would_change(i, item) OR i.reference_id = ANY (now_relinked))
                RETURNING i.reference_id)
            SELECT coalesce(array_agg(c.reference_id), '{}') INTO now_updated FROM changed c;
        END IF;

        IF keeping AND now_created || now_updated <> '{}' THEN
            INSERT INTO intake.incident_change (reference_id, changed_at, action, token_label, before, after)
            SELECT v.reference_id, v.updated_at,
                   CASE WHEN v.reference_id = ANY (now_created) THEN 'created' ELSE 'updated' END,
                   v.updated_by, images->v.reference_id, v.image
            FROM intake.incident_image v
            WHERE v.reference_id = ANY (now_created || now_updated);
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

-- Deletes incidents with their services, each named once, and returns those that there were. labels[n] is said to have
-- deleted doomed[n]. What appears behind the locks is left: it came later.
CREATE FUNCTION intake.delete_incidents(doomed text[], labels text[]) RETURNS text[]
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    locked text[] := ARRAY(
        SELECT i.reference_id FROM intake.incident i WHERE i.reference_id = ANY (doomed) ORDER BY i.reference_id FOR UPDATE);
BEGIN
    IF locked = '{}' THEN
        RETURN locked;
    END IF;
    IF intake.keeps_history() THEN
        INSERT INTO intake.incident_change (reference_id, changed_at, action, token_label, before)
        SELECT v.reference_id, greatest(clock_timestamp(), v.updated_at), 'deleted', l.label, v.image
        FROM unnest(doomed, labels) AS l (reference_id, label)
        JOIN intake.incident_image v ON v.reference_id = l.reference_id
        WHERE l.reference_id = ANY (locked);
    END IF;
    DELETE FROM intake.incident i WHERE i.reference_id = ANY (locked);
    RETURN locked;
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
CREATE OR REPLACE FUNCTION intake.apply_batch(expected_version integer, items jsonb, patience_ms integer DEFAULT NULL,
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
    deleters  text[]; -- the labels of their tokens, in the same order
    writers   jsonb;  -- the labels of the upserts' tokens, by the token's hash
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
           array_agg(item->>'reference_id' ORDER BY ordinality) FILTER (WHERE verdict = 'delete'),
           array_agg(label ORDER BY ordinality) FILTER (WHERE verdict = 'delete'),
           jsonb_object_agg(item->>'token', label) FILTER (WHERE verdict = 'upsert'),
           count(item->>'reference_id') > count(DISTINCT item->>'reference_id' COLLATE "C")
    INTO verdicts, labels, stale, upserts, deletes, deleters, writers, ambiguous
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
        SELECT u.created, u.updated INTO created, updated FROM intake.upsert_incidents(upserts, writers) u;
    END IF;
    IF deletes IS NOT NULL THEN
        deleted := intake.delete_incidents(deletes, deleters);
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

CREATE VIEW reporting.incident_history AS
SELECT c.change_id, c.reference_id AS source_id, c.changed_at, c.action, c.token_label AS changed_by, c.before, c.after
FROM intake.incident_change c;
COMMENT ON VIEW reporting.incident_history IS
    'What became of incidents, deleted ones too: a row for each change since the history was turned on.';
COMMENT ON COLUMN reporting.incident_history.change_id IS 'Of one incident, the order of its changes. Numbers may be missing.';
COMMENT ON COLUMN reporting.incident_history.source_id IS 'The sender''s reference_id.';
COMMENT ON COLUMN reporting.incident_history.changed_at IS 'When it was stored.';
COMMENT ON COLUMN reporting.incident_history.action IS 'created, updated or deleted.';
COMMENT ON COLUMN reporting.incident_history.changed_by IS 'The label of the token; incidentctl for what an administrator deleted.';
COMMENT ON COLUMN reporting.incident_history.before IS
    'The incident before the change, with its services ([[identifier, name], ...]) and metadata; NULL at creation.';
COMMENT ON COLUMN reporting.incident_history.after IS 'The same after the change; NULL at deletion.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;
SELECT intake.grant_roles();

INSERT INTO intake.migration (version, name, checksum)
VALUES (4, 'history', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
