-- What the files of migrations/ make, to be read in one piece. `make schema` writes it; a database is made by incidentctl migrate,
-- which also records the migrations in it. The reasons are in migrations/.

SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;

CREATE SCHEMA intake;

COMMENT ON SCHEMA intake IS 'Tables that incidents.fcgi writes, through functions alone.';

CREATE SCHEMA reporting;

COMMENT ON SCHEMA reporting IS 'Views for analysts; their role sees these and nothing else.';

CREATE TYPE intake.incident_state AS (
	name text,
	priority text,
	source_url text,
	started_at timestamp with time zone,
	resolved_at timestamp with time zone,
	services jsonb,
	metadata jsonb
);

CREATE TYPE intake.operation AS (
	operation text,
	token_hash bytea,
	scope text,
	given integer,
	started_at timestamp with time zone,
	resolved_at timestamp with time zone,
	reference_id text,
	name text,
	priority text,
	source_url text,
	services jsonb,
	metadata jsonb
);

CREATE FUNCTION intake.abandon_attempts(orphaned bigint[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(earlier) FROM unnest(orphaned) earlier;
    INSERT INTO intake.abandoned_attempt (number) SELECT unnest(orphaned) ON CONFLICT DO NOTHING;
    PERFORM intake.forget_attempts();
END
$$;

CREATE FUNCTION intake.apply_batch(expected_version integer, operations intake.operation[], store_until_us bigint DEFAULT NULL::bigint, expected_server_us bigint DEFAULT NULL::bigint, attempt bigint DEFAULT NULL::bigint, orphaned bigint[] DEFAULT '{}'::bigint[], OUT outcomes text[], OUT token_labels text[], OUT now_us bigint, OUT server_started_us bigint) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '500ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_material TO 'off'
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

CREATE FUNCTION intake.databases_with(role_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    SELECT string_agg(DISTINCT quote_ident(d.datname), ', ')
    FROM pg_shdepend s
    JOIN pg_database d ON d.oid = CASE s.classid WHEN 'pg_database'::regclass THEN s.objid ELSE s.dbid END
    JOIN pg_roles r ON r.oid = s.refobjid
    WHERE s.refclassid = 'pg_authid'::regclass AND d.datname <> current_database() AND r.rolname = $1
$_$;

COMMENT ON FUNCTION intake.databases_with(role_name text) IS 'The other databases of this server in which the role has rights.';

CREATE FUNCTION intake.delete_incidents(ids text[], labels text[]) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
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

CREATE FUNCTION intake.enable_history(enabled boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10s'
    AS $$
BEGIN
    LOCK TABLE intake.incident IN EXCLUSIVE MODE;
    EXECUTE format('CREATE OR REPLACE FUNCTION intake.history_enabled() RETURNS boolean LANGUAGE sql IMMUTABLE AS %L',
                   'SELECT ' || enabled);
END
$$;

COMMENT ON FUNCTION intake.enable_history(enabled boolean) IS 'Turns the history of incidents on or off. For the owner of the schema.';

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

CREATE FUNCTION intake.forget_attempts() RETURNS void
    LANGUAGE sql
    SET enable_seqscan TO 'on'
    AS $$
    DELETE FROM intake.abandoned_attempt
    WHERE number IN (SELECT a.number FROM intake.abandoned_attempt a
                     WHERE a.abandoned_at < now() - interval '1 day' FOR UPDATE SKIP LOCKED)
$$;

CREATE FUNCTION intake.grant_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    worker  text := (SELECT g.role_name FROM intake.group_role g WHERE g.purpose = 'worker');
    reader  text := (SELECT g.role_name FROM intake.group_role g WHERE g.purpose = 'reader');
    missing text;
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;
    REVOKE ALL ON FUNCTION reporting.time_zone, reporting.first_instant, reporting.longest_incident, reporting.is_plausible,
        reporting.incident_json, reporting.metadata_values, reporting.refresh_snapshots FROM PUBLIC;

    IF (SELECT r.rolsuper OR r.rolcreaterole FROM pg_roles r WHERE r.rolname = current_user) THEN
        FOR missing IN SELECT g.role_name FROM intake.group_role g
                       WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = g.role_name) LOOP
            EXECUTE format('CREATE ROLE %I NOLOGIN', missing);
        END LOOP;
    END IF;

    IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = worker) THEN
        EXECUTE format('GRANT USAGE ON SCHEMA intake TO %I', worker);
        EXECUTE format('GRANT USAGE ON TYPE intake.operation TO %I', worker);
        EXECUTE (SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', string_agg(p.oid::regprocedure::text, ', '), worker)
                 FROM pg_proc p
                 WHERE p.pronamespace = 'intake'::regnamespace AND p.proname IN ('apply_batch', 'schema_version'));
        IF has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), worker);
        END IF;
    END IF;

    -- A view's tables are read with the rights of its owner, its functions called with those of the reader.
    IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = reader) THEN
        EXECUTE format('GRANT USAGE ON SCHEMA reporting TO %I', reader);
        EXECUTE format('GRANT SELECT ON %s TO %I', intake.reporting_relations(), reader);
        EXECUTE format('GRANT EXECUTE ON FUNCTION reporting.time_zone, reporting.first_instant, reporting.longest_incident, '
                       'reporting.is_plausible, reporting.incident_json, reporting.metadata_values, intake.timestamp_text TO %I',
                       reader);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA reporting GRANT SELECT ON TABLES TO %I', reader);
        IF has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), reader);
        END IF;
    END IF;
END
$$;

COMMENT ON FUNCTION intake.grant_roles() IS 'Grants the group roles their rights. For the owner of the schema.';

CREATE FUNCTION intake.history_enabled() RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$SELECT false$$;

COMMENT ON FUNCTION intake.history_enabled() IS 'Whether changes are written to incident_change; enable_history() renews it.';

