# incident.io: incidents of the API (https://api-docs.incident.io/tag/Incidents-V2). Its timestamps have names that
# each organisation chooses (https://docs.incident.io/api-reference/incident-timestamps-v2); these are those that it
# begins with. What was declined, merged or cancelled is no incident, nor is a test or a tutorial: they are left out.
# Not checked against a published description: the timestamps "Started" and "Resolved".
# ascii_downcase takes 10 µs, so that only other names than those pass through it.
def plain_name: {"Impact started at": "impact started", "Reported at": "reported", "Accepted at": "accepted",
  "Identified at": "identified", "Fixed at": "fixed", "Resolved at": "resolved", "Closed at": "closed"}[.]
  // (ascii_downcase | rtrimstr(" at"));
def timestamps: reduce .incident_timestamp_values[]? as $one
  ({}; {($one.incident_timestamp.name | plain_name): ($one.value.value | filled)} + .);
(.incident_status.category? // "") as $category
| if $category == "declined" or $category == "merged" or $category == "canceled"
   or .mode == "test" or .mode == "tutorial" then empty
else timestamps as $at | {
  reference_id: .id,
  name,
  priority: (.severity | part(.name)),
  source_url: .permalink,
  started_at: ($at["impact started"] // $at.started // $at.reported // .created_at),
  resolved_at: (if $category == "triage" or $category == "live" or $category == "paused" then null
                else $at.resolved // $at.fixed // $at.closed end),
  services: services(.custom_field_entries[]? | select(.custom_field.name | contains("ervice") or contains("SERVICE")) | .values[]?
    | if .value_catalog_entry then .value_catalog_entry | {identifier: .id, name}
      elif .value_option then .value_option | {identifier: .id, name: .value}
      else given(.value_text; .value_link) end),
  metadata: ({reference, status: (.incident_status | part(.name)),
              incident_type: (.incident_type | part(.name)), mode} | metadata)
} | incident end
