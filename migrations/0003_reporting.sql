-- What analysts read: DX's three tables as views, and the figures that people ask for. Views compute them when they are
-- asked for, so they are right at once. docs/reporting.md is the guide, with the times that it takes.
--
-- A reader has SELECT on the views alone. Their tables are read with the owner's rights, but the functions that they call are
-- called with the reader's: 0004_roles.sql grants those by name.
BEGIN;

-- ---- Which times can be right ----

-- The setting's value is an interval: ALTER DATABASE incidents SET reporting.longest_incident = '180 days'. Postgres takes a bare
-- number for seconds, and compares a year as 360 days: what is returned has days of 24 hours alone, as differences of times have.
CREATE FUNCTION reporting.longest_incident() RETURNS interval
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION reporting.longest_incident() IS
    'What is open, or lasted, for longer is suspicious: SET reporting.longest_incident; 90 days where it is not set.';

-- Every figure is of the incidents for which this is true; all others are in reporting.suspicious, which says why. A clock
-- that has lost the time says 1970. The conditions stand apart, so that the planner finds the index on started_at in the first,
-- and say what must not be, so that it expects most incidents to be plausible. `longest` stands here once, so that the planner
-- takes a sub-select for it: one look at the setting in each statement.
CREATE FUNCTION reporting.is_plausible(started_at timestamptz, resolved_at timestamptz, longest interval) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN started_at >= '1971-01-01 00:00Z'
       AND started_at <= now()
       AND (resolved_at <= started_at) IS NOT TRUE
       AND (resolved_at > now()) IS NOT TRUE
       AND (coalesce(resolved_at, now()) - started_at > longest) IS NOT TRUE;
COMMENT ON FUNCTION reporting.is_plausible(timestamptz, timestamptz, interval) IS
    'Whether an incident''s times can be right: it started, and was resolved after that if at all, between 1971 and now, and it '
    'is open, or lasted, for no longer than the interval.';

CREATE VIEW reporting.plausible_incidents AS
SELECT i.id, i.reference_id AS source_id, i.name, i.priority, i.source_url, i.started_at, i.resolved_at,
       trunc(date_part('epoch', i.resolved_at - i.started_at))::bigint AS started_to_resolved,
       i.services AS services_json, i.metadata AS metadata_json
FROM intake.incident i
WHERE reporting.is_plausible(i.started_at, i.resolved_at, (SELECT reporting.longest_incident()));
COMMENT ON VIEW reporting.plausible_incidents IS
    'The incidents that the figures are of: all but those in suspicious.';
COMMENT ON COLUMN reporting.plausible_incidents.id IS 'incidents.id.';
COMMENT ON COLUMN reporting.plausible_incidents.source_id IS 'The sender''s reference_id.';
COMMENT ON COLUMN reporting.plausible_incidents.name IS 'The incident''s name; NULL where none is known.';
COMMENT ON COLUMN reporting.plausible_incidents.priority IS 'As sent; NULL for the incidents without one.';
COMMENT ON COLUMN reporting.plausible_incidents.source_url IS 'Where the incident is found in the sender''s system.';
COMMENT ON COLUMN reporting.plausible_incidents.started_at IS 'When the incident started: not before 1971, and not in the future.';
COMMENT ON COLUMN reporting.plausible_incidents.resolved_at IS
    'When it was resolved, after it started and by now; NULL while it is open.';
COMMENT ON COLUMN reporting.plausible_incidents.started_to_resolved IS 'Whole seconds; NULL while it is open.';
COMMENT ON COLUMN reporting.plausible_incidents.services_json IS 'Its services as sent: [[identifier, name or null], ...].';
COMMENT ON COLUMN reporting.plausible_incidents.metadata_json IS 'Its metadata as sent.';

-- ---- The names of services ----

-- A service has one name, whatever single incidents call it: that of the incident which started last of those that give one.
-- Not the one that was stored last, as an import of old incidents would bring old names back, and so would the resolution of
-- an incident that was sent before the service got its name. Most incidents share their services with others: each list of
-- services is taken apart once.
CREATE VIEW reporting.service_names AS
SELECT DISTINCT ON (n.identifier) n.identifier, coalesce(n.name, n.identifier) AS service
FROM (
    SELECT (service->>0) COLLATE "C" AS identifier, nullif(service->>1, '') COLLATE "C" AS name, l.started_at, l.updated_at
    FROM (
        SELECT i.services,
               max(i.started_at) FILTER (WHERE i.started_at <= now()) AS started_at,
               max(i.updated_at) AS updated_at
        FROM intake.incident i
        WHERE i.services IS NOT NULL
        GROUP BY i.services) l
    CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN jsonb_typeof(l.services) = 'array' THEN l.services END) AS _ (service)
    WHERE jsonb_typeof(service) = 'array') n