CREATE FUNCTION intake.name_roles(worker text, reader text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    replaced text[];
    role     text;
BEGIN
    IF EXISTS (SELECT FROM pg_namespace n WHERE n.nspname IN ('intake', 'reporting')
               AND pg_get_userbyid(n.nspowner) IN (worker, reader)) THEN
        RAISE EXCEPTION 'the owner of the schema cannot be a group role' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    replaced := ARRAY(SELECT g.role_name FROM intake.group_role g
                      WHERE g.role_name <> CASE g.purpose WHEN 'worker' THEN worker ELSE reader END);
    FOREACH role IN ARRAY replaced LOOP
        IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
            PERFORM intake.revoke_role(role);
        END IF;
    END LOOP;

    worker := coalesce(worker, (SELECT g.role_name FROM intake.group_role g WHERE g.purpose = 'worker'));
    reader := coalesce(reader, (SELECT g.role_name FROM intake.group_role g WHERE g.purpose = 'reader'));
    IF worker = reader THEN
        RAISE EXCEPTION 'the worker and the readers cannot share the group role %', worker USING ERRCODE = 'invalid_parameter_value';
    END IF;
    DELETE FROM intake.group_role;
    INSERT INTO intake.group_role (purpose, role_name) VALUES ('worker', worker), ('reader', reader);
    PERFORM intake.grant_roles();
END
$$;

COMMENT ON FUNCTION intake.name_roles(worker text, reader text) IS 'Names the group roles and grants them their rights. For the owner of the schema.';

CREATE FUNCTION intake.purge_history(changes bigint[], older_than timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
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

COMMENT ON FUNCTION intake.purge_history(changes bigint[], older_than timestamp with time zone) IS 'Deletes those of the changes from the history that are older. For the owner of the schema.';

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

CREATE FUNCTION intake.reporting_relations() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT string_agg(c.oid::regclass::text, ', ')
    FROM pg_class c
    WHERE c.relnamespace = 'reporting'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_has_role(c.relowner, 'USAGE')
$$;

CREATE FUNCTION intake.revoke_role(role_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON SCHEMA intake, reporting FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON TYPE intake.operation FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON FUNCTION reporting.time_zone, reporting.first_instant, reporting.longest_incident, '
                   'reporting.is_plausible, reporting.incident_json, reporting.metadata_values FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON %s FROM %I', intake.reporting_relations(), role_name);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA reporting REVOKE SELECT ON TABLES FROM %I', role_name);
    IF has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION') THEN
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM %I', current_database(), role_name);
    END IF;
END
$$;

CREATE FUNCTION intake.schema_version() RETURNS integer
    LANGUAGE sql IMMUTABLE
    AS $$SELECT 4$$;

COMMENT ON FUNCTION intake.schema_version() IS 'The newest migration that this database has seen.';

CREATE FUNCTION intake.stored_incidents(operations intake.operation[]) RETURNS TABLE(version xid, holder xid, started_at timestamp with time zone, resolved_at timestamp with time zone, reference_id text, name text, priority text, source_url text, services jsonb, metadata jsonb)
    LANGUAGE sql STABLE
    AS $$
    SELECT i.xmin, i.xmax, i.started_at, i.resolved_at, i.reference_id, i.name, i.priority, i.source_url, i.services, i.metadata
    FROM intake.incident i
$$;

CREATE FUNCTION intake.timestamp_text(value timestamp with time zone) RETURNS text
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

CREATE FUNCTION intake.to_microseconds(value timestamp with time zone) RETURNS bigint
    LANGUAGE sql STABLE
    RETURN ((EXTRACT(epoch FROM value) * (1000000)::numeric))::bigint;

COMMENT ON FUNCTION intake.to_microseconds(value timestamp with time zone) IS 'Microseconds since 1970, as the worker counts this server''s time.';

CREATE FUNCTION reporting.first_instant(local timestamp without time zone, zone text) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN LEAST((local AT TIME ZONE zone), CASE WHEN ((((local AT TIME ZONE zone) - (((((local AT TIME ZONE zone) - '24:00:00'::interval) AT TIME ZONE zone) + '24:00:00'::interval) - local)) AT TIME ZONE zone) = local) THEN ((local AT TIME ZONE zone) - (((((local AT TIME ZONE zone) - '24:00:00'::interval) AT TIME ZONE zone) + '24:00:00'::interval) - local)) ELSE NULL::timestamp with time zone END);

COMMENT ON FUNCTION reporting.first_instant(local timestamp without time zone, zone text) IS 'The first instant at which clocks in the time zone show that time, or a later one where they pass over it.';

CREATE FUNCTION reporting.incident_json(reference_id text, state intake.incident_state) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (state IS DISTINCT FROM NULL) THEN jsonb_build_object('reference_id', reference_id, 'name', (state).name, 'priority', (state).priority, 'source_url', (state).source_url, 'started_at', intake.timestamp_text((state).started_at), 'resolved_at', intake.timestamp_text((state).resolved_at), 'services', COALESCE((state).services, '[]'::jsonb), 'metadata', (state).metadata) ELSE NULL::jsonb END;

COMMENT ON FUNCTION reporting.incident_json(reference_id text, state intake.incident_state) IS 'An incident before or after a change, as incident_history shows it.';

CREATE FUNCTION reporting.is_plausible(started_at timestamp with time zone, resolved_at timestamp with time zone, longest interval) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ((started_at >= '1971-01-01 00:00:00+00'::timestamp with time zone) AND (started_at <= now()) AND ((resolved_at <= started_at) IS NOT TRUE) AND ((resolved_at > now()) IS NOT TRUE) AND (((COALESCE(resolved_at, now()) - started_at) > longest) IS NOT TRUE));

COMMENT ON FUNCTION reporting.is_plausible(started_at timestamp with time zone, resolved_at timestamp with time zone, longest interval) IS 'Whether an incident''s times can be right: it started, and was resolved after that if at all, between 1971 and now, and it is open, or lasted, for no longer than the interval.';

CREATE FUNCTION reporting.longest_incident() RETURNS interval
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    given text := coalesce(nullif(current_setting('reporting.longest_incident', true), ''), '90 days');
    seconds double precision;
BEGIN
    IF given !~ '^[^[:alpha:]:]*$' THEN
        seconds := date_part('epoch', given::interval);
    END IF;
    IF (seconds > 0) IS NOT TRUE THEN
        RAISE EXCEPTION 'reporting.longest_incident is "%", which is not a time with its unit', given
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Write it like ''90 days''.';
    END IF;
    RETURN justify_hours(make_interval(secs => seconds));
END
$_$;

COMMENT ON FUNCTION reporting.longest_incident() IS 'What is open, or lasted, for longer is suspicious: SET reporting.longest_incident; 90 days where it is not set.';

CREATE FUNCTION reporting.metadata_values(metadata jsonb) RETURNS TABLE(path text[], value jsonb)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    WITH RECURSIVE node (path, value) AS (
        SELECT ARRAY[top.key], top.value
        FROM jsonb_each(CASE WHEN jsonb_typeof(metadata) = 'object' THEN metadata END) top
        UNION ALL
        SELECT node.path || child.key, child.value
        FROM node, jsonb_each(CASE WHEN jsonb_typeof(node.value) = 'object' THEN node.value END) child)
    SELECT node.path, node.value FROM node
    WHERE jsonb_typeof(node.value) <> 'object' OR node.value = '{}'
$$;

COMMENT ON FUNCTION reporting.metadata_values(metadata jsonb) IS 'The values in an incident''s metadata, each with the keys that lead to it.';

CREATE FUNCTION reporting.refresh_snapshots() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    snapshot record;
BEGIN
    FOR snapshot IN
        SELECT m.matviewname, m.ispopulated FROM pg_matviews m WHERE m.schemaname = 'reporting' AND m.matviewname LIKE '%\_snapshot'
    LOOP
        EXECUTE format('REFRESH MATERIALIZED VIEW %s reporting.%I',
                       CASE WHEN snapshot.ispopulated THEN 'CONCURRENTLY' ELSE '' END, snapshot.matviewname);
    END LOOP;
END
$$;

COMMENT ON FUNCTION reporting.refresh_snapshots() IS 'Takes the snapshots anew. For the owner of the schema.';

CREATE FUNCTION reporting.time_zone() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    zone text := coalesce(nullif(current_setting('reporting.time_zone', true), ''), 'UTC');
BEGIN
    IF zone <> 'UTC' AND zone !~ '^[A-Za-z_]+(/[A-Za-z_]+)+$'
       AND NOT EXISTS (SELECT FROM pg_timezone_names z WHERE lower(z.name) = lower(zone)) THEN
        RAISE EXCEPTION 'there is no time zone named "%"', zone
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Names are like Europe/Berlin; the view pg_timezone_names has all of them. '
                         'Two hours east of Greenwich, summer and winter, is Etc/GMT-2: its signs are those of POSIX.';
    END IF;
    RETURN zone;
END
$_$;

COMMENT ON FUNCTION reporting.time_zone() IS 'The time zone of days, weeks and months: SET reporting.time_zone; UTC where it is not set.';

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE intake.abandoned_attempt (
    number bigint NOT NULL,
    abandoned_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_threshold='0', autovacuum_vacuum_scale_factor='0');

COMMENT ON TABLE intake.abandoned_attempt IS 'Calls of apply_batch whose connection broke and which were repeated: they must not be stored any more. Kept for a day.';

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

CREATE TABLE intake.group_role (
    purpose text NOT NULL,
    role_name text NOT NULL,
    CONSTRAINT group_role_purpose_check CHECK ((purpose = ANY (ARRAY['worker'::text, 'reader'::text]))),
    CONSTRAINT group_role_role_name_check CHECK ((((octet_length(role_name) >= 1) AND (octet_length(role_name) <= 63)) AND (role_name <> ALL (ARRAY['public'::text, 'none'::text]))))
);

COMMENT ON TABLE intake.group_role IS 'The roles that this database grants its rights to; name_roles() changes them.';

COMMENT ON COLUMN intake.group_role.role_name IS 'By name, so that a dump may be restored on another server. A role that does not exist gets its rights when it does.';

CREATE TABLE intake.incident (
    id bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    resolved_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    reference_id text NOT NULL COLLATE pg_catalog."C",
    name text,
    priority text,
    source_url text,
    services jsonb,
    metadata jsonb,
    updated_by text
)
WITH (fillfactor='95');

COMMENT ON TABLE intake.incident IS 'One row an incident, as its last upsert left it.';

COMMENT ON COLUMN intake.incident.id IS 'A number for reports to join by: the same for as long as the incident is stored, and not used again. Numbers may be missing.';

COMMENT ON COLUMN intake.incident.resolved_at IS 'NULL while the incident is open. May lie before started_at: clocks differ.';

COMMENT ON COLUMN intake.incident.created_at IS 'When this database first saw the incident.';

COMMENT ON COLUMN intake.incident.updated_at IS 'When a request last changed the incident, its services or its metadata.';

COMMENT ON COLUMN intake.incident.reference_id IS 'The sender''s identifier, kept byte for byte.';

COMMENT ON COLUMN intake.incident.name IS 'NULL where it was never given or was cleared; so with every optional column.';

COMMENT ON COLUMN intake.incident.services IS 'The services that the incident affects: [[identifier, name or null], ...] in the order sent, each identifier once.';

COMMENT ON COLUMN intake.incident.updated_by IS 'The label of the token that last changed it, at updated_at.';

CREATE TABLE intake.incident_change (
    change_id bigint NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    reference_id text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL,
    token_label text,
    before intake.incident_state,
    after intake.incident_state,
    CONSTRAINT incident_change_check CHECK ((num_nonnulls(before, after) =
CASE action
    WHEN 'updated'::text THEN 2
    ELSE 1
END))
);

COMMENT ON TABLE intake.incident_change IS 'The changes of incidents, one row each; append-only.';

COMMENT ON COLUMN intake.incident_change.change_id IS 'Of one incident, the order of its changes. Numbers may be missing.';

COMMENT ON COLUMN intake.incident_change.changed_at IS 'As updated_at of the incident.';

COMMENT ON COLUMN intake.incident_change.action IS 'created, updated or deleted. A request that changed nothing left no row.';

COMMENT ON COLUMN intake.incident_change.token_label IS 'The label of the token; incidentctl for what an administrator deleted with it.';

COMMENT ON COLUMN intake.incident_change.before IS 'The incident before the change; NULL at creation.';

COMMENT ON COLUMN intake.incident_change.after IS 'The incident after the change; NULL at deletion.';

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

CREATE VIEW intake.incident_service AS
 SELECT i.reference_id,
    ((_.service ->> 0) COLLATE "C") AS identifier,
    (_.service ->> 1) AS name,
    (_."position")::integer AS "position",
    hashtextextended((_.service ->> 0), i.id) AS id
   FROM (intake.incident i
     CROSS JOIN LATERAL jsonb_array_elements(
        CASE
            WHEN (jsonb_typeof(i.services) = 'array'::text) THEN i.services
            ELSE NULL::jsonb
        END) WITH ORDINALITY _(service, "position"));

COMMENT ON VIEW intake.incident_service IS 'The services that incidents affect, a row each.';

COMMENT ON COLUMN intake.incident_service.name IS 'NULL where none was sent.';

COMMENT ON COLUMN intake.incident_service."position" IS 'From 1, in the order sent.';

COMMENT ON COLUMN intake.incident_service.id IS 'Computed from the incident''s id and the identifier, so the same for as long as the incident has the service.';

CREATE TABLE intake.migration (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_by text DEFAULT CURRENT_USER NOT NULL
);

COMMENT ON TABLE intake.migration IS 'The migrations that this database has seen.';

COMMENT ON COLUMN intake.migration.checksum IS 'SHA-256 of the file, in hexadecimal; NULL where psql applied it, until incidentctl migrate runs next.';

CREATE VIEW reporting.plausible_incidents AS
 SELECT i.id,
    i.reference_id AS source_id,
    i.name,
    i.priority,
    i.source_url,
    i.started_at,
    i.resolved_at,
    (trunc(date_part('epoch'::text, (i.resolved_at - i.started_at))))::bigint AS started_to_resolved,
    i.services AS services_json,
    i.metadata AS metadata_json
   FROM intake.incident i
  WHERE reporting.is_plausible(i.started_at, i.resolved_at, ( SELECT reporting.longest_incident() AS longest_incident));

COMMENT ON VIEW reporting.plausible_incidents IS 'The incidents that the figures are of: all but those in suspicious.';

COMMENT ON COLUMN reporting.plausible_incidents.id IS 'incidents.id.';

COMMENT ON COLUMN reporting.plausible_incidents.source_id IS 'The sender''s reference_id.';

COMMENT ON COLUMN reporting.plausible_incidents.name IS 'The incident''s name; NULL where none is known.';

COMMENT ON COLUMN reporting.plausible_incidents.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.plausible_incidents.source_url IS 'Where the incident is found in the sender''s system.';

COMMENT ON COLUMN reporting.plausible_incidents.started_at IS 'When the incident started: not before 1971, and not in the future.';

COMMENT ON COLUMN reporting.plausible_incidents.resolved_at IS 'When it was resolved, after it started and by now; NULL while it is open.';

COMMENT ON COLUMN reporting.plausible_incidents.started_to_resolved IS 'Whole seconds; NULL while it is open.';

COMMENT ON COLUMN reporting.plausible_incidents.services_json IS 'Its services as sent: [[identifier, name or null], ...].';

COMMENT ON COLUMN reporting.plausible_incidents.metadata_json IS 'Its metadata as sent.';

CREATE VIEW reporting.days AS
 SELECT p.period,
    p.starts_at,
    p.ends_at
   FROM ( SELECT (local.local)::date AS period,
            reporting.first_instant(local.local, z.zone) AS starts_at,
            lead(reporting.first_instant(local.local, z.zone)) OVER (ORDER BY local.local) AS ends_at,
            first.started_at
           FROM ((reporting.time_zone() z(zone)
             CROSS JOIN ( SELECT i.started_at
                   FROM reporting.plausible_incidents i
                  ORDER BY i.started_at
                 LIMIT 1) first)
             CROSS JOIN LATERAL generate_series(date_trunc('day'::text, (first.started_at AT TIME ZONE z.zone)), (((now() AT TIME ZONE z.zone) + '1 day'::interval) + '1 day'::interval), '1 day'::interval) local(local))) p
  WHERE ((p.starts_at < p.ends_at) AND (p.starts_at <= now()) AND (p.ends_at > p.started_at));

COMMENT ON VIEW reporting.days IS 'Every day from that of the first incident to today''s.';

COMMENT ON COLUMN reporting.days.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.days.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.days.ends_at IS 'The time at which the period ends, which belongs to the next.';

CREATE VIEW reporting.incident_history AS
 SELECT c.change_id,
    c.reference_id AS source_id,
    c.changed_at,
    c.action,
    c.token_label AS changed_by,
    reporting.incident_json(c.reference_id, c.before) AS before,
    reporting.incident_json(c.reference_id, c.after) AS after
   FROM intake.incident_change c;

COMMENT ON VIEW reporting.incident_history IS 'What became of incidents, deleted ones too: a row for each change since the history was turned on.';

COMMENT ON COLUMN reporting.incident_history.change_id IS 'Of one incident, the order of its changes. Numbers may be missing.';

COMMENT ON COLUMN reporting.incident_history.source_id IS 'The sender''s reference_id.';

COMMENT ON COLUMN reporting.incident_history.changed_at IS 'When it was stored.';

COMMENT ON COLUMN reporting.incident_history.action IS 'created, updated or deleted.';

COMMENT ON COLUMN reporting.incident_history.changed_by IS 'The label of the token; incidentctl for what an administrator deleted.';

COMMENT ON COLUMN reporting.incident_history.before IS 'The incident before the change, with its services ([[identifier, name], ...]) and metadata; NULL at creation.';

COMMENT ON COLUMN reporting.incident_history.after IS 'The same after the change; NULL at deletion.';

CREATE VIEW reporting.incident_metadata AS
 SELECT hashtextextended((entry.path)::text, i.id) AS id,
    i.id AS incident_id,
    array_to_string(entry.path, '.'::text) AS key,
    (entry.value #>> '{}'::text[]) AS value
   FROM (intake.incident i
     CROSS JOIN LATERAL reporting.metadata_values(i.metadata) entry(path, value));

COMMENT ON VIEW reporting.incident_metadata IS 'One row for each value in the metadata of each incident, in the shape of DX''s table.';

COMMENT ON COLUMN reporting.incident_metadata.id IS 'Computed from incident_id and the key, so the same for as long as the incident has the key.';

COMMENT ON COLUMN reporting.incident_metadata.incident_id IS 'incidents.id.';

COMMENT ON COLUMN reporting.incident_metadata.key IS 'The keys from the outermost to the value''s own, joined by periods: cause.kind.';

COMMENT ON COLUMN reporting.incident_metadata.value IS 'A string as it is, a number with every digit, true or false; NULL for null; an array, or an object without keys, as JSON.';

CREATE VIEW reporting.service_names AS
 SELECT DISTINCT ON (n.identifier) n.identifier,
    COALESCE(n.name, n.identifier) AS service
   FROM ( SELECT ((_.service ->> 0) COLLATE "C") AS identifier,
            (NULLIF((_.service ->> 1), ''::text) COLLATE "C") AS name,
            l.started_at,
            l.updated_at
           FROM (( SELECT i.services,
                    max(i.started_at) FILTER (WHERE (i.started_at <= now())) AS started_at,
                    max(i.updated_at) AS updated_at
                   FROM intake.incident i
                  WHERE (i.services IS NOT NULL)
                  GROUP BY i.services) l
             CROSS JOIN LATERAL jsonb_array_elements(
                CASE
                    WHEN (jsonb_typeof(l.services) = 'array'::text) THEN l.services
                    ELSE NULL::jsonb
                END) _(service))
          WHERE (jsonb_typeof(_.service) = 'array'::text)) n
  WHERE (n.identifier IS NOT NULL)
  ORDER BY n.identifier, (n.name IS NULL), n.started_at DESC NULLS LAST, n.updated_at DESC, n.name;

COMMENT ON VIEW reporting.service_names IS 'The services, each with its one name.';

COMMENT ON COLUMN reporting.service_names.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.service_names.service IS 'The name in the incident that started last of those with a name for it; the identifier where there is none.';

CREATE VIEW reporting.incident_services AS
 SELECT hashtextextended((e.service ->> 0), i.id) AS id,
    i.id AS incident_id,
    n.service,
    ((e.service ->> 0) COLLATE "C") AS identifier
   FROM ((intake.incident i
     CROSS JOIN LATERAL jsonb_array_elements(
        CASE
            WHEN ((i.id IS NOT NULL) AND (jsonb_typeof(i.services) = 'array'::text)) THEN i.services
            ELSE NULL::jsonb
        END) e(service))
     LEFT JOIN reporting.service_names n ON ((n.identifier = ((e.service ->> 0) COLLATE "C"))))
  WHERE (jsonb_typeof(e.service) = 'array'::text);

COMMENT ON VIEW reporting.incident_services IS 'One row for each service of each incident, in the shape of DX''s table.';

COMMENT ON COLUMN reporting.incident_services.id IS 'Computed from incident_id and the identifier, so the same for as long as the incident has the service.';

COMMENT ON COLUMN reporting.incident_services.incident_id IS 'incidents.id.';

COMMENT ON COLUMN reporting.incident_services.service IS 'The service''s name, the same in every incident (service_names).';

COMMENT ON COLUMN reporting.incident_services.identifier IS 'The sender''s identifier of the service.';

CREATE VIEW reporting.incident_with_service AS
 SELECT i.id AS incident_id,
    ((e.service ->> 0) COLLATE "C") AS identifier,
    n.service,
    i.priority,
    i.started_at,
    i.resolved_at
   FROM ((intake.incident i
     CROSS JOIN LATERAL jsonb_array_elements(
        CASE
            WHEN ((i.id IS NOT NULL) AND (jsonb_typeof(i.services) = 'array'::text)) THEN i.services
            ELSE NULL::jsonb
        END) e(service))
     LEFT JOIN reporting.service_names n ON ((n.identifier = ((e.service ->> 0) COLLATE "C"))))
  WHERE ((jsonb_typeof(e.service) = 'array'::text) AND reporting.is_plausible(i.started_at, i.resolved_at, ( SELECT reporting.longest_incident() AS longest_incident)));

COMMENT ON VIEW reporting.incident_with_service IS 'plausible_incidents joined to incident_services, but quicker: one row for each service of each incident.';

COMMENT ON COLUMN reporting.incident_with_service.incident_id IS 'incidents.id.';

COMMENT ON COLUMN reporting.incident_with_service.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.incident_with_service.service IS 'The service''s name, the same in every incident (service_names).';

COMMENT ON COLUMN reporting.incident_with_service.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.incident_with_service.started_at IS 'When the incident started.';

COMMENT ON COLUMN reporting.incident_with_service.resolved_at IS 'When it was resolved; NULL while it is open.';

CREATE VIEW reporting.incidents AS
 SELECT i.id,
    i.name,
    i.priority,
    'api'::text AS source,
    i.reference_id AS source_id,
    i.source_url,
    i.started_at,
    i.resolved_at,
        CASE
            WHEN reporting.is_plausible(i.started_at, i.resolved_at, ( SELECT reporting.longest_incident() AS longest_incident)) THEN (trunc(date_part('epoch'::text, (i.resolved_at - i.started_at))))::bigint
            ELSE NULL::bigint
        END AS started_to_resolved,
    false AS deleted
   FROM intake.incident i;

COMMENT ON VIEW reporting.incidents IS 'One row an incident, in the shape of DX''s table.';

COMMENT ON COLUMN reporting.incidents.id IS 'The incident''s number: never changed, and not used again after a deletion.';

COMMENT ON COLUMN reporting.incidents.name IS 'NULL where none is known; so with every column that a sender may leave out.';

COMMENT ON COLUMN reporting.incidents.priority IS 'As sent: no order, no fixed set.';

COMMENT ON COLUMN reporting.incidents.source IS 'Always api: senders do not say which system they speak for.';

COMMENT ON COLUMN reporting.incidents.source_id IS 'The sender''s reference_id.';

COMMENT ON COLUMN reporting.incidents.source_url IS 'Where the incident is found in the sender''s system.';

COMMENT ON COLUMN reporting.incidents.started_at IS 'A timestamptz: it prints in the session''s TimeZone.';

COMMENT ON COLUMN reporting.incidents.resolved_at IS 'NULL while the incident is open. May lie before started_at: clocks differ.';

COMMENT ON COLUMN reporting.incidents.started_to_resolved IS 'Whole seconds. NULL while the incident is open, and where its times cannot be right (suspicious).';

COMMENT ON COLUMN reporting.incidents.deleted IS 'Always false: a deleted incident is gone.';

CREATE VIEW reporting.months AS
 SELECT p.period,
    p.starts_at,
    p.ends_at
   FROM ( SELECT (local.local)::date AS period,
            reporting.first_instant(local.local, z.zone) AS starts_at,
            lead(reporting.first_instant(local.local, z.zone)) OVER (ORDER BY local.local) AS ends_at,
            first.started_at
           FROM ((reporting.time_zone() z(zone)
             CROSS JOIN ( SELECT i.started_at
                   FROM reporting.plausible_incidents i
                  ORDER BY i.started_at
                 LIMIT 1) first)
             CROSS JOIN LATERAL generate_series(date_trunc('month'::text, (first.started_at AT TIME ZONE z.zone)), (((now() AT TIME ZONE z.zone) + '1 day'::interval) + '1 mon'::interval), '1 mon'::interval) local(local))) p
  WHERE ((p.starts_at < p.ends_at) AND (p.starts_at <= now()) AND (p.ends_at > p.started_at));

COMMENT ON VIEW reporting.months IS 'Every month from that of the first incident to today''s.';

COMMENT ON COLUMN reporting.months.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.months.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.months.ends_at IS 'The time at which the period ends, which belongs to the next.';

CREATE VIEW reporting.open_now AS
 SELECT i.id,
    i.source_id,
    i.name,
    i.priority,
    i.source_url,
    s.services,
    i.started_at,
    date_trunc('second'::text, (now() - i.started_at)) AS age,
    (trunc(date_part('epoch'::text, (now() - i.started_at))))::bigint AS age_seconds
   FROM (reporting.plausible_incidents i
     LEFT JOIN ( SELECT o.id,
            string_agg(n.service, ', '::text ORDER BY e."position") AS services
           FROM ((intake.incident o
             CROSS JOIN LATERAL jsonb_array_elements(
                CASE
                    WHEN (jsonb_typeof(o.services) = 'array'::text) THEN o.services
                    ELSE NULL::jsonb
                END) WITH ORDINALITY e(service, "position"))
             JOIN reporting.service_names n ON ((n.identifier = ((e.service ->> 0) COLLATE "C"))))
          WHERE ((o.resolved_at IS NULL) AND (jsonb_typeof(e.service) = 'array'::text))
          GROUP BY o.id) s USING (id))
  WHERE (i.resolved_at IS NULL);

COMMENT ON VIEW reporting.open_now IS 'The incidents that are not resolved, without those in suspicious.';

COMMENT ON COLUMN reporting.open_now.id IS 'incidents.id.';

COMMENT ON COLUMN reporting.open_now.source_id IS 'The sender''s reference_id.';

COMMENT ON COLUMN reporting.open_now.name IS 'The incident''s name; NULL where none is known.';

COMMENT ON COLUMN reporting.open_now.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.open_now.source_url IS 'Where the incident is found in the sender''s system.';

COMMENT ON COLUMN reporting.open_now.services IS 'The names of its services, in the order sent; NULL where it has none.';

COMMENT ON COLUMN reporting.open_now.started_at IS 'When the incident started.';

COMMENT ON COLUMN reporting.open_now.age IS 'The time since it started.';

COMMENT ON COLUMN reporting.open_now.age_seconds IS 'The same in whole seconds.';

CREATE VIEW reporting.opened_and_resolved_by_day AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s_1.starts_at ORDER BY s_1.starts_at) AS starts,
            array_agg(s_1.period ORDER BY s_1.starts_at) AS periods
           FROM reporting.days s_1
        )
 SELECT s.period,
    s.starts_at,
    o.opened,
    COALESCE(r.resolved, (0)::bigint) AS resolved
   FROM ((reporting.days s
     CROSS JOIN LATERAL ( SELECT count(*) AS opened
           FROM reporting.plausible_incidents i
          WHERE ((i.started_at >= s.starts_at) AND (i.started_at < s.ends_at))) o)
     LEFT JOIN ( SELECT p.periods[width_bucket(i.resolved_at, p.starts)] AS period,
            count(*) AS resolved
           FROM (reporting.plausible_incidents i
             CROSS JOIN p)
          WHERE (i.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(i.resolved_at, p.starts)]) r USING (period));

COMMENT ON VIEW reporting.opened_and_resolved_by_day IS 'How many incidents started and how many were resolved in each day; none is 0.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_day.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.opened_and_resolved_by_day.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_day.opened IS 'Incidents that started in the period.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_day.resolved IS 'Incidents that were resolved in the period, whenever they started.';

CREATE VIEW reporting.opened_and_resolved_by_month AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s_1.starts_at ORDER BY s_1.starts_at) AS starts,
            array_agg(s_1.period ORDER BY s_1.starts_at) AS periods
           FROM reporting.months s_1
        )
 SELECT s.period,
    s.starts_at,
    o.opened,
    COALESCE(r.resolved, (0)::bigint) AS resolved
   FROM ((reporting.months s
     CROSS JOIN LATERAL ( SELECT count(*) AS opened
           FROM reporting.plausible_incidents i
          WHERE ((i.started_at >= s.starts_at) AND (i.started_at < s.ends_at))) o)
     LEFT JOIN ( SELECT p.periods[width_bucket(i.resolved_at, p.starts)] AS period,
            count(*) AS resolved
           FROM (reporting.plausible_incidents i
             CROSS JOIN p)
          WHERE (i.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(i.resolved_at, p.starts)]) r USING (period));

