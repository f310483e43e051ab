-- The functions that write: apply_batch, the worker's one call, and those that incidentctl calls.
BEGIN;

-- A constant that the planner inlines: reading the table costs a plain CGI request a tenth of its time. Each migration renews
-- it by recording itself.
CREATE FUNCTION intake.schema_version() RETURNS integer
    LANGUAGE sql IMMUTABLE
AS 'SELECT 1';
COMMENT ON FUNCTION intake.schema_version() IS 'The newest migration that this database has seen.';

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

-- STABLE, as extract() of a timestamptz is: a function that is declared more than what it calls is not inlined, and planned at
-- each call.
CREATE FUNCTION intake.to_microseconds(value timestamptz) RETURNS bigint
    LANGUAGE sql STABLE
    RETURN (extract(epoch FROM value) * 1000000)::bigint;
COMMENT ON FUNCTION intake.to_microseconds(timestamptz) IS 'Microseconds since 1970, as the worker counts this server''s time.';

-- ISO 8601 in UTC, as the API accepts it, whatever the session's settings. Years before 1 and after 9999, which an administrator
-- may have stored, are written with an offset that leads into them.
CREATE FUNCTION intake.timestamp_text(value timestamptz) RETURNS text
    LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN value < '0001-01-01 00:00Z'
        THEN to_char(value AT TIME ZONE 'UTC' + interval '23:59', 'YYYY-MM-DD"T"HH24:MI:SS.US"+23:59"')
        WHEN value >= '10000-01-01 00:00Z'
        THEN to_char(value AT TIME ZONE 'UTC' - interval '23:59', 'YYYY-MM-DD"T"HH24:MI:SS.US"-23:59"')
        ELSE to_char(value AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    END
$$;

-- ---- History ----

CREATE FUNCTION intake.forbid_history_rewrite() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('incidents.purges_history', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the history of incidents is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER forbid_history_rewrite BEFORE UPDATE OR DELETE ON intake.incident_change
    FOR EACH STATEMENT EXECUTE FUNCTION intake.forbid_history_rewrite();
CREATE TRIGGER forbid_history_truncate BEFORE TRUNCATE ON intake.incident_change -- one for all three, Citus passes over
    FOR EACH STATEMENT EXECUTE FUNCTION intake.forbid_history_rewrite();

-- Takes the changes by number, so that the caller decides how long a call takes. The setting tells the trigger that this is a
-- purge; it protects nothing, because deleting takes the owner's rights.
CREATE FUNCTION intake.purge_history(changes bigint[], older_than timestamptz) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    -- A SET of the function's own would take a superuser, and set_config() does not reach Citus's nodes.
    SET LOCAL incidents.purges_history = 'on';
    DELETE FROM intake.incident_change c WHERE c.change_id = ANY (changes) AND c.changed_at < older_than;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    SET LOCAL incidents.purges_history = 'off';
    RETURN deleted;
END
$$;
COMMENT ON FUNCTION intake.purge_history(bigint[], timestamptz) IS
    'Deletes those of the changes from the history that are older. For the owner of the schema.';

-- A constant, as schema_version() is: it costs nothing where history is off.
CREATE FUNCTION intake.history_enabled() RETURNS boolean
    LANGUAGE sql IMMUTABLE
AS 'SELECT false';
COMMENT ON FUNCTION intake.history_enabled() IS 'Whether changes are written to incident_change; enable_history() renews it.';

-- The lock waits for running writes and holds up later ones until the commit: after it, every change is in the history, or none.
CREATE FUNCTION intake.enable_history(enabled boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '10s'
AS $$
BEGIN
    LOCK TABLE intake.incident IN EXCLUSIVE MODE;
    EXECUTE format('CREATE OR REPLACE FUNCTION intake.history_enabled() RETURNS boolean LANGUAGE sql IMMUTABLE AS %L',
                   'SELECT ' || enabled);
END
$$;
COMMENT ON FUNCTION intake.enable_history(boolean) IS 'Turns the history of incidents on or off. For the owner of the schema.';

-- ---- The worker's calls ----

-- No call lives for a day. SKIP LOCKED, so that two batches do not wait for each other. apply_batch turns sequential scans off;
-- with the planner's price of one that is taken all the same, the statement would be compiled (jit), for 20 ms at least.
CREATE FUNCTION intake.forget_attempts() RETURNS void
    LANGUAGE sql VOLATILE
    SET enable_seqscan = on
AS $$
    DELETE FROM intake.abandoned_attempt
    WHERE number IN (SELECT a.number FROM intake.abandoned_attempt a
                     WHERE a.abandoned_at < now() - interval '1 day' FOR UPDATE SKIP LOCKED)
$$;

-- Waits for the calls among these that run, and keeps all of them from being stored from then on.
CREATE FUNCTION intake.abandon_attempts(orphaned bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(earlier) FROM unnest(orphaned) earlier;
    INSERT INTO intake.abandoned_attempt (number) SELECT unnest(orphaned) ON CONFLICT DO NOTHING;
    PERFORM intake.forget_attempts();
END
$$;

-- Deletes the incidents that exist, each named once, and returns their ids. labels[n] is recorded as who deleted ids[n]. An
-- absent incident may be about to appear: a call that creates it may stand still between the check of its time and its commit.
-- Inserting a row in its place waits for that call.
CREATE FUNCTION intake.delete_incidents(ids text[], labels text[]) RETURNS text[]
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_bitmapscan = off
AS $$
DECLARE
    round   integer := 0;
    wanted  text[] := ids;
    history_on   boolean := intake.history_enabled();
    removed    text[];
    deleted text[] := '{}';
    placed  text[];
BEGIN
    LOOP
        round := round + 1;
        IF round > 20 THEN
            RAISE EXCEPTION 'an incident could not be deleted in 20 rounds: does a trigger keep it from that?'
                USING ERRCODE = 'triggered_data_change_violation';
        END IF;
        -- Rows are locked in the order of the index, which is that of the ids, because bitmap scans are off.
        IF history_on THEN
            WITH removed AS (
                DELETE FROM intake.incident i WHERE i.reference_id = ANY (wanted)
                RETURNING i.reference_id, i.updated_at,
                          ROW (i.name, i.priority, i.source_url, i.started_at, i.resolved_at, i.services,
                               i.metadata)::intake.incident_state AS state),
            recorded AS (
                INSERT INTO intake.incident_change (changed_at, reference_id, action, token_label, before)
                SELECT greatest(clock_timestamp(), r.updated_at), r.reference_id, 'deleted', l.label, r.state
                FROM removed r JOIN unnest(ids, labels) AS l (reference_id, label) ON l.reference_id = r.reference_id)
            SELECT coalesce(array_agg(r.reference_id), '{}') INTO removed FROM removed r;
        ELSE
            WITH removed AS (DELETE FROM intake.incident i WHERE i.reference_id = ANY (wanted) RETURNING i.reference_id)
            SELECT coalesce(array_agg(r.reference_id), '{}') INTO removed FROM removed r;
        END IF;
        IF history_on <> intake.history_enabled() THEN
            RAISE EXCEPTION 'the history was turned on or off meanwhile' USING ERRCODE = 'serialization_failure';
        END IF;
        deleted := deleted || removed;
        wanted := ARRAY(SELECT id FROM unnest(wanted) id WHERE id <> ALL (removed));
        EXIT WHEN wanted = '{}';

        WITH placeholder AS (
            INSERT INTO intake.incident AS i (reference_id, started_at, created_at, updated_at)
            SELECT id, now(), now(), now() FROM unnest(wanted) id ORDER BY id COLLATE "C"
            ON CONFLICT (reference_id) DO NOTHING
            RETURNING i.reference_id)
        SELECT coalesce(array_agg(p.reference_id), '{}') INTO placed FROM placeholder p;
        DELETE FROM intake.incident i WHERE i.reference_id = ANY (placed);
        wanted := ARRAY(SELECT id FROM unnest(wanted) id WHERE id <> ALL (placed)); -- these appeared meanwhile
        EXIT WHEN wanted = '{}';
    END LOOP;
    RETURN deleted;
END
$$;

-- One request, as the worker sends it.
CREATE TYPE intake.operation AS (
    operation    text,        -- upsert, delete, authorize (checks the token alone) or ping (checks nothing)
    token_hash   bytea,       -- SHA-256 of the bearer token
    scope        text,        -- that the token must have: upsert or delete; NULL with ping
    given        integer,     -- of upsert: the optional arguments that were sent, NULL or not: the sum of 1 resolved_at, 2 name,
                              -- 4 priority, 8 source_url, 16 services, 32 metadata
    started_at   timestamptz, -- the arguments, as the columns of incident
    resolved_at  timestamptz,
    reference_id text,
    name         text,
    priority     text,
    source_url   text,
    services     jsonb,
    metadata     jsonb
);

-- The stored incidents that the operations name, with the transactions that wrote and that hold each row. The planner inlines
-- this function: it is the whole table, and the join looks up what it needs. Citus would fetch the whole table; there the
-- function is replaced by one that asks for these incidents alone (docs/operations.md).
CREATE FUNCTION intake.stored_incidents(operations intake.operation[])
    RETURNS TABLE (version xid, holder xid, started_at timestamptz, resolved_at timestamptz, reference_id text, name text,
                   priority text, source_url text, services jsonb, metadata jsonb)
    LANGUAGE sql STABLE
AS $$
    SELECT i.xmin, i.xmax, i.started_at, i.resolved_at, i.reference_id, i.name, i.priority, i.source_url, i.services, i.metadata
    FROM intake.incident i
$$;

-- Raises the reason why apply_batch does not begin.
CREATE FUNCTION intake.refuse_call(expected_version integer) RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    IF expected_version NOT BETWEEN 2 AND intake.schema_version() THEN
        RAISE EXCEPTION 'this database has schema version %, the program needs %', intake.schema_version(), expected_version
            USING ERRCODE = 'IS001';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN -- each statement of a batch needs a new snapshot
        RAISE EXCEPTION 'transactions of this role must be READ COMMITTED, see default_transaction_isolation'
            USING ERRCODE = 'IS003';
    END IF;
    RAISE EXCEPTION 'this database is read-only' USING ERRCODE = 'read_only_sql_transaction';
END
$$;

-- Applies a batch of operations in one transaction.
--
-- Results: outcomes[n] is the outcome of operations[n]: created, updated, unchanged, deleted, not_found, authorized, ready,
-- not_authed or not_permitted. token_labels[n] is the label of its token, of a revoked or expired one too; NULL if the token is
-- unknown. now_us is this server's time, and server_started_us its start, both in microseconds since 1970.
--
-- Raises IS001 if the caller was built for a newer schema, or for one so old that it calls otherwise (2 was the last to
-- change the call; a migration that does so again has its own number there), before anything is looked at; IS002 if the call
-- is too late; IS003 if transactions are not READ COMMITTED; 21000 if two operations would change the same incident.
--
-- store_until_us: nothing is stored after this time of the server's clock (IS002). The caller has told its client by then
-- that the request failed, and newer data may have been stored. It is absolute, because a session may stand still before it
-- reads the call. The caller knows the clock from this server's results. expected_server_us says which server that was;
-- IS002 if a pooler has turned to another. The check comes after all rows are locked. They stay locked until the commit, so
-- nothing newer can be stored between the check and the commit.
--
-- attempt is unique to the call. orphaned are the attempts of earlier calls with the same operation whose connection broke:
-- they may still run, wait for a lock, or not have begun. Each call holds its number as an advisory lock. A call that follows
-- orphaned ones takes their locks too and writes their numbers to abandoned_attempt. An orphaned call that is not done by then
-- finds its number there and is not stored (55P03). Otherwise it could undo what the client has sent since.
--
-- How a batch is stored:
-- 1. One statement checks the tokens and compares the operations with the stored incidents. A batch that changes nothing is
--    done then: it writes nothing and takes no lock.
-- 2. Absent incidents are inserted. If another transaction has created one since, ON CONFLICT waits for it.
-- 3. Incidents that differ are updated if the row still has the version that was compared (xmin). If not, it is locked.
-- What 2 and 3 did not store goes another round. Rows are locked in the order of reference_id, so that two batches seldom
-- deadlock; if they do, Postgres ends one of them, and its requests are tried again.
--
-- A row that another transaction holds (xmax) is waited for, even if it has what was sent: that transaction may be a call that
-- was given up long ago and is about to commit. Only transactions before this call matter, so only the first round looks for
-- them. If the holder wrote this very version, it is done (xmax = xmin). Otherwise xmax may be the mark of a lock that changed
-- nothing; writing the row as it is waits for the holder and clears the mark.
--
-- Most of a call's cost is setting up its statements and expressions, once in each transaction. So the usual way has few of
-- them, and the rest is behind conditions. Operations and outcomes are joined by ordinality; taking arrays apart costs more.
--
-- The planner settings make plans that hold for all arrays and table sizes: an index look-up for each operation. Without them,
-- a session that began on empty tables scans them later on too.
CREATE FUNCTION intake.apply_batch(expected_version integer, operations intake.operation[], store_until_us bigint DEFAULT NULL,
                                   expected_server_us bigint DEFAULT NULL, attempt bigint DEFAULT NULL,
                                   orphaned bigint[] DEFAULT '{}',
                                   OUT outcomes text[], OUT token_labels text[], OUT now_us bigint, OUT server_started_us bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '500ms'
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
AS $$
DECLARE
    history_on   boolean;
    versions     xid[];                   -- of the rows that the operations were compared with
    states       intake.incident_state[]; -- of the same rows
    stale        integer[];
    written_at   timestamptz;
    created      text[];
    updated      text[];
    deleted      text[];
    settled      text[];  -- final outcomes of earlier rounds; NULL in the first round
    round        integer;
BEGIN
    IF pg_advisory_xact_lock(attempt) IS NOT NULL AND orphaned <> '{}' THEN -- it is NULL where there is no attempt
        PERFORM intake.abandon_attempts(orphaned);
    END IF;
    IF expected_version NOT BETWEEN 2 AND intake.schema_version()
       OR current_setting('transaction_isolation') <> 'read committed' OR current_setting('transaction_read_only') <> 'off' THEN
        PERFORM intake.refuse_call(expected_version);
    END IF;
    IF pg_relation_size('intake.abandoned_attempt') > 0 THEN -- usually it is empty
        IF EXISTS (SELECT FROM intake.abandoned_attempt a WHERE a.number = attempt) THEN
            RAISE EXCEPTION 'the call was abandoned' USING ERRCODE = 'lock_not_available';
        END IF;
    END IF;

    LOOP
        -- 'created' and 'updated' are expected outcomes here. Metadata is compared as text, because jsonb calls 1.1 and 1.10
        -- equal. The settings above make the joins nested loops, which keep the order of the operations.
        SELECT array_agg(CASE
                   WHEN settled[ordinality] IS NOT NULL THEN 'settled'
                   WHEN scope IS NULL THEN 'ready'
                   WHEN t.token_id IS NULL OR t.revoked_at IS NOT NULL OR t.expires_at <= clock_timestamp() THEN 'not_authed'
                   WHEN scope = ANY (t.scopes) IS NOT TRUE THEN 'not_permitted'
                   WHEN operation = 'authorize' THEN 'authorized'
                   WHEN operation <> 'upsert' THEN operation
                   WHEN i.reference_id IS NULL THEN 'created'
                   WHEN i.holder <> 0 AND i.holder <> i.version AND settled IS NULL THEN 'locked'
                   WHEN i.started_at <> o.started_at
                     OR i.resolved_at IS DISTINCT FROM o.resolved_at AND given & 1 <> 0
                     OR i.name IS DISTINCT FROM o.name AND given & 2 <> 0
                     OR i.priority IS DISTINCT FROM o.priority AND given & 4 <> 0
                     OR i.source_url IS DISTINCT FROM o.source_url AND given & 8 <> 0
                     OR i.services IS DISTINCT FROM o.services AND given & 16 <> 0
                     OR given & 32 <> 0 AND i.metadata::text IS DISTINCT FROM o.metadata::text
                   THEN 'updated'
                   ELSE 'unchanged'
               END),
               array_agg(CASE WHEN settled[ordinality] IS NOT NULL THEN token_labels[ordinality] ELSE t.label END),
               array_agg(i.version),
               array_agg(t.token_id) FILTER (WHERE t.token_id IS NOT NULL
                                               AND (t.last_used_at IS NULL
                                                    OR t.last_used_at < clock_timestamp() - interval '1 minute')
                                               AND t.revoked_at IS NULL
                                               AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())),
               intake.to_microseconds(pg_postmaster_start_time())
        INTO outcomes, token_labels, versions, stale, server_started_us
        FROM unnest(operations) WITH ORDINALITY o
        LEFT JOIN intake.api_token t ON t.token_hash = o.token_hash
        LEFT JOIN intake.stored_incidents(operations) i
               ON operation = 'upsert' AND i.reference_id = o.reference_id COLLATE "C";
        EXIT WHEN ('created' = ANY (outcomes) OR 'updated' = ANY (outcomes) OR 'locked' = ANY (outcomes)) IS NOT TRUE; -- or none
        history_on := intake.history_enabled();

        IF 'created' = ANY (outcomes) THEN
            written_at := clock_timestamp();
            WITH inserted AS (
                INSERT INTO intake.incident AS i
                    (started_at, resolved_at, created_at, updated_at, reference_id, name, priority, source_url, services,
                     metadata, updated_by)
                SELECT o.started_at, o.resolved_at, written_at, written_at, o.reference_id, o.name, o.priority, o.source_url, o.services,
                       o.metadata, token_labels[ordinality]
                FROM unnest(operations) WITH ORDINALITY o
                WHERE outcomes[ordinality] = 'created'
                ORDER BY o.reference_id COLLATE "C"
                ON CONFLICT (reference_id) DO NOTHING
                RETURNING i.reference_id, i.updated_by, CASE WHEN history_on THEN
                          ROW (i.name, i.priority, i.source_url, i.started_at, i.resolved_at, i.services,
                               i.metadata)::intake.incident_state END AS after),
            recorded AS (
                INSERT INTO intake.incident_change (changed_at, reference_id, action, token_label, after)
                SELECT written_at, n.reference_id, 'created', n.updated_by, n.after FROM inserted n WHERE history_on)
            SELECT array_agg(n.reference_id) INTO created FROM inserted n;
        END IF;

        IF 'locked' = ANY (outcomes) THEN
            UPDATE intake.incident i SET started_at = i.started_at
            FROM (SELECT o.reference_id
                  FROM unnest(operations) WITH ORDINALITY o
                  WHERE outcomes[ordinality] IN ('locked', 'updated')
                  ORDER BY o.reference_id COLLATE "C") AS locked
            WHERE i.reference_id = locked.reference_id;
        ELSIF 'updated' = ANY (outcomes) THEN
            IF history_on THEN
                SELECT array_agg(CASE WHEN i.reference_id IS NOT NULL THEN
                                     ROW (i.name, i.priority, i.source_url, i.started_at, i.resolved_at, i.services,
                                          i.metadata)::intake.incident_state END ORDER BY ordinality)
                INTO states
                FROM unnest(operations) WITH ORDINALITY o
                LEFT JOIN intake.stored_incidents(operations) i
                       ON outcomes[ordinality] = 'updated'
                      AND i.reference_id = o.reference_id COLLATE "C" AND i.version = versions[ordinality];
            END IF;
            written_at := clock_timestamp();
            WITH changed AS (
                UPDATE intake.incident i SET
                    started_at  = o.started_at,
                    resolved_at = CASE WHEN given & 1 <> 0 THEN o.resolved_at ELSE i.resolved_at END,
                    name        = CASE WHEN given & 2 <> 0 THEN o.name ELSE i.name END,
                    priority    = CASE WHEN given & 4 <> 0 THEN o.priority ELSE i.priority END,
                    source_url  = CASE WHEN given & 8 <> 0 THEN o.source_url ELSE i.source_url END,
                    services    = CASE WHEN given & 16 <> 0 THEN o.services ELSE i.services END,
                    metadata    = CASE WHEN given & 32 <> 0 THEN o.metadata ELSE i.metadata END,
                    updated_at  = greatest(written_at, i.updated_at), -- which must not go back
                    updated_by  = token_labels[ordinality]
                FROM (SELECT o.*
                      FROM unnest(operations) WITH ORDINALITY o
                      WHERE outcomes[ordinality] = 'updated'
                      ORDER BY o.reference_id COLLATE "C") AS o
                WHERE i.reference_id = o.reference_id AND i.xmin = versions[ordinality]
                RETURNING i.reference_id, i.updated_at, i.updated_by, states[ordinality] AS before, CASE WHEN history_on THEN
                          ROW (i.name, i.priority, i.source_url, i.started_at, i.resolved_at, i.services,
                               i.metadata)::intake.incident_state END AS after),
            recorded AS (
                INSERT INTO intake.incident_change (changed_at, reference_id, action, token_label, before, after)
                SELECT c.updated_at, c.reference_id, 'updated', c.updated_by, c.before, c.after FROM changed c WHERE history_on)
            SELECT array_agg(c.reference_id) INTO updated FROM changed c;
        END IF;

        IF history_on <> intake.history_enabled() THEN -- enable_history() locks the table: no later change
            RAISE EXCEPTION 'the history was turned on or off meanwhile' USING ERRCODE = 'serialization_failure';
        END IF;
        EXIT WHEN 'locked' <> ALL (outcomes)
              AND coalesce(cardinality(created || updated), 0)
                  = cardinality(array_positions(outcomes, 'created') || array_positions(outcomes, 'updated'));

        -- Another transaction came between, or two operations name one incident.
        round := coalesce(round, 1) + 1;
        IF round > 20 THEN
            RAISE EXCEPTION 'an incident could not be stored in 20 rounds: does a trigger keep it from that?'
                USING ERRCODE = 'triggered_data_change_violation';
        END IF;
        IF (SELECT count(reference_id) > count(DISTINCT reference_id COLLATE "C")
            FROM unnest(operations) WITH ORDINALITY o
            WHERE outcomes[ordinality] IN ('created', 'updated', 'locked') OR settled[ordinality] IN ('created', 'updated')) THEN
            RAISE EXCEPTION 'two operations of a batch name the same incident' USING ERRCODE = 'cardinality_violation';
        END IF;
        SELECT array_agg(CASE WHEN outcomes[ordinality] = 'settled' THEN settled[ordinality]
                              WHEN outcomes[ordinality] NOT IN ('created', 'updated', 'locked') THEN outcomes[ordinality]
                              WHEN o.reference_id = ANY (created) THEN 'created'
                              WHEN o.reference_id = ANY (updated) THEN 'updated'
                         END ORDER BY ordinality)
        INTO settled
        FROM unnest(operations) WITH ORDINALITY o;
        created := NULL;
        updated := NULL;
    END LOOP;

    IF settled IS NOT NULL OR 'delete' = ANY (outcomes) OR stale IS NOT NULL THEN
        IF settled IS NOT NULL THEN
            SELECT array_agg(coalesce(settled[ordinality], outcomes[ordinality]) ORDER BY ordinality) INTO outcomes
            FROM unnest(operations) WITH ORDINALITY o;
        END IF;

        IF 'delete' = ANY (outcomes) THEN
            IF (SELECT count(o.reference_id) > count(DISTINCT o.reference_id COLLATE "C") FROM unnest(operations) o) THEN
                RAISE EXCEPTION 'two operations of a batch name the same incident' USING ERRCODE = 'cardinality_violation';
            END IF;
            SELECT intake.delete_incidents(array_agg(o.reference_id), array_agg(token_labels[ordinality])) INTO deleted
            FROM unnest(operations) WITH ORDINALITY o
            WHERE outcomes[ordinality] = 'delete';
            SELECT array_agg(CASE WHEN outcomes[ordinality] <> 'delete' THEN outcomes[ordinality]
                                  WHEN o.reference_id = ANY (deleted) THEN 'deleted'
                                  ELSE 'not_found' END ORDER BY ordinality)
            INTO outcomes
            FROM unnest(operations) WITH ORDINALITY o;
        END IF;

        -- Once a minute for each token. SKIP LOCKED, so that two batches do not wait for each other here.
        IF stale IS NOT NULL THEN
            PERFORM intake.forget_attempts();
            UPDATE intake.api_token t SET last_used_at = clock_timestamp()
            FROM (SELECT token_id FROM intake.api_token WHERE token_id = ANY (stale) FOR UPDATE SKIP LOCKED) AS free
            WHERE t.token_id = free.token_id;
        END IF;
    END IF;

    now_us := intake.to_microseconds(clock_timestamp());
    IF expected_server_us <> server_started_us OR store_until_us < now_us THEN
        RAISE EXCEPTION 'the batch came too late, or by the clock of another server' USING ERRCODE = 'IS002';
    END IF;

    -- A commit waits for the synchronous standby, but not if the transaction wrote nothing. "Unchanged" could then be said of
    -- what only this server has: committed before it crashed, or seen on a former primary. Such a batch writes a message to
    -- the log, and its commit waits for the message and all before it. A canceled wait is told in a warning after the commit,
    -- which the session must not have turned off.
    IF current_setting('synchronous_standby_names') <> '' THEN
        PERFORM set_config('client_min_messages', 'warning', true);
        IF pg_current_xact_id_if_assigned() IS NULL AND outcomes && ARRAY['unchanged', 'not_found'] THEN
            PERFORM pg_logical_emit_message(true, 'incidents', ''::text);
        END IF;
    END IF;
END
$$;

INSERT INTO intake.migration (version, name, checksum)
VALUES (2, 'functions', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