WHERE n.identifier IS NOT NULL
ORDER BY n.identifier, n.name IS NULL, n.started_at DESC NULLS LAST, n.updated_at DESC, n.name;
COMMENT ON VIEW reporting.service_names IS 'The services, each with its one name.';
COMMENT ON COLUMN reporting.service_names.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.service_names.service IS
    'The name in the incident that started last of those with a name for it; the identifier where there is none.';

-- ---- DX's tables. Its schema pages name the columns; what they leave open is decided here and said in the comments. ----

CREATE VIEW reporting.incidents AS
SELECT i.id,
       i.name,
       i.priority,
       'api'::text AS source,
       i.reference_id AS source_id,
       i.source_url,
       i.started_at,
       i.resolved_at,
       CASE WHEN reporting.is_plausible(i.started_at, i.resolved_at, (SELECT reporting.longest_incident()))
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
COMMENT ON COLUMN reporting.incidents.started_at IS 'A timestamptz: it prints in the session''s TimeZone.';
COMMENT ON COLUMN reporting.incidents.resolved_at IS 'NULL while the incident is open. May lie before started_at: clocks differ.';
COMMENT ON COLUMN reporting.incidents.started_to_resolved IS
    'Whole seconds. NULL while the incident is open, and where its times cannot be right (suspicious).';
COMMENT ON COLUMN reporting.incidents.deleted IS 'Always false: a deleted incident is gone.';

-- What somebody has stored by hand may be no array. The planner expects a hundred elements in every array, and of each incident
-- with that many services wrong plans follow: a sort in one process, a second of JIT. What it cannot know in advance it takes for
-- one in two hundred, so the WHERE, which holds for all, brings its guess to one service an incident. The id in the CASE makes the
-- argument one of its own for each incident: else the planner keeps the elements of the arrays that it has seen (Memoize), which
-- costs twice what it saves.
--
-- No index on services: no condition on the columns of a view leads to one, as what is compared comes out of the array only
-- here. For statements on intake.incident (services @> '[["checkout"]]') a GIN index (jsonb_path_ops) makes half a second over
-- a million incidents into a tenth, but storing an incident costs 15 % more of the INSERT, replacing its services 17 % more of
-- the UPDATE, which is HOT no more, and now and then a request waits until the index's list of pending entries is sorted in.
CREATE VIEW reporting.incident_services AS
SELECT hashtextextended(e.service->>0, i.id) AS id, -- as in intake.incident_service
       i.id AS incident_id,
       n.service,
       (e.service->>0) COLLATE "C" AS identifier
FROM intake.incident i
CROSS JOIN LATERAL jsonb_array_elements(
    CASE WHEN i.id IS NOT NULL AND jsonb_typeof(i.services) = 'array' THEN i.services END) AS e (service)
LEFT JOIN reporting.service_names n ON n.identifier = (e.service->>0) COLLATE "C"
WHERE jsonb_typeof(e.service) = 'array';
COMMENT ON VIEW reporting.incident_services IS 'One row for each service of each incident, in the shape of DX''s table.';
COMMENT ON COLUMN reporting.incident_services.id IS
    'Computed from incident_id and the identifier, so the same for as long as the incident has the service.';
COMMENT ON COLUMN reporting.incident_services.incident_id IS 'incidents.id.';
COMMENT ON COLUMN reporting.incident_services.service IS
    'The service''s name, the same in every incident (service_names).';
COMMENT ON COLUMN reporting.incident_services.identifier IS 'The sender''s identifier of the service.';

-- A function, because Citus sends no recursive query to its shards. The planner of Postgres puts it where it is called.
CREATE FUNCTION reporting.metadata_values(metadata jsonb) RETURNS TABLE (path text[], value jsonb)
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
COMMENT ON FUNCTION reporting.metadata_values(jsonb) IS
    'The values in an incident''s metadata, each with the keys that lead to it.';

-- The API takes no key with a period in it, so no two paths give the same key. What stands in an array has no key.
CREATE VIEW reporting.incident_metadata AS
SELECT hashtextextended(entry.path::text, i.id) AS id,
       i.id AS incident_id,
       array_to_string(entry.path, '.') AS key,
       entry.value #>> '{}' AS value
FROM intake.incident i
CROSS JOIN LATERAL reporting.metadata_values(i.metadata) entry;
COMMENT ON VIEW reporting.incident_metadata IS
    'One row for each value in the metadata of each incident, in the shape of DX''s table.';