COMMENT ON VIEW reporting.opened_and_resolved_by_month IS 'How many incidents started and how many were resolved in each month; none is 0.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_month.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.opened_and_resolved_by_month.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_month.opened IS 'Incidents that started in the period.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_month.resolved IS 'Incidents that were resolved in the period, whenever they started.';

CREATE VIEW reporting.weeks AS
 SELECT p.period,
    p.starts_at,
    p.ends_at
   FROM ( SELECT (local.local)::date AS period,
            reporting.first_instant(local.local, z.zone) AS starts_at,
            lead(reporting.first_instant(local.local, z.zone)) OVER (ORDER BY local.local) AS ends_at,
            first.started_at
           FROM ((reporting.time_zone() z(zone)
             CROSS JOIN ( SELECT i.started_at
                   FROM reporting.plausible_incidents i
                  ORDER BY i.started_at
                 LIMIT 1) first)
             CROSS JOIN LATERAL generate_series(date_trunc('week'::text, (first.started_at AT TIME ZONE z.zone)), (((now() AT TIME ZONE z.zone) + '1 day'::interval) + '7 days'::interval), '7 days'::interval) local(local))) p
  WHERE ((p.starts_at < p.ends_at) AND (p.starts_at <= now()) AND (p.ends_at > p.started_at));

