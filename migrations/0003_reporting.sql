-- What analysts read: DX's three tables as views, and the figures that people ask for. Views compute them when they are
-- asked for, so they are right at once. docs/reporting.md is the guide, with the times that it takes.
--
-- On a million incidents with two million services this locks the tables for some ten seconds, because identity columns
-- rewrite them. It waits 10 s for the locks, not for ever: behind a long query it would hold up every request.
BEGIN;
SET LOCAL lock_timeout = '10s';

-- Small numbers for joins, as DX has them. They are never changed, so updates stay HOT. A number that ON CONFLICT does not
-- use is lost, which bigint can afford. The index is no unique one, because those contain reference_id (Citus); GENERATED
-- ALWAYS sees to it that no number comes twice.
ALTER TABLE intake.incident ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE intake.incident_service ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
COMMENT ON COLUMN intake.incident.id IS 'For reports to join by: the same for as long as the incident is stored.';
COMMENT ON COLUMN intake.incident_service.id IS 'For reports: the same for as long as the incident has the service.';

-- No index has a column that ordinary updates change: resolved_at in one, or in its WHERE, would end HOT for whoever
-- resolves an incident, and take a quarter of that rate. These three take a twelfth of the rate at which incidents are
-- created; another on the services' identifiers would take a sixth more, to spare reports a tenth of a second.
CREATE INDEX incident_id ON intake.incident (id);
CREATE INDEX incident_started_at ON intake.incident (started_at);
CREATE INDEX incident_service_service ON intake.incident_service (coalesce(nullif(name, ''), identifier));
ANALYZE intake.incident, intake.incident_service;

-- DX's tables. Its schema pages name the columns; what they leave open is decided here and said in the comments.

CREATE VIEW reporting.incidents AS
SELECT i.id,
       i.name,
       i.priority,
       'api'::text AS source,
       i.reference_id AS source_id,
       i.source_url,
       i.started_at,
       i.resolved_at,
       CASE WHEN i.resolved_at BETWEEN i.started_at AND now()
            THEN trunc(date_part('epoch', i.resolved_at - i.started_at))::bigint
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
COMMENT ON COLUMN reporting.incidents.started_at IS 'A moment (timestamptz): it prints in the session''s TimeZone.';
COMMENT ON COLUMN reporting.incidents.resolved_at IS 'NULL while the incident is open. May lie before started_at: clocks differ.';
COMMENT ON COLUMN reporting.incidents.started_to_resolved IS
    'Whole seconds. NULL while the incident is open, and where it was resolved before it started, or in the future.';
COMMENT ON COLUMN reporting.incidents.deleted IS 'Always false: a deleted incident is gone.';

CREATE VIEW reporting.incident_services AS
SELECT s.id,
       i.id AS incident_id,
       coalesce(nullif(s.name, ''), s.identifier) AS service,
       s.identifier
FROM intake.incident_service s
JOIN intake.incident i USING (reference_id);
COMMENT ON VIEW reporting.incident_services IS 'One row for each service of each incident, in the shape of DX''s table.';
COMMENT ON COLUMN reporting.incident_services.id IS 'The same for as long as the incident has the service.';
COMMENT ON COLUMN reporting.incident_services.incident_id IS 'incidents.id.';
COMMENT ON COLUMN reporting.incident_services.service IS 'The service''s name as sent with this incident; its identifier where none was.';
COMMENT ON COLUMN reporting.incident_services.identifier IS 'The sender''s identifier of the service.';

-- The API takes no key with a period in it, so no two paths give the same key. What stands in an array has no key.
CREATE VIEW reporting.incident_metadata AS
SELECT hashtextextended(entry.path::text, i.id) AS id,
       i.id AS incident_id,
       array_to_string(entry.path, '.') AS key,
       entry.value #>> '{}' AS value