COMMENT ON COLUMN reporting.incident_metadata.id IS
    'Computed from incident_id and the key, so the same for as long as the incident has the key.';
COMMENT ON COLUMN reporting.incident_metadata.incident_id IS 'incidents.id.';
COMMENT ON COLUMN reporting.incident_metadata.key IS
    'The keys from the outermost to the value''s own, joined by periods: cause.kind.';
COMMENT ON COLUMN reporting.incident_metadata.value IS
    'A string as it is, a number with every digit, true or false; NULL for null; an array, or an object without keys, as JSON.';

-- ---- The history ----

-- An incident before or after a change, as JSON. The planner puts it where it is called.
CREATE FUNCTION reporting.incident_json(reference_id text, state intake.incident_state) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN state IS DISTINCT FROM NULL THEN jsonb_build_object(
        'reference_id', reference_id,
        'name', (state).name,
        'priority', (state).priority,
        'source_url', (state).source_url,
        'started_at', intake.timestamp_text((state).started_at),
        'resolved_at', intake.timestamp_text((state).resolved_at),
        'services', coalesce((state).services, '[]'),
        'metadata', (state).metadata) END;
COMMENT ON FUNCTION reporting.incident_json(text, intake.incident_state) IS
    'An incident before or after a change, as incident_history shows it.';

CREATE VIEW reporting.incident_history AS
SELECT c.change_id, c.reference_id AS source_id, c.changed_at, c.action, c.token_label AS changed_by,
       reporting.incident_json(c.reference_id, c.before) AS before,
       reporting.incident_json(c.reference_id, c.after) AS after
FROM intake.incident_change c;
COMMENT ON VIEW reporting.incident_history IS
    'What became of incidents, deleted ones too: a row for each change since the history was turned on.';
COMMENT ON COLUMN reporting.incident_history.change_id IS 'Of one incident, the order of its changes. Numbers may be missing.';
COMMENT ON COLUMN reporting.incident_history.source_id IS 'The sender''s reference_id.';
COMMENT ON COLUMN reporting.incident_history.changed_at IS 'When it was stored.';
COMMENT ON COLUMN reporting.incident_history.action IS 'created, updated or deleted.';
COMMENT ON COLUMN reporting.incident_history.changed_by IS 'The label of the token; incidentctl for what an administrator deleted.';
COMMENT ON COLUMN reporting.incident_history.before IS
    'The incident before the change, with its services ([[identifier, name], ...]) and metadata; NULL at creation.';
COMMENT ON COLUMN reporting.incident_history.after IS 'The same after the change; NULL at deletion.';

-- ---- The figures over all incidents ----

CREATE VIEW reporting.incident_with_service AS
SELECT i.id AS incident_id,
       (e.service->>0) COLLATE "C" AS identifier,
       n.service,
       i.priority,
       i.started_at,
       i.resolved_at
FROM intake.incident i
CROSS JOIN LATERAL jsonb_array_elements(
    CASE WHEN i.id IS NOT NULL AND jsonb_typeof(i.services) = 'array' THEN i.services END) AS e (service)
LEFT JOIN reporting.service_names n ON n.identifier = (e.service->>0) COLLATE "C"
WHERE jsonb_typeof(e.service) = 'array'
  AND reporting.is_plausible(i.started_at, i.resolved_at, (SELECT reporting.longest_incident()));
COMMENT ON VIEW reporting.incident_with_service IS
    'plausible_incidents joined to incident_services, but quicker: one row for each service of each incident.';
COMMENT ON COLUMN reporting.incident_with_service.incident_id IS 'incidents.id.';
COMMENT ON COLUMN reporting.incident_with_service.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.incident_with_service.service IS
    'The service''s name, the same in every incident (service_names).';
COMMENT ON COLUMN reporting.incident_with_service.priority IS 'As sent; NULL for the incidents without one.';
COMMENT ON COLUMN reporting.incident_with_service.started_at IS 'When the incident started.';
COMMENT ON COLUMN reporting.incident_with_service.resolved_at IS 'When it was resolved; NULL while it is open.';

CREATE VIEW reporting.time_to_resolve AS
SELECT t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i
    WHERE i.resolved_at IS NOT NULL) t;
COMMENT ON VIEW reporting.time_to_resolve IS 'How long incidents took to resolve, all of them.';
COMMENT ON COLUMN reporting.time_to_resolve.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve.mean_seconds IS 'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority AS
SELECT t.priority, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT i.priority COLLATE "C" AS priority, -- a third faster to sort
           count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i
    WHERE i.resolved_at IS NOT NULL
    GROUP BY 1) t;