COMMENT ON VIEW reporting.weeks IS 'Every week from that of the first incident to today''s.';

COMMENT ON COLUMN reporting.weeks.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.weeks.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.weeks.ends_at IS 'The time at which the period ends, which belongs to the next.';

CREATE VIEW reporting.opened_and_resolved_by_week AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s_1.starts_at ORDER BY s_1.starts_at) AS starts,
            array_agg(s_1.period ORDER BY s_1.starts_at) AS periods
           FROM reporting.weeks s_1
        )
 SELECT s.period,
    s.starts_at,
    o.opened,
    COALESCE(r.resolved, (0)::bigint) AS resolved
   FROM ((reporting.weeks s
     CROSS JOIN LATERAL ( SELECT count(*) AS opened
           FROM reporting.plausible_incidents i
          WHERE ((i.started_at >= s.starts_at) AND (i.started_at < s.ends_at))) o)
     LEFT JOIN ( SELECT p.periods[width_bucket(i.resolved_at, p.starts)] AS period,
            count(*) AS resolved
           FROM (reporting.plausible_incidents i
             CROSS JOIN p)
          WHERE (i.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(i.resolved_at, p.starts)]) r USING (period));

COMMENT ON VIEW reporting.opened_and_resolved_by_week IS 'How many incidents started and how many were resolved in each week; none is 0.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_week.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.opened_and_resolved_by_week.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_week.opened IS 'Incidents that started in the period.';

