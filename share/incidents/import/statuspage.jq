# Atlassian Statuspage: incidents of the API (https://developer.statuspage.io/#operation/getPagesPageIdIncidents)
# and of a page itself, /api/v2/incidents.json, which alone has started_at. What was scheduled is maintenance, and
# left out. Where one is resolved without a time for it, that of the last update is taken.
if (.scheduled_for | filled) != null or .impact == "maintenance" then empty
else {
  reference_id: .id,
  name,
  priority: .impact,
  source_url: .shortlink,
  started_at: given(.started_at; .created_at),
  resolved_at: given(.resolved_at;
                     (if .status == "resolved" or .status == "postmortem" then .updated_at else null end)),
  services: services(.components | texts[] | service),
  metadata: ({status, page_id} | metadata)
} | incident end
