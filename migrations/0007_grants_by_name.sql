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
    grantee  text;
    function regprocedure;
BEGIN
    FOR grantee IN SELECT rolname FROM pg_roles WHERE rolname IN ('incidents_worker', 'incidents_reader') LOOP
        IF has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), grantee);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I',
                       CASE grantee WHEN 'incidents_worker' THEN 'intake' ELSE 'reporting' END, grantee);
        FOR function IN
            SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE CASE grantee WHEN 'incidents_worker' THEN n.nspname = 'intake' AND p.proname IN ('apply_batch', 'schema_version')
                               ELSE n.nspname = 'reporting' AND p.proname = 'time_zone' END
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', function, grantee);
        END LOOP;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'incidents_reader') THEN
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