COMMENT ON COLUMN reporting.opened_and_resolved_by_week.resolved IS 'Incidents that were resolved in the period, whenever they started.';

CREATE VIEW reporting.services AS
 SELECT t.identifier,
    n.service,
    t.incidents,
    t.open,
    ( SELECT (sum(date_part('epoch'::text, (upper(piece.piece) - lower(piece.piece)))) / (60)::double precision)
           FROM unnest(t.times) piece(piece)) AS minutes
   FROM (( SELECT l.identifier,
            count(*) AS incidents,
            count(*) FILTER (WHERE (l.resolved_at IS NULL)) AS open,
            range_agg(tstzrange(l.started_at, COALESCE(l.resolved_at, now()))) AS times
           FROM ( SELECT w.identifier,
                    w.started_at,
                    w.resolved_at
                   FROM reporting.incident_with_service w
                  ORDER BY w.started_at) l
          GROUP BY l.identifier) t
     LEFT JOIN reporting.service_names n USING (identifier));

COMMENT ON VIEW reporting.services IS 'The services, with the number of their incidents and the time that they were under one.';

COMMENT ON COLUMN reporting.services.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.services.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.services.incidents IS 'The incidents of the service.';

COMMENT ON COLUMN reporting.services.open IS 'Those of them that are not resolved.';

