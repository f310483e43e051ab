-- A database as version 0.1 left it: pg_dump --schema=intake --no-owner --no-acl of one that its nine migrations made, with eight
-- incidents that its incidentctl imported, and a token ("version-0-1-test-token"). version_0_1.jsonl beside this is what its
-- incidentctl exported. Of the views of reporting, only the history is here: what moves, moves without the others.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA intake;

COMMENT ON SCHEMA intake IS 'Tables that incidents.fcgi writes, through functions alone.';

CREATE FUNCTION intake.abandon_attempts(lost bigint[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(earlier) FROM unnest(lost) earlier;
    INSERT INTO intake.abandoned_attempt (number) SELECT unnest(lost) ON CONFLICT DO NOTHING;
    -- None lives for as long as a day. SKIP LOCKED: two repetitions need not wait for one another.
    DELETE FROM intake.abandoned_attempt
    WHERE number IN (SELECT a.number FROM intake.abandoned_attempt a
                      WHERE a.abandoned_at < now() - interval '1 day' FOR UPDATE SKIP LOCKED);
END
$$;

CREATE FUNCTION intake.apply_batch(expected_version integer, items jsonb, store_until_us bigint DEFAULT NULL::bigint, server_started_us bigint DEFAULT NULL::bigint, attempt bigint DEFAULT NULL::bigint, lost bigint[] DEFAULT '{}'::bigint[]) RETURNS TABLE(outcome text, token_label text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '500ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_material TO 'off'
    AS $$
DECLARE
    verdicts         text[]; -- of the items, in their order,
    labels           text[]; -- the labels of their tokens,
    incidents        text[]; -- and their reference_ids
    stale            integer[];
    absent           jsonb[];
    absent_labels    text[];
    differing        jsonb[];
    differing_labels text[];
    deletes          text[];
    deleters         text[];
    is_locked        boolean;
    stored           record;
    created          text[];
    updated          text[];
    deleted          text[];
BEGIN
    IF attempt IS NOT NULL THEN
        is_locked := pg_advisory_xact_lock(attempt) IS NOT NULL; -- PERFORM would start a query for it
        IF EXISTS (SELECT FROM intake.abandoned_attempt a WHERE a.number = attempt) THEN
            RAISE EXCEPTION 'the call was abandoned' USING ERRCODE = 'lock_not_available';
        END IF;
        IF lost <> '{}' THEN
            PERFORM intake.abandon_attempts(lost);
        END IF;
    END IF;

    IF expected_version NOT BETWEEN 9 AND intake.schema_version() THEN
        RAISE EXCEPTION 'this database has schema version %, the program needs %', intake.schema_version(), expected_version
            USING ERRCODE = 'IS001';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN -- each statement below counts on a fresh snapshot
        RAISE EXCEPTION 'transactions of this role must be READ COMMITTED, see default_transaction_isolation'
            USING ERRCODE = 'IS003';
    END IF;
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'this database is read-only' USING ERRCODE = 'read_only_sql_transaction';
    END IF;

    -- A verdict is the outcome already, or what is to be done. One statement, so one snapshot: an incident and its services
    -- are compared as they stood at one moment. OFFSET 0 and ORDER BY keep the planner from working a verdict out anew
    -- wherever it is used.
    SELECT array_agg(verdict), array_agg(label), array_agg(reference_id),
           array_agg(token_id) FILTER (WHERE last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute'),
           array_agg(item) FILTER (WHERE verdict = 'absent'),
           array_agg(label) FILTER (WHERE verdict = 'absent'),
           array_agg(item) FILTER (WHERE verdict = 'differing'),
           array_agg(label) FILTER (WHERE verdict = 'differing')
    INTO verdicts, labels, incidents, stale, absent, absent_labels, differing, differing_labels
    FROM (
        SELECT place, item, permitted.reference_id, token_id, label, last_used_at,
               CASE WHEN verdict <> 'upsert' THEN verdict
                    WHEN i.reference_id IS NULL THEN 'absent'
                    WHEN i.xmax <> 0 THEN 'differing' -- or about to: whoever has the row has not committed
                    WHEN intake.would_change(i, item)
                      OR jsonb_array_length(services) <> ( -- as many as are stored, and each in its place
                            SELECT CASE WHEN bool_and((s.identifier, s.name) IS NOT DISTINCT FROM
                                                      (services->(s.position - 1)->>0, services->(s.position - 1)->>1)) IS NOT FALSE
                                        THEN count(*) ELSE -1 END
                            FROM intake.incident_service s
                            WHERE s.reference_id = i.reference_id)
                    THEN 'differing'
                    ELSE 'unchanged'
               END AS verdict
        FROM (
            SELECT place, item, item->>'reference_id' AS reference_id, item->'services' AS services,
                   t.token_id, t.label, t.last_used_at,
                   CASE WHEN item->>'op' = 'ping' THEN 'ready'
                        WHEN t.token_id IS NULL THEN 'not_authed'
                        WHEN coalesce(item->>'scope', item->>'op') = ANY (t.scopes) IS NOT TRUE THEN 'not_permitted'
                        WHEN item->>'op' = 'authorize' THEN 'authorized'
                        ELSE item->>'op'
                   END AS verdict
            FROM jsonb_array_elements(items) WITH ORDINALITY AS _(item, place)
            LEFT JOIN intake.api_token t
                   ON t.token_hash = decode(item->>'token', 'hex')
                  AND t.revoked_at IS NULL
                  AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
            OFFSET 0) AS permitted
        LEFT JOIN intake.incident i ON verdict = 'upsert' AND i.reference_id = permitted.reference_id
        ORDER BY place) AS judged;

    IF absent IS NOT NULL OR differing IS NOT NULL THEN
        stored := intake.upsert_incidents(absent, absent_labels, differing, differing_labels);
        created := stored.created;
        updated := stored.updated;
    END IF;
    IF 'delete' = ANY (verdicts) THEN
        IF (SELECT count(incident) > count(DISTINCT incident COLLATE "C") FROM unnest(incidents) incident) THEN
            RAISE EXCEPTION 'two operations of a batch name the same incident' USING ERRCODE = 'cardinality_violation';
        END IF;
        SELECT array_agg(incident), array_agg(label) INTO deletes, deleters
        FROM unnest(incidents, labels, verdicts) AS _(incident, label, verdict)
        WHERE verdict = 'delete';
        deleted := intake.delete_incidents(deletes, deleters);
    END IF;

    -- SKIP LOCKED: the last use is no reason for two batches to wait for one another.
    IF stale IS NOT NULL THEN
        UPDATE intake.api_token t SET last_used_at = clock_timestamp()
        FROM (SELECT token_id FROM intake.api_token WHERE token_id = ANY (stale) FOR UPDATE SKIP LOCKED) AS free
        WHERE t.token_id = free.token_id;
    END IF;

    IF server_started_us <> intake.to_microseconds(pg_postmaster_start_time())
       OR store_until_us < intake.to_microseconds(clock_timestamp()) THEN
        RAISE EXCEPTION 'the batch came too late, or by the clock of another server' USING ERRCODE = 'IS002';
    END IF;

    -- Under synchronous replication a commit waits for the standby, but one that wrote nothing has nothing to wait for.
    -- "Unchanged" would then be said of what only this server has: committed before it crashed, or while somebody canceled
    -- the wait; or on a stray that was the primary once. Such a batch therefore writes a message to the log, which nobody
    -- reads, and its commit waits for that one and all before it. That somebody canceled the wait is told in a warning,
    -- which the session must not have turned off until the transaction's end, behind the wait.
    IF current_setting('synchronous_standby_names') <> '' THEN
        PERFORM set_config('client_min_messages', 'warning', true);
        IF pg_current_xact_id_if_assigned() IS NULL AND verdicts && ARRAY['unchanged', 'absent', 'differing', 'delete'] THEN
            PERFORM pg_logical_emit_message(true, 'incidents', ''::text);
        END IF;
    END IF;

    FOR n IN 1 .. coalesce(cardinality(verdicts), 0) LOOP
        outcome := CASE WHEN verdicts[n] IN ('absent', 'differing')
                        THEN CASE WHEN incidents[n] = ANY (created) THEN 'created'
                                  WHEN incidents[n] = ANY (updated) THEN 'updated'
                                  ELSE 'unchanged' END
                        WHEN verdicts[n] = 'delete'
                        THEN CASE WHEN incidents[n] = ANY (deleted) THEN 'deleted' ELSE 'not_found' END
                        ELSE verdicts[n] END;
        token_label := labels[n];
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE FUNCTION intake.delete_incidents(ids text[], labels text[]) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    locked text[] := ARRAY(
        SELECT i.reference_id FROM intake.incident i WHERE i.reference_id = ANY (ids) ORDER BY i.reference_id FOR UPDATE);
    placed text[];
BEGIN
    IF cardinality(locked) < cardinality(ids) THEN
        WITH placeholder AS (
            INSERT INTO intake.incident AS i (reference_id, started_at, created_at, updated_at)
            SELECT id, now(), now(), now() FROM unnest(ids) id WHERE id <> ALL (locked) ORDER BY id COLLATE "C"
            ON CONFLICT (reference_id) DO NOTHING
            RETURNING i.reference_id)
        SELECT coalesce(array_agg(p.reference_id), '{}') INTO placed FROM placeholder p;
        DELETE FROM intake.incident i WHERE i.reference_id = ANY (placed);
        IF cardinality(locked) + cardinality(placed) < cardinality(ids) THEN
            locked := ARRAY(
                SELECT i.reference_id FROM intake.incident i WHERE i.reference_id = ANY (ids)
                ORDER BY i.reference_id FOR UPDATE);
        END IF;
    END IF;
    IF locked = '{}' THEN
        RETURN locked;
    END IF;
    IF intake.keeps_history() THEN
        INSERT INTO intake.incident_change (reference_id, changed_at, action, token_label, before)
        SELECT v.reference_id, greatest(clock_timestamp(), v.updated_at), 'deleted', l.label, v.image
        FROM unnest(ids, labels) AS l (reference_id, label)
        JOIN intake.incident_image v ON v.reference_id = l.reference_id
        WHERE l.reference_id = ANY (locked);
    END IF;
    DELETE FROM intake.incident i WHERE i.reference_id = ANY (locked);
    RETURN locked;
END
$$;

CREATE FUNCTION intake.grant_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    groups text := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
                    WHERE rolname IN ('incidents_worker', 'incidents_reader'));
BEGIN
    IF groups IS NOT NULL AND has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION')
       AND EXISTS (SELECT FROM pg_roles WHERE rolname IN ('incidents_worker', 'incidents_reader')
                   AND NOT has_database_privilege(oid, current_database(), 'CONNECT')) THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %s', current_database(), groups);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'incidents_worker') THEN
        GRANT USAGE ON SCHEMA intake TO incidents_worker;
        EXECUTE (SELECT format('GRANT EXECUTE ON FUNCTION %s TO incidents_worker', string_agg(p.oid::regprocedure::text, ', '))
                 FROM pg_proc p
                 WHERE p.pronamespace = 'intake'::regnamespace AND p.proname IN ('apply_batch', 'schema_version'));
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'incidents_reader') THEN
        GRANT USAGE ON SCHEMA reporting TO incidents_reader;
        GRANT EXECUTE ON FUNCTION reporting.time_zone() TO incidents_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO incidents_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA reporting GRANT SELECT ON TABLES TO incidents_reader;
    END IF;
END
$$;

CREATE FUNCTION intake.keep_history(wanted boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10s'
    AS $$
BEGIN
    LOCK TABLE intake.incident IN EXCLUSIVE MODE;
    EXECUTE format('CREATE OR REPLACE FUNCTION intake.keeps_history() RETURNS boolean LANGUAGE sql IMMUTABLE AS %L',
                   'SELECT ' || wanted);
END
$$;

COMMENT ON FUNCTION intake.keep_history(wanted boolean) IS 'Turns the history of incidents on or off. For the owner of the schema.';

CREATE FUNCTION intake.keeps_history() RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$SELECT false$$;

COMMENT ON FUNCTION intake.keeps_history() IS 'Whether changes are written to incident_change; keep_history() renews it.';

CREATE FUNCTION intake.purge_history(changes bigint[], older_than timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM set_config('incidents.purges_history', 'on', true); -- a SET of the function's own would take a superuser
    DELETE FROM intake.incident_change c WHERE c.change_id = ANY (changes) AND c.changed_at < older_than;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('incidents.purges_history', 'off', true);
    RETURN deleted;
END
$$;

COMMENT ON FUNCTION intake.purge_history(changes bigint[], older_than timestamp with time zone) IS 'Deletes those of the changes from the history that are older. For the owner of the schema.';

CREATE FUNCTION intake.refuse_orphans() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF EXISTS (SELECT FROM intake.incident_service) THEN
        RAISE EXCEPTION 'truncate intake.incident_service in the same command' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION intake.refuse_renaming() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'an incident keeps its reference_id: its services are stored under it' USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION intake.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('incidents.purges_history', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the history of incidents is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION intake.remove_services() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM intake.incident_service s USING gone WHERE s.reference_id = gone.reference_id;
    RETURN NULL;
END
$$;

CREATE FUNCTION intake.renew_schema_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION intake.schema_version() RETURNS integer LANGUAGE sql IMMUTABLE AS %L',
                   'SELECT ' || (SELECT max(m.version) FROM intake.migration m));
    RETURN NULL;
END
$$;

CREATE FUNCTION intake.replace_services(created jsonb[], locked jsonb[]) RETURNS text[]
    LANGUAGE plpgsql
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

CREATE FUNCTION intake.schema_version() RETURNS integer
    LANGUAGE sql IMMUTABLE
    AS $$SELECT 9$$;

COMMENT ON FUNCTION intake.schema_version() IS 'The newest migration that this database has seen.';

CREATE FUNCTION intake.timestamp_text(moment timestamp with time zone) RETURNS text
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

CREATE FUNCTION intake.to_microseconds(moment timestamp with time zone) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN ((EXTRACT(epoch FROM moment) * (1000000)::numeric))::bigint;

COMMENT ON FUNCTION intake.to_microseconds(moment timestamp with time zone) IS 'Microseconds since 1970, as the worker counts this server''s time.';

CREATE FUNCTION intake.upsert_incidents(items jsonb[], labels jsonb, OUT created text[], OUT updated text[]) RETURNS record
    LANGUAGE plpgsql
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

CREATE FUNCTION intake.upsert_incidents(absent jsonb[], absent_labels text[], differing jsonb[], differing_labels text[], OUT created text[], OUT updated text[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    moment          timestamptz;
    now_created     text[];
    now_locked      text[];
    now_relinked    text[];
    now_updated     text[];
    keeping         boolean;
    images          jsonb; -- before the change, by reference_id
    appeared        jsonb[]; -- of the absent, since the caller looked
    appeared_labels text[];
    vanished        jsonb[]; -- of the differing
    vanished_labels text[];
    rounds          integer := 0;
BEGIN
    LOOP
        rounds := rounds + 1;
        IF rounds > 20 THEN -- a trigger of somebody else's keeps the row away, or others delete it each time
            RAISE EXCEPTION 'an incident vanished 20 times while it was stored' USING ERRCODE = 'serialization_failure';
        END IF;
        now_created := '{}';
        now_locked := '{}';
        now_updated := '{}';
        images := NULL;

        -- Where another transaction creates the same incident, this waits for it and leaves the incident to the next round.
        IF absent IS NOT NULL THEN
            moment := clock_timestamp();
            WITH inserted AS (
                INSERT INTO intake.incident AS i
                    (reference_id, name, priority, source_url, started_at, resolved_at, metadata, created_at, updated_at,
                     updated_by)
                SELECT item->>'reference_id', item->>'name', item->>'priority', item->>'source_url',
                       (item->>'started_at')::timestamptz, (item->>'resolved_at')::timestamptz,
                       nullif(item->'metadata', 'null'), moment, moment, label
                FROM unnest(absent, absent_labels) AS _(item, label)
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

        -- What appeared, or vanished, since the look.
        appeared := NULL;
        IF cardinality(absent) > cardinality(now_created) THEN
            SELECT array_agg(item) FILTER (WHERE is_done), array_agg(item) FILTER (WHERE NOT is_done),
                   array_agg(label) FILTER (WHERE NOT is_done)
            INTO absent, appeared, appeared_labels
            FROM unnest(absent, absent_labels) AS _(item, label),
                 LATERAL (SELECT item->>'reference_id' = ANY (now_created) AS is_done) done;
        END IF;
        vanished := NULL;
        IF cardinality(differing) > cardinality(now_locked) THEN
            SELECT array_agg(item) FILTER (WHERE is_done), array_agg(label) FILTER (WHERE is_done),
                   array_agg(item) FILTER (WHERE NOT is_done), array_agg(label) FILTER (WHERE NOT is_done)
            INTO differing, differing_labels, vanished, vanished_labels
            FROM unnest(differing, differing_labels) AS _(item, label),
                 LATERAL (SELECT item->>'reference_id' = ANY (now_locked) AS is_done) done;
        END IF;
        IF cardinality(absent) > cardinality(now_created) OR cardinality(differing) > cardinality(now_locked) THEN
            RAISE EXCEPTION 'two operations of a batch name the same incident' USING ERRCODE = 'cardinality_violation';
        END IF;

        now_relinked := intake.replace_services(absent, differing);

        IF differing IS NOT NULL THEN
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
                    updated_by  = label
                FROM unnest(differing, differing_labels) AS _(item, label)
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

        EXIT WHEN vanished IS NULL AND appeared IS NULL;
        absent := vanished;
        absent_labels := vanished_labels;
        differing := appeared;
        differing_labels := appeared_labels;
    END LOOP;
END
$$;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE intake.incident (
    reference_id text NOT NULL COLLATE pg_catalog."C",
    name text,
    priority text,
    source_url text,
    started_at timestamp with time zone NOT NULL,
    resolved_at timestamp with time zone,
    metadata jsonb,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    id bigint NOT NULL,
    updated_by text,
    CONSTRAINT incident_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT incident_reference_id_check CHECK (((octet_length(reference_id) >= 1) AND (octet_length(reference_id) <= 1024)))
)
WITH (fillfactor='90');

COMMENT ON TABLE intake.incident IS 'One row an incident, as its last upsert left it.';

COMMENT ON COLUMN intake.incident.reference_id IS 'The sender''s identifier, kept byte for byte.';

COMMENT ON COLUMN intake.incident.name IS 'NULL where it was never given or was cleared; so with every optional column.';

COMMENT ON COLUMN intake.incident.resolved_at IS 'NULL while the incident is open. May lie before started_at: clocks differ.';

COMMENT ON COLUMN intake.incident.created_at IS 'When this database first saw the incident.';

COMMENT ON COLUMN intake.incident.updated_at IS 'When a request last changed the incident, its services or its metadata.';

COMMENT ON COLUMN intake.incident.id IS 'For reports to join by: the same for as long as the incident is stored.';

COMMENT ON COLUMN intake.incident.updated_by IS 'The label of the token that last changed it, at updated_at. NULL where that was before there was this column.';

CREATE FUNCTION intake.would_change(incident intake.incident, item jsonb) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT incident.started_at <> (item->>'started_at')::timestamptz
        OR incident.name IS DISTINCT FROM item->>'name' AND item ? 'name'
        OR incident.priority IS DISTINCT FROM item->>'priority' AND item ? 'priority'
        OR incident.source_url IS DISTINCT FROM item->>'source_url' AND item ? 'source_url'
        OR incident.resolved_at IS DISTINCT FROM (item->>'resolved_at')::timestamptz AND item ? 'resolved_at'
        OR item ? 'metadata' AND incident.metadata::text IS DISTINCT FROM item->>'metadata'
$$;

CREATE TABLE intake.abandoned_attempt (
    number bigint NOT NULL,
    abandoned_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE intake.abandoned_attempt IS 'Calls of apply_batch whose connection was lost and which were repeated: they must not be stored any more. Kept for a day.';

CREATE TABLE intake.api_token (
    token_id integer NOT NULL,
    token_hash bytea NOT NULL,
    prefix text NOT NULL,
    label text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT api_token_label_check CHECK ((label <> ''::text)),
    CONSTRAINT api_token_scopes_check CHECK (((scopes <@ ARRAY['upsert'::text, 'delete'::text]) AND (cardinality(scopes) > 0))),
    CONSTRAINT api_token_token_hash_check CHECK ((octet_length(token_hash) = 32))
);

COMMENT ON TABLE intake.api_token IS 'Bearer tokens, never in the clear.';

COMMENT ON COLUMN intake.api_token.token_hash IS 'SHA-256 of the token''s bytes. The token has 256 random bits, so it needs no salt.';

COMMENT ON COLUMN intake.api_token.prefix IS 'The token''s first characters, to recognise it by.';

COMMENT ON COLUMN intake.api_token.last_used_at IS 'At most a minute old: written no oftener.';

ALTER TABLE intake.api_token ALTER COLUMN token_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME intake.api_token_token_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE intake.incident_change (
    change_id bigint NOT NULL,
    reference_id text NOT NULL COLLATE pg_catalog."C",
    changed_at timestamp with time zone NOT NULL,
    action text NOT NULL,
    token_label text,
    before jsonb,
    after jsonb,
    CONSTRAINT incident_change_check CHECK (
CASE action
    WHEN 'created'::text THEN ((before IS NULL) AND (after IS NOT NULL))
    WHEN 'updated'::text THEN ((before IS NOT NULL) AND (after IS NOT NULL))
    WHEN 'deleted'::text THEN ((before IS NOT NULL) AND (after IS NULL))
    ELSE false
END)
);

COMMENT ON TABLE intake.incident_change IS 'What became of incidents, one row a change; nothing in it is ever changed.';

COMMENT ON COLUMN intake.incident_change.change_id IS 'Of one incident, the order of its changes. Numbers may be missing.';

COMMENT ON COLUMN intake.incident_change.changed_at IS 'As updated_at of the incident.';

COMMENT ON COLUMN intake.incident_change.action IS 'created, updated or deleted. A request that changed nothing left no row.';

COMMENT ON COLUMN intake.incident_change.token_label IS 'The label of the token; incidentctl for what an administrator deleted with it.';

COMMENT ON COLUMN intake.incident_change.before IS 'The incident with its services ([[identifier, name], ...]) and metadata; NULL at creation.';

COMMENT ON COLUMN intake.incident_change.after IS 'The same after the change; NULL at deletion.';

ALTER TABLE intake.incident_change ALTER COLUMN change_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME intake.incident_change_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE intake.incident ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME intake.incident_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE intake.incident_service (
    reference_id text NOT NULL COLLATE pg_catalog."C",
    identifier text NOT NULL COLLATE pg_catalog."C",
    name text,
    "position" integer NOT NULL,
    id bigint NOT NULL,
    CONSTRAINT incident_service_identifier_check CHECK (((octet_length(identifier) >= 1) AND (octet_length(identifier) <= 1024))),
    CONSTRAINT incident_service_position_check CHECK (("position" > 0))
);

COMMENT ON TABLE intake.incident_service IS 'The services that an incident affects.';

COMMENT ON COLUMN intake.incident_service."position" IS 'From 1, in the order sent.';

COMMENT ON COLUMN intake.incident_service.id IS 'For reports: the same for as long as the incident has the service.';

CREATE VIEW intake.incident_image AS
 SELECT i.reference_id,
    i.updated_at,
    i.updated_by,
    jsonb_build_object('reference_id', i.reference_id, 'name', i.name, 'priority', i.priority, 'source_url', i.source_url, 'started_at', intake.timestamp_text(i.started_at), 'resolved_at', intake.timestamp_text(i.resolved_at), 'services', ( SELECT COALESCE(jsonb_agg(jsonb_build_array(s.identifier, s.name) ORDER BY s."position"), '[]'::jsonb) AS "coalesce"
           FROM intake.incident_service s
          WHERE (s.reference_id = i.reference_id)), 'metadata', i.metadata) AS image
   FROM intake.incident i;

COMMENT ON VIEW intake.incident_image IS 'Incidents with their services and metadata, as incident_change has them.';

ALTER TABLE intake.incident_service ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME intake.incident_service_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE intake.migration (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_by text DEFAULT CURRENT_USER NOT NULL
);

COMMENT ON TABLE intake.migration IS 'The migrations that this database has seen.';

COMMENT ON COLUMN intake.migration.checksum IS 'SHA-256 of the file, in hexadecimal; NULL where psql applied it, until incidentctl migrate runs next.';

--
-- Data for Name: abandoned_attempt; Type: TABLE DATA; Schema: intake; Owner: -
--

COPY intake.abandoned_attempt (number, abandoned_at) FROM stdin;
\.

--
-- Data for Name: api_token; Type: TABLE DATA; Schema: intake; Owner: -
--

COPY intake.api_token (token_id, token_hash, prefix, label, scopes, created_at, expires_at, revoked_at, last_used_at) FROM stdin;
1	\\xee4e6f5332f0039035f3ab11a91226e7f94cf36c258a0abc47df5dcec100b8b9	vers	statuspage bot	{upsert,delete}	2026-11-28 07:53:24.278274+00	\N	\N	\N
\.

--
-- Data for Name: incident; Type: TABLE DATA; Schema: intake; Owner: -
--

COPY intake.incident (reference_id, name, priority, source_url, started_at, resolved_at, metadata, created_at, updated_at, id, updated_by) FROM stdin;
 odd "characters" \\ / äß 中 🔥 𭠀	tab\tline\nreturn\r bell delete joined‍ mark‮ end	\N	\N	2024-05-01 00:00:00+00	\N	{"k-1_K": "<script>&amp;  "}	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	1	incidentctl import
18446744073709551616	\N	\N	\N	2024-06-01 00:00:00+00	\N	\N	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	2	incidentctl import
INC-1	Checkout fails	P1	https://status.example/incidents/1	2024-01-01 11:22:33+00	2024-01-01 12:00:00.123456+00	{"deep": {"er": {"est": "x"}}, "tags": ["a", 1, null, true], "team": "payments"}	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	3	incidentctl import
INC-2	\N	\N	\N	2024-03-01 07:59:59.999999+00	\N	\N	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	4	incidentctl import
INC-3				2024-03-01 00:00:00+00	2024-02-01 00:00:00+00	\N	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	5	incidentctl import
digits	\N	\N	\N	2024-04-01 00:00:00+00	\N	{"big": 18446744073709551616, "text": "1.10", "tiny": 0.000000000000000000000000000001, "cents": 1.10, "exponent": 1000, "negative": 0.0}	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	6	incidentctl import
first	\N	\N	\N	0001-01-01 00:00:01+00	0001-01-01 00:00:02+00	\N	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	7	incidentctl import
last	\N	\N	\N	9999-12-31 23:59:59.999999+00	\N	\N	2026-11-28 07:53:24.511917+00	2026-11-28 07:53:24.511917+00	8	incidentctl import
\.

--
-- Data for Name: incident_change; Type: TABLE DATA; Schema: intake; Owner: -
--

COPY intake.incident_change (change_id, reference_id, changed_at, action, token_label, before, after) FROM stdin;
\.

--
-- Data for Name: incident_service; Type: TABLE DATA; Schema: intake; Owner: -
--

COPY intake.incident_service (reference_id, identifier, name, "position", id) FROM stdin;
INC-1	checkout	Checkout	1	1
INC-1	api	\N	2	2
INC-1	a b		3	3
INC-3	z	\N	1	4
INC-3	y	\N	2	5
INC-3	x	\N	3	6
 odd "characters" \\ / äß 中 🔥 𭠀	über;dienst, "1"	𝠀 ﻿￿	1	7
 odd "characters" \\ / äß 中 🔥 𭠀	Á	Á	2	8
 odd "characters" \\ / äß 中 🔥 𭠀	Á	\N	3	9
18446744073709551616	s012	\N	1	10
18446744073709551616	s011	\N	2	11
18446744073709551616	s010	\N	3	12
18446744073709551616	s009	\N	4	13
18446744073709551616	s008	\N	5	14
18446744073709551616	s007	\N	6	15
18446744073709551616	s006	\N	7	16
18446744073709551616	s005	\N	8	17
18446744073709551616	s004	\N	9	18
18446744073709551616	s003	\N	10	19
18446744073709551616	s002	\N	11	20
18446744073709551616	s001	\N	12	21
\.

--
-- Data for Name: migration; Type: TABLE DATA; Schema: intake; Owner: -
--

COPY intake.migration (version, name, checksum, applied_at, applied_by) FROM stdin;
1	initial	b7e5262cf3e65def03427555d7860ed9e6c8653740527917d769b60b829b8bf1	2026-11-28 07:53:23.059628+00	incidents_owner
2	batches_as_sets	8040e590881fc0673e95412dbd76e84e6fea8cecace1b8b5ca52d88c6e643746	2026-11-28 07:53:23.127803+00	incidents_owner
3	reporting	13f1ceabb1d157619d13d84f8e31a9cd5a85df36b91ddc855c874ad5fceec45d	2026-11-28 07:53:23.149657+00	incidents_owner
4	history	87aef5b317dd9f9cc9f9b4d041386e912e7d3bcdd998055539ea1f33242382f0	2026-11-28 07:53:23.303147+00	incidents_owner
5	fewer_statements	667c539d21127fe30bc15c3ee6872cfc575eb18b502636988a72782205099d2b	2026-11-28 07:53:23.332826+00	incidents_owner
6	long_names	080210bff009cdc4805b23fb4a81dca2323d5d450966dbb75dcc524bc144bba2	2026-11-28 07:53:23.357006+00	incidents_owner
7	grants_by_name	03c7e3d54b0a5acc81437d35fbd9878ab4d3ed894d3097bdb56a540dff945cef	2026-11-28 07:53:23.3677+00	incidents_owner
8	purging_history	816ccd9d6f44d5bf0d8e2ee223b213a697cdf87b500f40c5a007fed8c419b418	2026-11-28 07:53:23.381495+00	incidents_owner
9	deadline_of_the_server	5af7a714c92f4bbe1e2ff7488d8e756bf679785c4758c59ac5b0445748d025ad	2026-11-28 07:53:23.402051+00	incidents_owner
\.

SELECT pg_catalog.setval('intake.api_token_token_id_seq', 2, true);

SELECT pg_catalog.setval('intake.incident_change_change_id_seq', 1, false);

SELECT pg_catalog.setval('intake.incident_id_seq', 8, true);

SELECT pg_catalog.setval('intake.incident_service_id_seq', 21, true);

ALTER TABLE ONLY intake.abandoned_attempt
    ADD CONSTRAINT abandoned_attempt_pkey PRIMARY KEY (number);

ALTER TABLE ONLY intake.api_token
    ADD CONSTRAINT api_token_pkey PRIMARY KEY (token_id);

ALTER TABLE ONLY intake.api_token
    ADD CONSTRAINT api_token_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY intake.incident_change
    ADD CONSTRAINT incident_change_pkey PRIMARY KEY (reference_id, change_id);

ALTER TABLE ONLY intake.incident
    ADD CONSTRAINT incident_pkey PRIMARY KEY (reference_id);

ALTER TABLE ONLY intake.incident_service
    ADD CONSTRAINT incident_service_pkey PRIMARY KEY (reference_id, identifier);

ALTER TABLE ONLY intake.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);

CREATE INDEX incident_change_change_id ON intake.incident_change USING btree (change_id);

CREATE INDEX incident_id ON intake.incident USING btree (id);

CREATE INDEX incident_service_service ON intake.incident_service USING btree ("left"(COALESCE(NULLIF(name, ''::text), identifier), 600));

CREATE INDEX incident_started_at ON intake.incident USING btree (started_at);

CREATE TRIGGER refuse_orphans AFTER TRUNCATE ON intake.incident FOR EACH STATEMENT EXECUTE FUNCTION intake.refuse_orphans();

CREATE TRIGGER refuse_renaming BEFORE UPDATE OF reference_id ON intake.incident FOR EACH ROW WHEN ((old.reference_id <> new.reference_id)) EXECUTE FUNCTION intake.refuse_renaming();

CREATE TRIGGER refuse_rewriting BEFORE DELETE OR UPDATE OR TRUNCATE ON intake.incident_change FOR EACH STATEMENT EXECUTE FUNCTION intake.refuse_rewriting();

CREATE TRIGGER remove_services AFTER DELETE ON intake.incident REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION intake.remove_services();

CREATE TRIGGER renew_schema_version AFTER INSERT OR DELETE OR UPDATE ON intake.migration FOR EACH STATEMENT EXECUTE FUNCTION intake.renew_schema_version();

CREATE SCHEMA reporting;

CREATE VIEW reporting.incident_history AS
 SELECT c.change_id,
    c.reference_id AS source_id,
    c.changed_at,
    c.action,
    c.token_label AS changed_by,
    c.before,
    c.after
   FROM intake.incident_change c;