FROM intake.incident i
CROSS JOIN LATERAL (
    WITH RECURSIVE node (path, value) AS (
        SELECT ARRAY[top.key], top.value
        FROM jsonb_each(i.metadata) top
        UNION ALL
        SELECT node.path || child.key, child.value
        FROM node, jsonb_each(CASE WHEN jsonb_typeof(node.value) = 'object' THEN node.value END) child)
    SELECT node.path, node.value FROM node
    WHERE jsonb_typeof(node.value) <> 'object' OR node.value = '{}') entry;
COMMENT ON VIEW reporting.incident_metadata IS 'One row for each value in the metadata of each incident, in the shape of DX''s table.';
COMMENT ON COLUMN reporting.incident_metadata.id IS
    'Computed from incident_id and the key, so the same for as long as the incident has the key.';
COMMENT ON COLUMN reporting.incident_metadata.incident_id IS 'incidents.id.';
COMMENT ON COLUMN reporting.incident_metadata.key IS 'The keys from the outermost to the value''s own, joined by periods: cause.kind.';
COMMENT ON COLUMN reporting.incident_metadata.value IS
    'A string as it is, a number with every digit, true or false; NULL for null; an array, or an object without keys, as JSON.';

-- The figures. Periods are those of the time zone in the setting reporting.time_zone, not those of TimeZone, which clients set
-- to their own without being asked. An incident belongs to the period in which it started.

CREATE FUNCTION reporting.time_zone() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('reporting.time_zone', true), ''), 'UTC');
COMMENT ON FUNCTION reporting.time_zone() IS 'The time zone of days, weeks and months: SET reporting.time_zone; UTC where it is not set.';

CREATE VIEW reporting.incident_with_service AS
SELECT i.id AS incident_id,
       s.identifier,
       coalesce(nullif(s.name, ''), s.identifier) AS service,
       i.priority,
       i.started_at,
       i.resolved_at
FROM intake.incident_service s
JOIN intake.incident i USING (reference_id);
COMMENT ON VIEW reporting.incident_with_service IS
    'incidents joined to incident_services, but quicker: one row for each service of each incident.';

CREATE VIEW reporting.time_to_resolve AS
SELECT t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM intake.incident i
    WHERE i.resolved_at BETWEEN i.started_at AND now()) t;
COMMENT ON VIEW reporting.time_to_resolve IS 'How long incidents took to resolve, all of them.';

CREATE VIEW reporting.time_to_resolve_by_priority AS
SELECT t.priority, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT i.priority COLLATE "C" AS priority, -- a third faster to sort
           count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM intake.incident i
    WHERE i.resolved_at BETWEEN i.started_at AND now()
    GROUP BY 1) t;
COMMENT ON VIEW reporting.time_to_resolve_by_priority IS 'How long incidents of each priority took to resolve.';