COMMENT ON COLUMN reporting.services.minutes IS 'Minutes with at least one incident, open ones up to now: where two overlap, they count once.';

CREATE MATERIALIZED VIEW reporting.services_snapshot AS
 SELECT now() AS taken_at,
    v.identifier,
    v.service,
    v.incidents,
    v.open,
    v.minutes
   FROM reporting.services v
  WITH NO DATA;

COMMENT ON MATERIALIZED VIEW reporting.services_snapshot IS 'reporting.services, as refresh_snapshots() last saw it.';

COMMENT ON COLUMN reporting.services_snapshot.taken_at IS 'When the snapshot was taken.';

COMMENT ON COLUMN reporting.services_snapshot.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.services_snapshot.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.services_snapshot.incidents IS 'The incidents of the service.';

COMMENT ON COLUMN reporting.services_snapshot.open IS 'Those of them that are not resolved.';

COMMENT ON COLUMN reporting.services_snapshot.minutes IS 'Minutes with at least one incident, open ones up to now: where two overlap, they count once.';

CREATE VIEW reporting.suspicious AS
 SELECT i.id,
    i.reference_id AS source_id,
    i.name,
    i.priority,
    i.source_url,
    i.started_at,
    i.resolved_at,
    r.reason,
    i.services AS services_json
   FROM ((intake.incident i
     CROSS JOIN reporting.longest_incident() l(longest))
     CROSS JOIN LATERAL unnest(ARRAY[
        CASE
            WHEN (i.started_at < '1971-01-01 00:00:00+00'::timestamp with time zone) THEN 'started before 1971'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (i.started_at > now()) THEN 'started in the future'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (i.resolved_at > now()) THEN 'resolved in the future'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (i.resolved_at < i.started_at) THEN 'resolved before it started'::text
            ELSE NULL::text
        END,
        CASE
            WHEN (i.resolved_at = i.started_at) THEN 'resolved in the moment it started'::text
            ELSE NULL::text
        END,
        CASE
            WHEN ((i.started_at >= '1971-01-01 00:00:00+00'::timestamp with time zone) AND (i.started_at < COALESCE(i.resolved_at, now())) AND (COALESCE(i.resolved_at, now()) <= now()) AND ((COALESCE(i.resolved_at, now()) - i.started_at) > l.longest)) THEN (
            CASE
                WHEN (i.resolved_at IS NULL) THEN 'open for more than '::text
                ELSE 'lasted more than '::text
            END || l.longest)
            ELSE NULL::text
        END]) r(reason))
  WHERE ((r.reason IS NOT NULL) AND (NOT reporting.is_plausible(i.started_at, i.resolved_at, ( SELECT reporting.longest_incident() AS longest_incident))));

COMMENT ON VIEW reporting.suspicious IS 'Incidents whose times cannot be right, a row for each reason. They are in no figure.';

COMMENT ON COLUMN reporting.suspicious.id IS 'incidents.id.';

COMMENT ON COLUMN reporting.suspicious.source_id IS 'The sender''s reference_id.';

COMMENT ON COLUMN reporting.suspicious.name IS 'The incident''s name; NULL where none is known.';

COMMENT ON COLUMN reporting.suspicious.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.suspicious.source_url IS 'Where the incident is found in the sender''s system.';

COMMENT ON COLUMN reporting.suspicious.started_at IS 'When the incident started.';

COMMENT ON COLUMN reporting.suspicious.resolved_at IS 'When it was resolved; NULL while it is open.';

COMMENT ON COLUMN reporting.suspicious.reason IS 'What is wrong with its times.';

COMMENT ON COLUMN reporting.suspicious.services_json IS 'Its services as sent: [[identifier, name or null], ...].';

CREATE VIEW reporting.time_to_resolve AS
 SELECT t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM ( SELECT count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM reporting.plausible_incidents i
          WHERE (i.resolved_at IS NOT NULL)) t;

COMMENT ON VIEW reporting.time_to_resolve IS 'How long incidents took to resolve, all of them.';

COMMENT ON COLUMN reporting.time_to_resolve.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_day AS
 SELECT p.period,
    p.starts_at,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM (reporting.days p
     CROSS JOIN LATERAL ( SELECT count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM reporting.plausible_incidents i
          WHERE ((i.started_at >= p.starts_at) AND (i.started_at < p.ends_at) AND (i.resolved_at IS NOT NULL))) t);

COMMENT ON VIEW reporting.time_to_resolve_by_day IS 'How long incidents took to resolve, by the day in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_day.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_day.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_day.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_day.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_day.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_day.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_month AS
 SELECT p.period,
    p.starts_at,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM (reporting.months p
     CROSS JOIN LATERAL ( SELECT count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM reporting.plausible_incidents i
          WHERE ((i.started_at >= p.starts_at) AND (i.started_at < p.ends_at) AND (i.resolved_at IS NOT NULL))) t);

COMMENT ON VIEW reporting.time_to_resolve_by_month IS 'How long incidents took to resolve, by the month in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_month.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_month.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_month.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_month.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_month.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_month.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority AS
 SELECT t.priority,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM ( SELECT (i.priority COLLATE "C") AS priority,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM reporting.plausible_incidents i
          WHERE (i.resolved_at IS NOT NULL)
          GROUP BY (i.priority COLLATE "C")) t;