COMMENT ON VIEW reporting.time_to_resolve_by_priority IS 'How long incidents of each priority took to resolve.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority.priority IS 'As sent; NULL for the incidents without one.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority.mean_seconds IS 'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service AS
SELECT t.identifier, n.service, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT l.identifier,
           count(*) AS incidents,
           avg(date_part('epoch', l.resolved_at - l.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', l.resolved_at - l.started_at)) AS percentiles
    FROM reporting.incident_with_service l
    WHERE l.resolved_at IS NOT NULL
    GROUP BY l.identifier) t
LEFT JOIN reporting.service_names n USING (identifier);
COMMENT ON VIEW reporting.time_to_resolve_by_service IS
    'How long the incidents of each service took to resolve. One with two services counts for both.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service.service IS
    'The service''s name (service_names).';
COMMENT ON COLUMN reporting.time_to_resolve_by_service.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service.mean_seconds IS 'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

-- In the order of their starts, as range_agg sorts what it gets, and is quick with what is sorted already.
CREATE VIEW reporting.services AS
SELECT t.identifier, n.service, t.incidents, t.open,
       (SELECT sum(date_part('epoch', upper(piece) - lower(piece))) / 60 FROM unnest(t.times) piece) AS minutes
FROM (
    SELECT l.identifier,
           count(*) AS incidents,
           count(*) FILTER (WHERE l.resolved_at IS NULL) AS open,
           range_agg(tstzrange(l.started_at, coalesce(l.resolved_at, now()))) AS times
    FROM (SELECT w.identifier, w.started_at, w.resolved_at FROM reporting.incident_with_service w ORDER BY 2) l
    GROUP BY l.identifier) t
LEFT JOIN reporting.service_names n USING (identifier);
COMMENT ON VIEW reporting.services IS 'The services, with the number of their incidents and the time that they were under one.';
COMMENT ON COLUMN reporting.services.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.services.service IS
    'The service''s name (service_names).';
COMMENT ON COLUMN reporting.services.incidents IS 'The incidents of the service.';
COMMENT ON COLUMN reporting.services.open IS 'Those of them that are not resolved.';
COMMENT ON COLUMN reporting.services.minutes IS
    'Minutes with at least one incident, open ones up to now: where two overlap, they count once.';

CREATE VIEW reporting.open_now AS
SELECT i.id,
       i.source_id,
       i.name,
       i.priority,
       i.source_url,
       s.services,
       i.started_at,
       date_trunc('second', now() - i.started_at) AS age,
       trunc(date_part('epoch', now() - i.started_at))::bigint AS age_seconds
FROM reporting.plausible_incidents i
LEFT JOIN (
    SELECT o.id, string_agg(n.service, ', ' ORDER BY position) AS services
    FROM intake.incident o
    CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN jsonb_typeof(o.services) = 'array' THEN o.services END)
        WITH ORDINALITY AS e (service, position)
    JOIN reporting.service_names n ON n.identifier = (e.service->>0) COLLATE "C"
    WHERE o.resolved_at IS NULL AND jsonb_typeof(e.service) = 'array'
    GROUP BY o.id) s USING (id)
WHERE i.resolved_at IS NULL;
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

CREATE VIEW reporting.suspicious AS
SELECT i.id, i.reference_id AS source_id, i.name, i.priority, i.source_url, i.started_at, i.resolved_at, r.reason,
       i.services AS services_json
FROM intake.incident i
CROSS JOIN reporting.longest_incident() l (longest)
CROSS JOIN LATERAL unnest(ARRAY[ -- Citus takes no VALUES with now() in them here
    CASE WHEN i.started_at < '1971-01-01 00:00Z' THEN 'started before 1971' END,
    CASE WHEN i.started_at > now() THEN 'started in the future' END,
    CASE WHEN i.resolved_at > now() THEN 'resolved in the future' END,
    CASE WHEN i.resolved_at < i.started_at THEN 'resolved before it started' END,
    CASE WHEN i.resolved_at = i.started_at THEN 'resolved in the moment it started' END,
    CASE WHEN i.started_at >= '1971-01-01 00:00Z' AND i.started_at < coalesce(i.resolved_at, now())
              AND coalesce(i.resolved_at, now()) <= now() AND coalesce(i.resolved_at, now()) - i.started_at > l.longest
         THEN CASE WHEN i.resolved_at IS NULL THEN 'open for more than ' ELSE 'lasted more than ' END || l.longest END]) AS r (reason)
WHERE r.reason IS NOT NULL
  AND NOT reporting.is_plausible(i.started_at, i.resolved_at, (SELECT reporting.longest_incident()));
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

-- ---- The figures by day, week and month ----

