# Squadcast: incidents as GET /v3/incidents/export gives them, JSON or CSV
# (https://developers.incidents.cloud.solarwinds.com/api-reference/incidents; its SDK,
# https://github.com/SquadcastHub/squadcast-sdk-go, leaves the answer open). id, title, priority, service, status and
# created_at are as published scripts read it, ttr (ms) too, url and the objects as its webhooks send them. While an incident is
# open its resolved_at is 0001-01-01T00:00:00Z, Go's zero, which is no time here either. Not checked against a
# published description: resolved_at, that zero, alert_source as text, incident_id, incident_url, severity,
# triggered_at.
def by_duration: given(."ttr (ms)"; .ttr_ms)
  as $ms | if .status == "resolved" and $ms != null then
    (given(.created_at; .triggered_at) | to_ms) + ($ms | tonumber) | from_ms else null end;
{
  reference_id: given(.id; .incident_id),
  name: given(.title; .message),
  priority: given(.priority; .severity),
  source_url: given(.url; .incident_url),
  started_at: given(.created_at; .triggered_at),
  resolved_at: ((.resolved_at | if . == "" or . == null or startswith("0001-01-01") then null else . end)
                // by_duration),
  services: services(.service | service),
  metadata: ({status, alert_source: (.alert_source | if type == "object" then given(.type; .name) else . end)}
    | metadata)
} | incident
