# incident.io: incidents of the API (https://api-docs.incident.io/tag/Incidents-V2). Its timestamps have names that
# each organisation chooses (https://docs.incident.io/api-reference/incident-timestamps-v2); these are those that it
# begins with. What was declined, merged or cancelled is no incident, nor is a test or a tutorial: they are left out.
# Not checked against a published description: the timestamps "Started" and "Resolved".
def timestamp($names): [$names[] as $name | .incident_timestamp_values[]?
  | select((.incident_timestamp.name | ascii_downcase | rtrimstr(" at")) == $name) | .value.value?
  | select(. != null)][0];
if ([.incident_status.category?] | inside(["declined", "merged", "canceled"]))
   or ([.mode] | inside(["test", "tutorial"])) then empty
else {
  reference_id: .id,
  name,
  priority: .severity.name?,
  source_url: .permalink,
  started_at: given(timestamp(["impact started", "started", "reported"]), .created_at),
  resolved_at: timestamp(["resolved", "fixed", "closed"]),
  services: services(.custom_field_entries[]? | select(.custom_field.name | ascii_downcase
      | contains("service")) | .values[]?
    | if .value_catalog_entry? then .value_catalog_entry | {identifier: .id, name}
      elif .value_option? then .value_option | {identifier: .id, name: .value}
      else given(.value_text?, .value_link?) end),
  metadata: ({reference, status: .incident_status.name?, incident_type: .incident_type.name?, mode} | metadata)
} | incident end