-- Periods are those of the time zone in the setting reporting.time_zone, not those of TimeZone, which clients set to their own
-- without being asked. An incident belongs to the period in which it started. In an expression over columns of incidents the
-- function is joined, not called: Citus would call it on the nodes that have the incidents, which do not know the session's
-- setting, and it takes a microsecond.
--
-- Postgres reads more as a time zone than people mean: UTC+2 is POSIX for two hours west of Greenwich. Only names count.
-- pg_timezone_names reads a thousand files, so a region and a city without digits or signs, which cannot be POSIX, are not
-- looked up there: whether they exist is found out by whoever uses them.
CREATE FUNCTION reporting.time_zone() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION reporting.time_zone() IS
    'The time zone of days, weeks and months: SET reporting.time_zone; UTC where it is not set.';

-- AT TIME ZONE takes the second of two where clocks go back over a local time, and a midnight may be one: a day then starts
-- at the first. The clock of the day before, a day on, is ahead of it by as much as they went back. One expression, which the
-- planner puts where it is called.
CREATE FUNCTION reporting.first_instant(local timestamp, zone text) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN least(local AT TIME ZONE zone, CASE WHEN
        (local AT TIME ZONE zone - (((local AT TIME ZONE zone - interval '24 hours') AT TIME ZONE zone) + interval '24 hours' - local))
            AT TIME ZONE zone = local
        THEN local AT TIME ZONE zone - (((local AT TIME ZONE zone - interval '24 hours') AT TIME ZONE zone) + interval '24 hours' - local)
        END);
COMMENT ON FUNCTION reporting.first_instant(timestamp, text) IS
    'The first instant at which clocks in the time zone show that time, or a later one where they pass over it.';

-- Where every period has a row, it looks for its own incidents with the index on started_at, so that a WHERE on period costs no
-- more than the periods that it leaves. The others find the period of each incident by the times at which periods start, which is
-- the same rule: by the local date, an incident in the hour that clocks repeat at midnight would be in another. A date that a
-- time zone has passed over is no period.
CREATE VIEW reporting.days AS
SELECT p.period, p.starts_at, p.ends_at
FROM (
    SELECT local::date AS period,
           reporting.first_instant(local, z.zone) AS starts_at,
           lead(reporting.first_instant(local, z.zone)) OVER (ORDER BY local) AS ends_at,
           first.started_at
    FROM reporting.time_zone() z (zone)
    CROSS JOIN (SELECT i.started_at FROM reporting.plausible_incidents i ORDER BY i.started_at LIMIT 1) first
    CROSS JOIN LATERAL generate_series(
        date_trunc('day', first.started_at AT TIME ZONE z.zone),
        now() AT TIME ZONE z.zone + interval '1 day' + interval '1 day', -- the next may have begun where the date goes back
        interval '1 day') AS local) p
WHERE p.starts_at < p.ends_at AND p.starts_at <= now() AND p.ends_at > p.started_at;
COMMENT ON VIEW reporting.days IS 'Every day from that of the first incident to today''s.';
COMMENT ON COLUMN reporting.days.period IS 'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.days.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.days.ends_at IS 'The time at which the period ends, which belongs to the next.';

CREATE VIEW reporting.time_to_resolve_by_day AS
SELECT p.period, p.starts_at, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM reporting.days p
CROSS JOIN LATERAL (
    SELECT count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i
    WHERE i.started_at >= p.starts_at AND i.started_at < p.ends_at AND i.resolved_at IS NOT NULL) t;
COMMENT ON VIEW reporting.time_to_resolve_by_day IS 'How long incidents took to resolve, by the day in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_day.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_day.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_day.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_day.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_day.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_day.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority_and_day AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.days s)
SELECT t.period, reporting.first_instant(t.period::timestamp, z.zone) AS starts_at, t.priority,
       t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT p.periods[width_bucket(i.started_at, p.starts)] AS period,
           i.priority COLLATE "C" AS priority,
           count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i CROSS JOIN p
    WHERE i.resolved_at IS NOT NULL
    GROUP BY 1, 2) t
CROSS JOIN reporting.time_zone() z (zone);
COMMENT ON VIEW reporting.time_to_resolve_by_priority_and_day IS
    'How long incidents of each priority took to resolve, by the day in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.priority IS 'As sent; NULL for the incidents without one.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_day.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service_and_day AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.days s)
