-- A service's name may have any length, but an entry of an index ends at some 2,700 bytes: a request with a longer name was
-- refused. The index has the first 600 characters of what reports call the service, which are at most 2,400 bytes.
--
-- On two million services this keeps batches waiting for some seconds.
BEGIN;
SET LOCAL lock_timeout = '10s';

DROP INDEX IF EXISTS intake.incident_service_service;
CREATE INDEX incident_service_service ON intake.incident_service (left(coalesce(nullif(name, ''), identifier), 600));
ANALYZE intake.incident_service;

INSERT INTO intake.migration (version, name, checksum)
VALUES (6, 'long_names', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
