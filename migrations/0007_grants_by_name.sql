-- Roles are granted by name all that they need. What everybody may do by default, administrators take from PUBLIC where they
-- harden a server (ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC, REVOKE CONNECT ON DATABASE), and readers
-- then lacked the function that all reports by time call.
BEGIN;

-- Grants the roles what they need, those of them that exist. `incidentctl migrate` calls it every time, so that a
-- role which an administrator creates later gets its rights at the next run. A database that belongs to somebody else is left
-- to them: only who has a right to give may give it.
CREATE OR REPLACE FUNCTION intake.grant_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
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

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;
SELECT intake.grant_roles();

INSERT INTO intake.migration (version, name, checksum)
VALUES (7, 'grants_by_name', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