SELECT t.period, reporting.first_instant(t.period::timestamp, z.zone) AS starts_at, t.identifier, n.service,
       t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT p.periods[width_bucket(l.started_at, p.starts)] AS period,
           l.identifier,
           count(*) AS incidents,
           avg(date_part('epoch', l.resolved_at - l.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', l.resolved_at - l.started_at)) AS percentiles
    FROM reporting.incident_with_service l CROSS JOIN p
    WHERE l.resolved_at IS NOT NULL
    GROUP BY 1, 2) t
LEFT JOIN reporting.service_names n USING (identifier)
CROSS JOIN reporting.time_zone() z (zone);
COMMENT ON VIEW reporting.time_to_resolve_by_service_and_day IS
    'How long the incidents of each service took to resolve, by the day in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.service IS 'The service''s name (service_names).';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_day.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.opened_and_resolved_by_day AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.days s)
SELECT s.period, s.starts_at, o.opened, coalesce(r.resolved, 0) AS resolved
FROM reporting.days s
CROSS JOIN LATERAL (
    SELECT count(*) AS opened FROM reporting.plausible_incidents i
    WHERE i.started_at >= s.starts_at AND i.started_at < s.ends_at) o
LEFT JOIN (
    SELECT p.periods[width_bucket(i.resolved_at, p.starts)] AS period, count(*) AS resolved
    FROM reporting.plausible_incidents i CROSS JOIN p
    WHERE i.resolved_at IS NOT NULL
    GROUP BY 1) r USING (period);
COMMENT ON VIEW reporting.opened_and_resolved_by_day IS
    'How many incidents started and how many were resolved in each day; none is 0.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_day.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.opened_and_resolved_by_day.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_day.opened IS 'Incidents that started in the period.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_day.resolved IS
    'Incidents that were resolved in the period, whenever they started.';

CREATE VIEW reporting.weeks AS
SELECT p.period, p.starts_at, p.ends_at
FROM (
    SELECT local::date AS period,
           reporting.first_instant(local, z.zone) AS starts_at,
           lead(reporting.first_instant(local, z.zone)) OVER (ORDER BY local) AS ends_at,
           first.started_at
    FROM reporting.time_zone() z (zone)
    CROSS JOIN (SELECT i.started_at FROM reporting.plausible_incidents i ORDER BY i.started_at LIMIT 1) first
    CROSS JOIN LATERAL generate_series(
        date_trunc('week', first.started_at AT TIME ZONE z.zone),
        now() AT TIME ZONE z.zone + interval '1 day' + interval '1 week', -- the next may have begun where the date goes back
        interval '1 week') AS local) p
WHERE p.starts_at < p.ends_at AND p.starts_at <= now() AND p.ends_at > p.started_at;
COMMENT ON VIEW reporting.weeks IS 'Every week from that of the first incident to today''s.';
COMMENT ON COLUMN reporting.weeks.period IS 'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.weeks.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.weeks.ends_at IS 'The time at which the period ends, which belongs to the next.';

CREATE VIEW reporting.time_to_resolve_by_week AS
SELECT p.period, p.starts_at, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM reporting.weeks p
CROSS JOIN LATERAL (
    SELECT count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i
    WHERE i.started_at >= p.starts_at AND i.started_at < p.ends_at AND i.resolved_at IS NOT NULL) t;
COMMENT ON VIEW reporting.time_to_resolve_by_week IS 'How long incidents took to resolve, by the week in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_week.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_week.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_week.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_week.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_week.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_week.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority_and_week AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.weeks s)
SELECT t.period, reporting.first_instant(t.period::timestamp, z.zone) AS starts_at, t.priority,
       t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT p.periods[width_bucket(i.started_at, p.starts)] AS period,
           i.priority COLLATE "C" AS priority,
           count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i CROSS JOIN p
    WHERE i.resolved_at IS NOT NULL
    GROUP BY 1, 2) t
CROSS JOIN reporting.time_zone() z (zone);
COMMENT ON VIEW reporting.time_to_resolve_by_priority_and_week IS
    'How long incidents of each priority took to resolve, by the week in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.priority IS 'As sent; NULL for the incidents without one.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_week.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service_and_week AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.weeks s)