CREATE VIEW reporting.time_to_resolve_by_service AS
SELECT t.identifier, t.service, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT l.identifier,
           max(l.service) AS service,
           count(*) AS incidents,
           avg(date_part('epoch', l.resolved_at - l.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', l.resolved_at - l.started_at)) AS percentiles
    FROM reporting.incident_with_service l
    WHERE l.resolved_at BETWEEN l.started_at AND now()
    GROUP BY l.identifier) t;
COMMENT ON VIEW reporting.time_to_resolve_by_service IS
    'How long the incidents of each service took to resolve. One with two services counts for both.';

-- By day, week and month. Where every period has a row, it looks for its own incidents with the index on started_at, so that
-- a WHERE on period costs no more than the periods that it leaves. What starts before 1970 or in the future is a mistake,
-- which suspicious lists: it is in no period, and no reason for two thousand years of rows.
DO $$
DECLARE
    unit text;
BEGIN
    FOREACH unit IN ARRAY ARRAY['day', 'week', 'month'] LOOP
        EXECUTE format($view$
            CREATE VIEW reporting.%1$ss AS
            SELECT local::date AS period,
                   local AT TIME ZONE reporting.time_zone() AS starts_at,
                   (local + interval '1 %1$s') AT TIME ZONE reporting.time_zone() AS ends_at
            FROM generate_series(
                date_trunc(%1$L, (SELECT min(i.started_at) FROM intake.incident i WHERE i.started_at >= '1970-01-01 00:00Z')
                                 AT TIME ZONE reporting.time_zone()),
                now() AT TIME ZONE reporting.time_zone(),
                interval '1 %1$s') AS local
        $view$, unit);
        EXECUTE format('COMMENT ON VIEW reporting.%1$ss IS ''Every %1$s from that of the first incident to today''''s.''', unit);

        EXECUTE format($view$
            CREATE VIEW reporting.time_to_resolve_by_%1$s AS
            SELECT p.period, p.starts_at, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
            FROM reporting.%1$ss p
            CROSS JOIN LATERAL (
                SELECT count(*) AS incidents,
                       avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
                       percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
                FROM intake.incident i
                WHERE i.started_at >= p.starts_at AND i.started_at < p.ends_at AND i.started_at <= now()
                  AND i.resolved_at BETWEEN i.started_at AND now()) t
        $view$, unit);
        EXECUTE format('COMMENT ON VIEW reporting.time_to_resolve_by_%1$s IS '
                       '''How long incidents took to resolve, by the %1$s in which they started.''', unit);

        EXECUTE format($view$
            CREATE VIEW reporting.time_to_resolve_by_priority_and_%1$s AS
            SELECT t.period, t.period::timestamp AT TIME ZONE reporting.time_zone() AS starts_at, t.priority,
                   t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
            FROM (
                SELECT date_trunc(%1$L, i.started_at AT TIME ZONE reporting.time_zone())::date AS period,
                       i.priority COLLATE "C" AS priority,
                       count(*) AS incidents,
                       avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
                       percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
                FROM intake.incident i
                WHERE i.resolved_at BETWEEN i.started_at AND now() AND i.started_at >= '1970-01-01 00:00Z' AND i.started_at <= now()
                GROUP BY 1, 2) t
        $view$, unit);
        EXECUTE format('COMMENT ON VIEW reporting.time_to_resolve_by_priority_and_%1$s IS '
                       '''How long incidents of each priority took to resolve, by the %1$s in which they started.''', unit);

        EXECUTE format($view$
            CREATE VIEW reporting.time_to_resolve_by_service_and_%1$s AS
            SELECT t.period, t.period::timestamp AT TIME ZONE reporting.time_zone() AS starts_at, t.identifier, t.service,
                   t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
            FROM (
                SELECT date_trunc(%1$L, l.started_at AT TIME ZONE reporting.time_zone())::date AS period,
                       l.identifier,
                       max(l.service) AS service,
                       count(*) AS incidents,
                       avg(date_part('epoch', l.resolved_at - l.started_at)) AS mean_seconds,
                       percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', l.resolved_at - l.started_at)) AS percentiles
                FROM reporting.incident_with_service l
                WHERE l.resolved_at BETWEEN l.started_at AND now() AND l.started_at >= '1970-01-01 00:00Z' AND l.started_at <= now()
                GROUP BY 1, 2) t
        $view$, unit);
        EXECUTE format('COMMENT ON VIEW reporting.time_to_resolve_by_service_and_%1$s IS '
                       '''How long the incidents of each service took to resolve, by the %1$s in which they started.''', unit);

        EXECUTE format($view$
            CREATE VIEW reporting.opened_and_resolved_by_%1$s AS
            SELECT p.period, p.starts_at, o.opened, coalesce(r.resolved, 0) AS resolved
            FROM reporting.%1$ss p
            CROSS JOIN LATERAL (
                SELECT count(*) AS opened FROM intake.incident i
                WHERE i.started_at >= p.starts_at AND i.started_at < p.ends_at AND i.started_at <= now()) o
            LEFT JOIN (
                SELECT date_trunc(%1$L, i.resolved_at AT TIME ZONE reporting.time_zone())::date AS period, count(*) AS resolved
                FROM intake.incident i
                WHERE i.resolved_at <= now()
                GROUP BY 1) r USING (period)
        $view$, unit);
        EXECUTE format('COMMENT ON VIEW reporting.opened_and_resolved_by_%1$s IS '
                       '''How many incidents started and how many were resolved in each %1$s; none is 0.''', unit);
    END LOOP;
END
$$;

CREATE VIEW reporting.open_now AS
SELECT i.id,
       i.reference_id AS source_id,
       i.name,
       i.priority,
       i.source_url,
       (SELECT string_agg(coalesce(nullif(s.name, ''), s.identifier), ', ' ORDER BY s.position)
        FROM intake.incident_service s WHERE s.reference_id = i.reference_id) AS services,
       i.started_at,
       date_trunc('second', now() - i.started_at) AS age,
       trunc(date_part('epoch', now() - i.started_at))::bigint AS age_seconds
FROM intake.incident i
WHERE i.resolved_at IS NULL AND i.started_at <= now();
COMMENT ON VIEW reporting.open_now IS 'The incidents that have started and are not resolved.';

CREATE VIEW reporting.services AS
SELECT t.identifier, t.service, t.incidents, t.open,
       coalesce((SELECT sum(date_part('epoch', upper(piece) - lower(piece))) / 60 FROM unnest(t.times) piece), 0) AS minutes
FROM (
    SELECT l.identifier,
           max(l.service) AS service,
           count(*) AS incidents,
           count(*) FILTER (WHERE l.resolved_at IS NULL AND l.started_at <= now()) AS open,
           range_agg(tstzrange(l.started_at, least(l.resolved_at, now())))
               FILTER (WHERE l.started_at <= least(l.resolved_at, now())) AS times
    FROM reporting.incident_with_service l
    GROUP BY l.identifier) t;
COMMENT ON VIEW reporting.services IS 'The services, with the number of their incidents and the time that they were under one.';

CREATE VIEW reporting.suspicious AS
SELECT i.id, i.reference_id AS source_id, i.name, i.priority, i.source_url, i.started_at, i.resolved_at, r.reason
FROM intake.incident i
CROSS JOIN LATERAL (VALUES
    (i.resolved_at < i.started_at, 'resolved before it started'),
    (i.started_at > now(), 'started in the future'),
    (i.resolved_at > now(), 'resolved in the future'),
    (i.resolved_at IS NULL AND i.started_at < now() - interval '90 days', 'open for more than 90 days'),
    (i.started_at < '1970-01-01 00:00Z', 'started before 1970')) AS r (holds, reason)
WHERE r.holds
  AND (i.resolved_at < i.started_at OR i.started_at > now() OR i.resolved_at > now() OR i.started_at < '1970-01-01 00:00Z'
       OR i.resolved_at IS NULL AND i.started_at < now() - interval '90 days');
COMMENT ON VIEW reporting.suspicious IS 'Incidents whose times cannot be right or want a look: a row for each reason.';

-- What takes longer than a second over a million incidents, as it stood when reporting.refresh_snapshots() last ran. Empty,
-- and refused, until then.
CREATE MATERIALIZED VIEW reporting.services_snapshot AS
SELECT now() AS taken_at, v.* FROM reporting.services v WITH NO DATA;
COMMENT ON MATERIALIZED VIEW reporting.services_snapshot IS 'reporting.services, as refresh_snapshots() last saw it.';
CREATE UNIQUE INDEX services_snapshot_key ON reporting.services_snapshot (identifier);

CREATE MATERIALIZED VIEW reporting.time_to_resolve_by_service_snapshot AS
SELECT now() AS taken_at, v.* FROM reporting.time_to_resolve_by_service v WITH NO DATA;
COMMENT ON MATERIALIZED VIEW reporting.time_to_resolve_by_service_snapshot IS
    'reporting.time_to_resolve_by_service, as refresh_snapshots() last saw it.';
CREATE UNIQUE INDEX time_to_resolve_by_service_snapshot_key ON reporting.time_to_resolve_by_service_snapshot (identifier);

CREATE MATERIALIZED VIEW reporting.time_to_resolve_by_service_and_month_snapshot AS
SELECT now() AS taken_at, v.* FROM reporting.time_to_resolve_by_service_and_month v WITH NO DATA;
COMMENT ON MATERIALIZED VIEW reporting.time_to_resolve_by_service_and_month_snapshot IS
    'reporting.time_to_resolve_by_service_and_month, as refresh_snapshots() last saw it, in the time zone that it had.';
CREATE UNIQUE INDEX time_to_resolve_by_service_and_month_snapshot_key
    ON reporting.time_to_resolve_by_service_and_month_snapshot (period, identifier);

-- Readers go on while it runs, but for the first time.
CREATE FUNCTION reporting.refresh_snapshots() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
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
REVOKE ALL ON FUNCTION reporting.refresh_snapshots() FROM PUBLIC;
COMMENT ON FUNCTION reporting.refresh_snapshots() IS 'Takes the snapshots anew. For the owner of the schema.';

-- Columns mean the same in every view that has them.
DO $$
DECLARE
    meaning text;
    target  record;
BEGIN
    FOR target IN
        SELECT c.relname, a.attname
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'reporting'::regnamespace AND c.relkind IN ('v', 'm')
          AND col_description(c.oid, a.attnum) IS NULL
          AND c.relname <> ALL (ARRAY['incidents', 'incident_services', 'incident_metadata'])
    LOOP
        meaning := CASE target.attname
            WHEN 'id' THEN 'incidents.id.'
            WHEN 'incident_id' THEN 'incidents.id.'
            WHEN 'source_id' THEN 'The sender''s reference_id.'
            WHEN 'name' THEN 'The incident''s name; NULL where none is known.'
            WHEN 'priority' THEN 'As sent; NULL for the incidents without one.'
            WHEN 'source_url' THEN 'Where the incident is found in the sender''s system.'
            WHEN 'started_at' THEN 'When the incident started.'
            WHEN 'resolved_at' THEN 'When it was resolved; NULL while it is open.'
            WHEN 'identifier' THEN 'The sender''s identifier of the service.'
            WHEN 'service' THEN 'The service''s name, else its identifier; where it was sent under several, the last in byte order.'
            WHEN 'services' THEN 'The names of its services, in the order sent; NULL where it has none.'
            WHEN 'period' THEN 'The first day of the period, in the time zone of reporting.time_zone().'
            WHEN 'starts_at' THEN 'The moment that the period starts, for charts.'
            WHEN 'ends_at' THEN 'The moment that the period ends, which belongs to the next.'
            WHEN 'mean_seconds' THEN 'The mean of their times; NULL where there are none.'
            WHEN 'median_seconds' THEN 'Half of them took no longer; between the two in the middle where their number is even.'
            WHEN 'p90_seconds' THEN 'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).'
            WHEN 'opened' THEN 'Incidents that started in the period.'
            WHEN 'resolved' THEN 'Incidents that were resolved in the period, whenever they started.'
            WHEN 'open' THEN 'Those of them that have started and are not resolved.'
            WHEN 'minutes' THEN 'Minutes with at least one incident, open ones up to now: where two overlap, they count once.'
            WHEN 'age' THEN 'The time since it started.'
            WHEN 'age_seconds' THEN 'The same in whole seconds.'
            WHEN 'reason' THEN 'What is wrong with its times.'
            WHEN 'taken_at' THEN 'When the snapshot was taken.'
            WHEN 'incidents' THEN CASE WHEN target.relname LIKE 'services%' THEN 'All incidents of the service.'
                ELSE 'The number that the figures are of: resolved incidents, without those resolved before they started, or in the future.' END
        END;
        EXECUTE format('COMMENT ON COLUMN reporting.%I.%I IS %L', target.relname, target.attname, meaning);
    END LOOP;
END
$$;

SELECT intake.grant_roles();

INSERT INTO intake.migration (version, name, checksum)
VALUES (3, 'reporting', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
