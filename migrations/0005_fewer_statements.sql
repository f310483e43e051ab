-- A batch costs fewer statements: the one that looks at the tokens compares with what is stored as well, so a batch that
-- changes nothing is done with it, and what only a race makes necessary is left out where there was none.
--
-- The key of the history contains reference_id, as all others do. Its indexes are made anew, which takes some seconds for a
-- million changes and keeps batches waiting where there is a history.
BEGIN;
SET LOCAL lock_timeout = '10s';

ALTER TABLE intake.incident_change DROP CONSTRAINT IF EXISTS incident_change_pkey; -- which Citus had to be without
ALTER TABLE intake.incident_change ADD PRIMARY KEY (reference_id, change_id);
DROP INDEX IF EXISTS intake.incident_change_reference_id;
CREATE INDEX incident_change_change_id ON intake.incident_change (change_id);

-- As 0002 has it, but that a value which is there and the same is not looked for a second time.
CREATE OR REPLACE FUNCTION intake.would_change(incident intake.incident, item jsonb) RETURNS boolean
    LANGUAGE sql STABLE
AS $$
    SELECT incident.started_at <> (item->>'started_at')::timestamptz
        OR incident.name IS DISTINCT FROM item->>'name' AND item ? 'name'
        OR incident.priority IS DISTINCT FROM item->>'priority' AND item ? 'priority'
        OR incident.source_url IS DISTINCT FROM item->>'source_url' AND item ? 'source_url'
        OR incident.resolved_at IS DISTINCT FROM (item->>'resolved_at')::timestamptz AND item ? 'resolved_at'
        OR item ? 'metadata' AND incident.metadata::text IS DISTINCT FROM item->>'metadata'
$$;

-- upsert_incidents(jsonb[], jsonb) stays, for batches that are under way meanwhile. The next migration drops it.

-- Creates the incidents that were absent and updates those that differed, when the caller looked. Each is named once;
-- absent_labels[n] is the label of the token with which absent[n] came, and so with differing. Keys of an item:
-- reference_id, started_at, and those of name, priority, source_url, resolved_at, metadata, services ([[identifier, name or
-- null], ...]) that the request holds. JSON null clears, an empty array the services. An incident that is in neither
-- result is unchanged.
--
-- Rows are created, then locked, in the order of reference_id, so that two such calls seldom wait for one another in a
-- circle. Where they do all the same, in a second round or with deletes between, Postgres ends one of them and its
-- requests are tried again.
--
-- History is looked up when the locks are held: keep_history() locks the table, so it cannot change behind that. The
-- incidents' images before are taken then too, while their services still stand; those after, when both are changed.
CREATE FUNCTION intake.upsert_incidents(absent jsonb[], absent_labels text[], differing jsonb[], differing_labels text[],
                                        OUT created text[], OUT updated text[])
    LANGUAGE plpgsql VOLATILE
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
            RAISE EXCEPTION 'two items of a batch name the same incident' USING ERRCODE = 'cardinality_violation';
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

-- Applies a batch of requests in one transaction and says what became of each, in their order. An element of items:
--   op            "upsert", "delete", "authorize" (the token alone is looked at) or "ping" (not even that)
--   token         SHA-256 of the bearer token, in hexadecimal
--   scope         with "authorize", the scope that the token must have; else the op itself is the scope
--   and the keys that upsert_incidents, or delete (reference_id), takes.
-- outcome is created, updated, unchanged, deleted, not_found, authorized, ready, not_authed or not_permitted.
-- Raises IS001 where the caller was built for a newer schema than this, or for one so old that it calls otherwise (2 was the
-- last to change that; a migration that does again has its own number there), before anything is looked at, and 21000
-- where two elements would change the same incident: in a set neither comes first.
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
        IF lost <> '{}' THEN
            PERFORM pg_advisory_xact_lock(earlier) FROM unnest(lost) earlier;
        END IF;
    END IF;

    IF expected_version NOT BETWEEN 2 AND intake.schema_version() THEN
        RAISE EXCEPTION 'this database has schema version %, the program needs %', intake.schema_version(), expected_version
            USING ERRCODE = 'IS001';
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

    IF clock_timestamp() > statement_timestamp() + patience_ms * interval '1 millisecond' THEN
        RAISE EXCEPTION 'the batch took longer than its % ms', patience_ms USING ERRCODE = 'lock_not_available';
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
VALUES (5, 'fewer_statements', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