SELECT t.period, reporting.first_instant(t.period::timestamp, z.zone) AS starts_at, t.identifier, n.service,
       t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT p.periods[width_bucket(l.started_at, p.starts)] AS period,
           l.identifier,
           count(*) AS incidents,
           avg(date_part('epoch', l.resolved_at - l.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', l.resolved_at - l.started_at)) AS percentiles
    FROM reporting.incident_with_service l CROSS JOIN p
    WHERE l.resolved_at IS NOT NULL
    GROUP BY 1, 2) t
LEFT JOIN reporting.service_names n USING (identifier)
CROSS JOIN reporting.time_zone() z (zone);
COMMENT ON VIEW reporting.time_to_resolve_by_service_and_week IS
    'How long the incidents of each service took to resolve, by the week in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.service IS 'The service''s name (service_names).';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_week.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.opened_and_resolved_by_week AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.weeks s)
SELECT s.period, s.starts_at, o.opened, coalesce(r.resolved, 0) AS resolved
FROM reporting.weeks s
CROSS JOIN LATERAL (
    SELECT count(*) AS opened FROM reporting.plausible_incidents i
    WHERE i.started_at >= s.starts_at AND i.started_at < s.ends_at) o
LEFT JOIN (
    SELECT p.periods[width_bucket(i.resolved_at, p.starts)] AS period, count(*) AS resolved
    FROM reporting.plausible_incidents i CROSS JOIN p
    WHERE i.resolved_at IS NOT NULL
    GROUP BY 1) r USING (period);
COMMENT ON VIEW reporting.opened_and_resolved_by_week IS
    'How many incidents started and how many were resolved in each week; none is 0.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_week.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.opened_and_resolved_by_week.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_week.opened IS 'Incidents that started in the period.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_week.resolved IS
    'Incidents that were resolved in the period, whenever they started.';

CREATE VIEW reporting.months AS
SELECT p.period, p.starts_at, p.ends_at
FROM (
    SELECT local::date AS period,
           reporting.first_instant(local, z.zone) AS starts_at,
           lead(reporting.first_instant(local, z.zone)) OVER (ORDER BY local) AS ends_at,
           first.started_at
    FROM reporting.time_zone() z (zone)
    CROSS JOIN (SELECT i.started_at FROM reporting.plausible_incidents i ORDER BY i.started_at LIMIT 1) first
    CROSS JOIN LATERAL generate_series(
        date_trunc('month', first.started_at AT TIME ZONE z.zone),
        now() AT TIME ZONE z.zone + interval '1 day' + interval '1 month', -- the next may have begun where the date goes back
        interval '1 month') AS local) p
WHERE p.starts_at < p.ends_at AND p.starts_at <= now() AND p.ends_at > p.started_at;
COMMENT ON VIEW reporting.months IS 'Every month from that of the first incident to today''s.';
COMMENT ON COLUMN reporting.months.period IS 'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.months.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.months.ends_at IS 'The time at which the period ends, which belongs to the next.';

CREATE VIEW reporting.time_to_resolve_by_month AS
SELECT p.period, p.starts_at, t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM reporting.months p
CROSS JOIN LATERAL (
    SELECT count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i
    WHERE i.started_at >= p.starts_at AND i.started_at < p.ends_at AND i.resolved_at IS NOT NULL) t;
COMMENT ON VIEW reporting.time_to_resolve_by_month IS 'How long incidents took to resolve, by the month in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_month.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_month.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_month.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_month.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_month.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_month.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_priority_and_month AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.months s)
SELECT t.period, reporting.first_instant(t.period::timestamp, z.zone) AS starts_at, t.priority,
       t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT p.periods[width_bucket(i.started_at, p.starts)] AS period,
           i.priority COLLATE "C" AS priority,
           count(*) AS incidents,
           avg(date_part('epoch', i.resolved_at - i.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', i.resolved_at - i.started_at)) AS percentiles
    FROM reporting.plausible_incidents i CROSS JOIN p
    WHERE i.resolved_at IS NOT NULL
    GROUP BY 1, 2) t
CROSS JOIN reporting.time_zone() z (zone);
COMMENT ON VIEW reporting.time_to_resolve_by_priority_and_month IS
    'How long incidents of each priority took to resolve, by the month in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.priority IS 'As sent; NULL for the incidents without one.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_priority_and_month.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.time_to_resolve_by_service_and_month AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.months s)
SELECT t.period, reporting.first_instant(t.period::timestamp, z.zone) AS starts_at, t.identifier, n.service,
       t.incidents, t.mean_seconds, t.percentiles[1] AS median_seconds, t.percentiles[2] AS p90_seconds
FROM (
    SELECT p.periods[width_bucket(l.started_at, p.starts)] AS period,
           l.identifier,
           count(*) AS incidents,
           avg(date_part('epoch', l.resolved_at - l.started_at)) AS mean_seconds,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY date_part('epoch', l.resolved_at - l.started_at)) AS percentiles
    FROM reporting.incident_with_service l CROSS JOIN p
    WHERE l.resolved_at IS NOT NULL
    GROUP BY 1, 2) t
LEFT JOIN reporting.service_names n USING (identifier)
CROSS JOIN reporting.time_zone() z (zone);
COMMENT ON VIEW reporting.time_to_resolve_by_service_and_month IS
    'How long the incidents of each service took to resolve, by the month in which they started.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.service IS 'The service''s name (service_names).';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE VIEW reporting.opened_and_resolved_by_month AS