COMMENT ON VIEW reporting.time_to_resolve_by_priority IS 'How long incidents of each priority took to resolve.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority_and_day AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts,
            array_agg(s.period ORDER BY s.starts_at) AS periods
           FROM reporting.days s
        )
 SELECT t.period,
    reporting.first_instant((t.period)::timestamp without time zone, z.zone) AS starts_at,
    t.priority,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM (( SELECT p.periods[width_bucket(i.started_at, p.starts)] AS period,
            (i.priority COLLATE "C") AS priority,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM (reporting.plausible_incidents i
             CROSS JOIN p)
          WHERE (i.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(i.started_at, p.starts)], (i.priority COLLATE "C")) t
     CROSS JOIN reporting.time_zone() z(zone));

COMMENT ON VIEW reporting.time_to_resolve_by_priority_and_day IS 'How long incidents of each priority took to resolve, by the day in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority_and_month AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts,
            array_agg(s.period ORDER BY s.starts_at) AS periods
           FROM reporting.months s
        )
 SELECT t.period,
    reporting.first_instant((t.period)::timestamp without time zone, z.zone) AS starts_at,
    t.priority,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM (( SELECT p.periods[width_bucket(i.started_at, p.starts)] AS period,
            (i.priority COLLATE "C") AS priority,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM (reporting.plausible_incidents i
             CROSS JOIN p)
          WHERE (i.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(i.started_at, p.starts)], (i.priority COLLATE "C")) t
     CROSS JOIN reporting.time_zone() z(zone));

COMMENT ON VIEW reporting.time_to_resolve_by_priority_and_month IS 'How long incidents of each priority took to resolve, by the month in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority_and_week AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts,
            array_agg(s.period ORDER BY s.starts_at) AS periods
           FROM reporting.weeks s
        )
 SELECT t.period,
    reporting.first_instant((t.period)::timestamp without time zone, z.zone) AS starts_at,
    t.priority,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM (( SELECT p.periods[width_bucket(i.started_at, p.starts)] AS period,
            (i.priority COLLATE "C") AS priority,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM (reporting.plausible_incidents i
             CROSS JOIN p)
          WHERE (i.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(i.started_at, p.starts)], (i.priority COLLATE "C")) t
     CROSS JOIN reporting.time_zone() z(zone));

COMMENT ON VIEW reporting.time_to_resolve_by_priority_and_week IS 'How long incidents of each priority took to resolve, by the week in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.priority IS 'As sent; NULL for the incidents without one.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service AS
 SELECT t.identifier,
    n.service,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM (( SELECT l.identifier,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (l.resolved_at - l.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (l.resolved_at - l.started_at)))) AS percentiles
           FROM reporting.incident_with_service l
          WHERE (l.resolved_at IS NOT NULL)
          GROUP BY l.identifier) t
     LEFT JOIN reporting.service_names n USING (identifier));

COMMENT ON VIEW reporting.time_to_resolve_by_service IS 'How long the incidents of each service took to resolve. One with two services counts for both.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.time_to_resolve_by_service.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service_and_day AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts,
            array_agg(s.period ORDER BY s.starts_at) AS periods
           FROM reporting.days s
        )
 SELECT t.period,
    reporting.first_instant((t.period)::timestamp without time zone, z.zone) AS starts_at,
    t.identifier,
    n.service,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM ((( SELECT p.periods[width_bucket(l.started_at, p.starts)] AS period,
            l.identifier,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (l.resolved_at - l.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (l.resolved_at - l.started_at)))) AS percentiles
           FROM (reporting.incident_with_service l
             CROSS JOIN p)
          WHERE (l.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(l.started_at, p.starts)], l.identifier) t
     LEFT JOIN reporting.service_names n USING (identifier))
     CROSS JOIN reporting.time_zone() z(zone));

COMMENT ON VIEW reporting.time_to_resolve_by_service_and_day IS 'How long the incidents of each service took to resolve, by the day in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service_and_month AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts,
            array_agg(s.period ORDER BY s.starts_at) AS periods
           FROM reporting.months s
        )
 SELECT t.period,
    reporting.first_instant((t.period)::timestamp without time zone, z.zone) AS starts_at,
    t.identifier,
    n.service,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM ((( SELECT p.periods[width_bucket(l.started_at, p.starts)] AS period,
            l.identifier,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (l.resolved_at - l.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (l.resolved_at - l.started_at)))) AS percentiles
           FROM (reporting.incident_with_service l
             CROSS JOIN p)
          WHERE (l.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(l.started_at, p.starts)], l.identifier) t
     LEFT JOIN reporting.service_names n USING (identifier))
     CROSS JOIN reporting.time_zone() z(zone));

COMMENT ON VIEW reporting.time_to_resolve_by_service_and_month IS 'How long the incidents of each service took to resolve, by the month in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE MATERIALIZED VIEW reporting.time_to_resolve_by_service_and_month_snapshot AS
 SELECT now() AS taken_at,
    v.period,
    v.starts_at,
    v.identifier,
    v.service,
    v.incidents,
    v.mean_seconds,
    v.median_seconds,
    v.p90_seconds
   FROM reporting.time_to_resolve_by_service_and_month v
  WITH NO DATA;

COMMENT ON MATERIALIZED VIEW reporting.time_to_resolve_by_service_and_month_snapshot IS 'reporting.time_to_resolve_by_service_and_month, as refresh_snapshots() last saw it, in the time zone that it had.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.taken_at IS 'When the snapshot was taken.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service_and_week AS
 WITH p AS MATERIALIZED (
         SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts,
            array_agg(s.period ORDER BY s.starts_at) AS periods
           FROM reporting.weeks s
        )
 SELECT t.period,
    reporting.first_instant((t.period)::timestamp without time zone, z.zone) AS starts_at,
    t.identifier,
    n.service,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM ((( SELECT p.periods[width_bucket(l.started_at, p.starts)] AS period,
            l.identifier,
            count(*) AS incidents,
            avg(date_part('epoch'::text, (l.resolved_at - l.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (l.resolved_at - l.started_at)))) AS percentiles
           FROM (reporting.incident_with_service l
             CROSS JOIN p)
          WHERE (l.resolved_at IS NOT NULL)
          GROUP BY p.periods[width_bucket(l.started_at, p.starts)], l.identifier) t
     LEFT JOIN reporting.service_names n USING (identifier))
     CROSS JOIN reporting.time_zone() z(zone));

COMMENT ON VIEW reporting.time_to_resolve_by_service_and_week IS 'How long the incidents of each service took to resolve, by the week in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE MATERIALIZED VIEW reporting.time_to_resolve_by_service_snapshot AS
 SELECT now() AS taken_at,
    v.identifier,
    v.service,
    v.incidents,
    v.mean_seconds,
    v.median_seconds,
    v.p90_seconds
   FROM reporting.time_to_resolve_by_service v
  WITH NO DATA;

COMMENT ON MATERIALIZED VIEW reporting.time_to_resolve_by_service_snapshot IS 'reporting.time_to_resolve_by_service, as refresh_snapshots() last saw it.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.taken_at IS 'When the snapshot was taken.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.identifier IS 'The sender''s identifier of the service.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.service IS 'The service''s name (service_names).';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_week AS
 SELECT p.period,
    p.starts_at,
    t.incidents,
    t.mean_seconds,
    t.percentiles[1] AS median_seconds,
    t.percentiles[2] AS p90_seconds
   FROM (reporting.weeks p
     CROSS JOIN LATERAL ( SELECT count(*) AS incidents,
            avg(date_part('epoch'::text, (i.resolved_at - i.started_at))) AS mean_seconds,
            percentile_cont((ARRAY[0.5, 0.9])::double precision[]) WITHIN GROUP (ORDER BY (date_part('epoch'::text, (i.resolved_at - i.started_at)))) AS percentiles
           FROM reporting.plausible_incidents i
          WHERE ((i.started_at >= p.starts_at) AND (i.started_at < p.ends_at) AND (i.resolved_at IS NOT NULL))) t);

