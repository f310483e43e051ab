# Squadcast: incidents as GET /v3/incidents/export gives them, JSON or CSV
# (https://developers.squadcast.com/api-reference/incidents#get-v3-incidents-export). While an incident is open its
# resolved_at is 0001-01-01T00:00:00Z, which is no time here either.
def named: if type == "object" then {identifier: given(.id, .name), name} else . end;
{
  reference_id: given(.id, .incident_id),
  name: given(.title, .message),
  priority: given(.priority, .severity),
  source_url: given(.url, .incident_url),
  started_at: given(.created_at, .triggered_at),
  resolved_at: (.resolved_at | if . == "" or . == null or startswith("0001-01-01") then null else . end),
  services: services(.service | named),
  metadata: ({status, alert_source: (.alert_source | if type == "object" then .name else . end)} | metadata)
} | incident