WITH p AS MATERIALIZED (
    SELECT array_agg(s.starts_at ORDER BY s.starts_at) AS starts, array_agg(s.period ORDER BY s.starts_at) AS periods
    FROM reporting.months s)
SELECT s.period, s.starts_at, o.opened, coalesce(r.resolved, 0) AS resolved
FROM reporting.months s
CROSS JOIN LATERAL (
    SELECT count(*) AS opened FROM reporting.plausible_incidents i
    WHERE i.started_at >= s.starts_at AND i.started_at < s.ends_at) o
LEFT JOIN (
    SELECT p.periods[width_bucket(i.resolved_at, p.starts)] AS period, count(*) AS resolved
    FROM reporting.plausible_incidents i CROSS JOIN p
    WHERE i.resolved_at IS NOT NULL
    GROUP BY 1) r USING (period);
COMMENT ON VIEW reporting.opened_and_resolved_by_month IS
    'How many incidents started and how many were resolved in each month; none is 0.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_month.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.opened_and_resolved_by_month.starts_at IS 'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_month.opened IS 'Incidents that started in the period.';
COMMENT ON COLUMN reporting.opened_and_resolved_by_month.resolved IS
    'Incidents that were resolved in the period, whenever they started.';

-- ---- Snapshots ----

-- What takes longer than a second over a million incidents, as it stood when reporting.refresh_snapshots() last ran. Empty,
-- and refused, until then.
CREATE MATERIALIZED VIEW reporting.services_snapshot AS
SELECT now() AS taken_at, v.* FROM reporting.services v WITH NO DATA;
CREATE UNIQUE INDEX services_snapshot_key ON reporting.services_snapshot (identifier);
COMMENT ON MATERIALIZED VIEW reporting.services_snapshot IS 'reporting.services, as refresh_snapshots() last saw it.';
COMMENT ON COLUMN reporting.services_snapshot.taken_at IS 'When the snapshot was taken.';
COMMENT ON COLUMN reporting.services_snapshot.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.services_snapshot.service IS
    'The service''s name (service_names).';
COMMENT ON COLUMN reporting.services_snapshot.incidents IS 'The incidents of the service.';
COMMENT ON COLUMN reporting.services_snapshot.open IS 'Those of them that are not resolved.';
COMMENT ON COLUMN reporting.services_snapshot.minutes IS
    'Minutes with at least one incident, open ones up to now: where two overlap, they count once.';

CREATE MATERIALIZED VIEW reporting.time_to_resolve_by_service_snapshot AS
SELECT now() AS taken_at, v.* FROM reporting.time_to_resolve_by_service v WITH NO DATA;
CREATE UNIQUE INDEX time_to_resolve_by_service_snapshot_key ON reporting.time_to_resolve_by_service_snapshot (identifier);
COMMENT ON MATERIALIZED VIEW reporting.time_to_resolve_by_service_snapshot IS
    'reporting.time_to_resolve_by_service, as refresh_snapshots() last saw it.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.taken_at IS 'When the snapshot was taken.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.service IS
    'The service''s name (service_names).';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_snapshot.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

CREATE MATERIALIZED VIEW reporting.time_to_resolve_by_service_and_month_snapshot AS
SELECT now() AS taken_at, v.* FROM reporting.time_to_resolve_by_service_and_month v WITH NO DATA;
CREATE UNIQUE INDEX time_to_resolve_by_service_and_month_snapshot_key
    ON reporting.time_to_resolve_by_service_and_month_snapshot (period, identifier);
COMMENT ON MATERIALIZED VIEW reporting.time_to_resolve_by_service_and_month_snapshot IS
    'reporting.time_to_resolve_by_service_and_month, as refresh_snapshots() last saw it, in the time zone that it had.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.taken_at IS 'When the snapshot was taken.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.period IS
    'The first day of the period, in the time zone of reporting.time_zone().';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.starts_at IS
    'The time at which the period starts, for charts.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.identifier IS 'The sender''s identifier of the service.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.service IS
    'The service''s name (service_names).';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.incidents IS
    'The number that the figures are of: resolved incidents, without those in suspicious.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.mean_seconds IS
    'The mean of their times; NULL where there are none.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.median_seconds IS
    'Half of them took no longer; between the two in the middle where their number is even.';
COMMENT ON COLUMN reporting.time_to_resolve_by_service_and_month_snapshot.p90_seconds IS
    'Nine of ten took no longer: the 90th percentile, interpolated (percentile_cont).';

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

INSERT INTO intake.migration (version, name, checksum)
VALUES (3, 'reporting', nullif(current_setting('incidents.migration_checksum', true), ''));

COMMIT;
