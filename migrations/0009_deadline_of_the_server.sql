-- What was given up is never stored later. A call of apply_batch brings a moment of this server's clock after which it is not to
-- be stored, in the place of a time to be counted from its arrival: a session that stands still arrives late. And a call whose
-- connection was lost is not stored behind its own repetition, even where it had not begun when that was through.
--
-- A worker of the schema before this one answers 503 until it is started anew: apply_batch is called otherwise.
BEGIN;
SET LOCAL lock_timeout = '10s';

CREATE TABLE intake.abandoned_attempt (
    number       bigint PRIMARY KEY,
    abandoned_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE intake.abandoned_attempt IS
    'Calls of apply_batch whose connection was lost and which were repeated: they must not be stored any more. Kept for a day.';

CREATE FUNCTION intake.to_microseconds(moment timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN (extract(epoch FROM moment) * 1000000)::bigint;
COMMENT ON FUNCTION intake.to_microseconds(timestamptz) IS 'Microseconds since 1970, as the worker counts this server''s time.';

-- Waits for those of the calls that run, and sees to it that none of them is stored from then on.
CREATE FUNCTION intake.abandon_attempts(lost bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
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

DROP FUNCTION intake.delete_incidents(text[], text[]);

-- Deletes those of the incidents that are there, and returns their ids. What is not there may be about to be: a call that
-- creates it may stand still between the check of its time and its commit, long after its client was told that it failed.
-- To put a row in its place waits for that.
CREATE FUNCTION intake.delete_incidents(ids text[], labels text[]) RETURNS text[]
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
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

DROP FUNCTION intake.apply_batch(integer, jsonb, integer, bigint, bigint[]);

-- Applies a batch of requests in one transaction and says what became of each, in their order. An element of items:
--   op            "upsert", "delete", "authorize" (the token alone is looked at) or "ping" (not even that)
--   token         SHA-256 of the bearer token, in hexadecimal
--   scope         with "authorize", the scope that the token must have; else the op itself is the scope
--   and the keys that upsert_incidents, or delete (reference_id), takes.
-- outcome is created, updated, unchanged, deleted, not_found, authorized, ready, not_authed or not_permitted.
-- Raises IS001 where the caller was built for a newer schema than this, or for one so old that it calls otherwise (9 was the
-- last to change that; a migration that does again has its own number there), before anything is looked at, and 21000
-- where two elements would change the same incident: in a set neither comes first.
--
-- store_until_us is the moment after which nothing is stored (IS002), in microseconds since 1970 of this server's clock: the
-- caller has told its client by then that the request failed, and something newer may have been stored since. It is an
-- absolute time, for a session can stand still before it reads the call, and nobody could say for how long. The caller
-- knows the clock from what this server has told it before. server_started_us says which server that was; IS002 where
-- it was another, behind a pooler that has turned to it. The check comes when all rows are locked. They stay locked to
-- the end of the transaction, so nothing newer can slip in between the check and the commit, however long that takes.
--
-- attempt is a number that no other call has, lost are those of earlier calls with the same item of which the caller has not
-- heard, as its connection broke: they may still run, wait for a lock, or not have begun. Each call holds its own number
-- as an advisory lock to its end, and one that follows lost ones holds theirs too and leaves their numbers in
-- abandoned_attempt. So one of the two comes second and sees the first: a lost call that was not through by then is not
-- stored (55P03). Else it could be stored after this one, and after what the client has sent since.
--
-- The planner's settings: plans that hold whatever the arrays are and however the tables grow, one look into an index for
-- each item. Without them the plans of a session that began on empty tables read them whole, later on too.
CREATE FUNCTION intake.apply_batch(expected_version integer, items jsonb, store_until_us bigint DEFAULT NULL,
                                   server_started_us bigint DEFAULT NULL, attempt bigint DEFAULT NULL,
                                   lost bigint[] DEFAULT '{}')
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
            RAISE EXCEPTION 'two items of a batch name the same incident' USING ERRCODE = 'cardinality_violation';
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

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;
SELECT intake.grant_roles();

INSERT INTO intake.migration (version, name, checksum)
VALUES (9, 'deadline_of_the_server', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
