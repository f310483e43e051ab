-- Rights. Two group roles: the worker's may execute two functions, the readers' may read the views of reporting. Logins are members
-- of one (docs/install.md). Each right is granted by name, because administrators may take PUBLIC's.
--
-- Roles belong to the whole server, so each database has group roles of its own: a worker of one database then has no access to
-- another. incidentctl migrate --worker-role and --reader-role name them. With psql:
-- PGOPTIONS='-c incidents.worker_role=staging_worker -c incidents.reader_role=staging_reader' psql -f 0004_roles.sql
BEGIN;

CREATE TABLE intake.group_role (
    purpose   text PRIMARY KEY CHECK (purpose IN ('worker', 'reader')),
    role_name text NOT NULL CHECK (octet_length(role_name) BETWEEN 1 AND 63 AND role_name NOT IN ('public', 'none'))
);
COMMENT ON TABLE intake.group_role IS 'The roles that this database grants its rights to; name_roles() changes them.';
COMMENT ON COLUMN intake.group_role.role_name IS
    'By name, so that a dump may be restored on another server. A role that does not exist gets its rights when it does.';

-- The relations of reporting that the caller may grant rights on. Some may be an administrator's own.
CREATE FUNCTION intake.reporting_relations() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(c.oid::regclass::text, ', ')
    FROM pg_class c
    WHERE c.relnamespace = 'reporting'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_has_role(c.relowner, 'USAGE')
$$;

-- Creates missing roles, if the caller may, and grants them their rights. `incidentctl migrate` calls it at every run, so a role
-- that an administrator creates later gets its rights then; a migration that adds a function or a view calls it at its end. On
-- shared hosts nobody may create a role, and the owner serves for all. Rights on the database itself are granted by its owner.
CREATE FUNCTION intake.grant_roles() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
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

-- Revokes all that grant_roles() has ever granted a role.
CREATE FUNCTION intake.revoke_role(role_name text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
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

-- The names of the other databases in which the role has rights; NULL if there are none. Rights on a database itself, such as
-- CONNECT, are recorded for no database.
CREATE FUNCTION intake.databases_with(role_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(DISTINCT quote_ident(d.datname), ', ')
    FROM pg_shdepend s
    JOIN pg_database d ON d.oid = CASE s.classid WHEN 'pg_database'::regclass THEN s.objid ELSE s.dbid END
    JOIN pg_roles r ON r.oid = s.refobjid
    WHERE s.refclassid = 'pg_authid'::regclass AND d.datname <> current_database() AND r.rolname = $1
$$;
COMMENT ON FUNCTION intake.databases_with(text) IS 'The other databases of this server in which the role has rights.';

-- Names the group roles; NULL keeps a name. A replaced role loses its rights in this database. The owner cannot be a group role:
-- revoking would take its own rights.
CREATE FUNCTION intake.name_roles(worker text, reader text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION intake.name_roles(text, text) IS 'Names the group roles and grants them their rights. For the owner of the schema.';

-- The given names, else the default ones, if no other database uses these.
DO $$
DECLARE
    worker text := nullif(current_setting('incidents.worker_role', true), '');
    reader text := nullif(current_setting('incidents.reader_role', true), '');
    other  text := coalesce(CASE WHEN worker IS NULL THEN intake.databases_with('incidents_worker') END,
                            CASE WHEN reader IS NULL THEN intake.databases_with('incidents_reader') END);
BEGIN
    IF other IS NOT NULL THEN
        RAISE EXCEPTION 'the default group roles, incidents_worker and incidents_reader, have rights in another database: %', other
            USING ERRCODE = 'duplicate_object',
                  HINT = 'Give this one its own: incidentctl migrate --worker-role NAME --reader-role NAME.';
    END IF;
    PERFORM intake.name_roles(coalesce(worker, 'incidents_worker'), coalesce(reader, 'incidents_reader'));
END
$$;

INSERT INTO intake.migration (version, name, checksum)
VALUES (4, 'roles', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
