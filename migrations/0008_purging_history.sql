-- History can forget what is old without holding anybody up: ALTER TABLE ... DISABLE TRIGGER, which was the way, keeps every
-- write waiting until the last row is deleted.
BEGIN;
SET LOCAL lock_timeout = '10s';

-- Replaced, and not the trigger, so that no lock on the table is needed.
CREATE OR REPLACE FUNCTION intake.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('incidents.purges_history', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the history of incidents is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;

-- By the numbers of the changes, so that a call is as short as its caller wants it. The setting is a note between these two
-- functions, no guard: deleting takes the owner's rights.
CREATE FUNCTION intake.purge_history(changes bigint[], older_than timestamptz) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION intake.purge_history(bigint[], timestamptz) IS
    'Deletes those of the changes from the history that are older. For the owner of the schema.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;
SELECT intake.grant_roles();

INSERT INTO intake.migration (version, name, checksum)
VALUES (8, 'purging_history', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