COMMENT ON VIEW reporting.time_to_resolve_by_week IS 'How long incidents took to resolve, by the week in which they started.';

COMMENT ON COLUMN reporting.time_to_resolve_by_week.period IS 'The first day of the period, in the time zone of reporting.time_zone().';

COMMENT ON COLUMN reporting.time_to_resolve_by_week.starts_at IS 'The time at which the period starts, for charts.';

COMMENT ON COLUMN reporting.time_to_resolve_by_week.incidents IS 'The number that the figures are of: resolved incidents, without those in suspicious.';

COMMENT ON COLUMN reporting.time_to_resolve_by_week.mean_seconds IS 'The mean of their times; NULL where there are none.';

COMMENT ON COLUMN reporting.time_to_resolve_by_week.median_seconds IS 'Half of them took no longer; between the two in the middle where their number is even.';

COMMENT ON COLUMN reporting.time_to_resolve_by_week.p90_seconds IS 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

ALTER TABLE ONLY intake.abandoned_attempt
    ADD CONSTRAINT abandoned_attempt_pkey PRIMARY KEY (number);

ALTER TABLE ONLY intake.api_token
    ADD CONSTRAINT api_token_pkey PRIMARY KEY (token_id);

ALTER TABLE ONLY intake.api_token
    ADD CONSTRAINT api_token_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY intake.group_role
    ADD CONSTRAINT group_role_pkey PRIMARY KEY (purpose);

ALTER TABLE ONLY intake.incident_change
    ADD CONSTRAINT incident_change_pkey PRIMARY KEY (change_id, reference_id);

ALTER TABLE ONLY intake.incident
    ADD CONSTRAINT incident_pkey PRIMARY KEY (reference_id);

ALTER TABLE ONLY intake.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);

CREATE INDEX incident_id ON intake.incident USING btree (id);

CREATE INDEX incident_started_at ON intake.incident USING btree (started_at);

CREATE UNIQUE INDEX services_snapshot_key ON reporting.services_snapshot USING btree (identifier);

CREATE UNIQUE INDEX time_to_resolve_by_service_and_month_snapshot_key ON reporting.time_to_resolve_by_service_and_month_snapshot USING btree (period, identifier);

CREATE UNIQUE INDEX time_to_resolve_by_service_snapshot_key ON reporting.time_to_resolve_by_service_snapshot USING btree (identifier);

CREATE TRIGGER forbid_history_rewrite BEFORE DELETE OR UPDATE ON intake.incident_change FOR EACH STATEMENT EXECUTE FUNCTION intake.forbid_history_rewrite();

CREATE TRIGGER forbid_history_truncate BEFORE TRUNCATE ON intake.incident_change FOR EACH STATEMENT EXECUTE FUNCTION intake.forbid_history_rewrite();

CREATE TRIGGER renew_schema_version AFTER INSERT OR DELETE OR UPDATE ON intake.migration FOR EACH STATEMENT EXECUTE FUNCTION intake.renew_schema_version();

GRANT USAGE ON SCHEMA intake TO incidents_worker;

GRANT USAGE ON SCHEMA reporting TO incidents_reader;

GRANT ALL ON TYPE intake.operation TO incidents_worker;

REVOKE ALL ON FUNCTION intake.abandon_attempts(orphaned bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.apply_batch(expected_version integer, operations intake.operation[], store_until_us bigint, expected_server_us bigint, attempt bigint, orphaned bigint[], OUT outcomes text[], OUT token_labels text[], OUT now_us bigint, OUT server_started_us bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION intake.apply_batch(expected_version integer, operations intake.operation[], store_until_us bigint, expected_server_us bigint, attempt bigint, orphaned bigint[], OUT outcomes text[], OUT token_labels text[], OUT now_us bigint, OUT server_started_us bigint) TO incidents_worker;

REVOKE ALL ON FUNCTION intake.databases_with(role_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.delete_incidents(ids text[], labels text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.enable_history(enabled boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.forbid_history_rewrite() FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.forget_attempts() FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.grant_roles() FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.history_enabled() FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.name_roles(worker text, reader text) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.purge_history(changes bigint[], older_than timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.refuse_call(expected_version integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.renew_schema_version() FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.reporting_relations() FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.revoke_role(role_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.schema_version() FROM PUBLIC;
GRANT ALL ON FUNCTION intake.schema_version() TO incidents_worker;

REVOKE ALL ON FUNCTION intake.stored_incidents(operations intake.operation[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION intake.timestamp_text(value timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION intake.timestamp_text(value timestamp with time zone) TO incidents_reader;

REVOKE ALL ON FUNCTION intake.to_microseconds(value timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION reporting.first_instant(local timestamp without time zone, zone text) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.first_instant(local timestamp without time zone, zone text) TO incidents_reader;

REVOKE ALL ON FUNCTION reporting.incident_json(reference_id text, state intake.incident_state) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.incident_json(reference_id text, state intake.incident_state) TO incidents_reader;

REVOKE ALL ON FUNCTION reporting.is_plausible(started_at timestamp with time zone, resolved_at timestamp with time zone, longest interval) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.is_plausible(started_at timestamp with time zone, resolved_at timestamp with time zone, longest interval) TO incidents_reader;

REVOKE ALL ON FUNCTION reporting.longest_incident() FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.longest_incident() TO incidents_reader;

REVOKE ALL ON FUNCTION reporting.metadata_values(metadata jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.metadata_values(metadata jsonb) TO incidents_reader;

REVOKE ALL ON FUNCTION reporting.refresh_snapshots() FROM PUBLIC;

REVOKE ALL ON FUNCTION reporting.time_zone() FROM PUBLIC;
GRANT ALL ON FUNCTION reporting.time_zone() TO incidents_reader;

GRANT SELECT ON TABLE reporting.plausible_incidents TO incidents_reader;

GRANT SELECT ON TABLE reporting.days TO incidents_reader;

GRANT SELECT ON TABLE reporting.incident_history TO incidents_reader;

GRANT SELECT ON TABLE reporting.incident_metadata TO incidents_reader;

GRANT SELECT ON TABLE reporting.service_names TO incidents_reader;

GRANT SELECT ON TABLE reporting.incident_services TO incidents_reader;

GRANT SELECT ON TABLE reporting.incident_with_service TO incidents_reader;

GRANT SELECT ON TABLE reporting.incidents TO incidents_reader;

GRANT SELECT ON TABLE reporting.months TO incidents_reader;

GRANT SELECT ON TABLE reporting.open_now TO incidents_reader;

GRANT SELECT ON TABLE reporting.opened_and_resolved_by_day TO incidents_reader;

GRANT SELECT ON TABLE reporting.opened_and_resolved_by_month TO incidents_reader;

GRANT SELECT ON TABLE reporting.weeks TO incidents_reader;

GRANT SELECT ON TABLE reporting.opened_and_resolved_by_week TO incidents_reader;

GRANT SELECT ON TABLE reporting.services TO incidents_reader;

GRANT SELECT ON TABLE reporting.services_snapshot TO incidents_reader;

GRANT SELECT ON TABLE reporting.suspicious TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_day TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_month TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_priority TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_priority_and_day TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_priority_and_month TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_priority_and_week TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_service TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_service_and_day TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_service_and_month TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_service_and_month_snapshot TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_service_and_week TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_service_snapshot TO incidents_reader;

GRANT SELECT ON TABLE reporting.time_to_resolve_by_week TO incidents_reader;

ALTER DEFAULT PRIVILEGES FOR ROLE incidents_owner IN SCHEMA reporting GRANT SELECT ON TABLES  TO incidents_reader;

