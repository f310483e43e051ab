# Opsgenie: alerts of the API (https://docs.opsgenie.com/docs/alert-api), or as its "Export alerts" writes them to
# CSV: Alert ID, Alias, TinyID, Message, Status, CreatedAt and UpdatedAt in milliseconds. An alert ends
# report.closeTime milliseconds after its beginning, as https://github.com/api-evangelist/opsgenie describes it; its
# last update may be a note of years later. A CSV file has no such time: there a closed alert ends with its last
# update. Not checked against a description of Opsgenie's own: that closeTime counts milliseconds. Not checked against
# a published description: the columns of the CSV, which are as a public reader of it has them; priority in it.
def closed: .status == "closed" or .status == "Closed" or .status == "CLOSED";
if .alert_id then {
  reference_id: .alert_id,
  name: .message,
  priority,
  started_at: .created_at,
  resolved_at: (if closed then .updated_at else null end),
  metadata: ({alias, tinyId: .tiny_id, owner, teams, count} | metadata)
} else {
  reference_id: .id,
  name: .message,
  priority,
  started_at: .createdAt,
  resolved_at: (if closed | not then null
                elif (.report | type) == "object" and (.report.closeTime | filled) != null
                then (.createdAt | to_ms) + (.report.closeTime | tonumber)
                else .updatedAt end),
  metadata: ({alias, tinyId, source, owner, count, tags,
              teams: [.teams | texts[] | part(.id)], integration: (.integration | part(.name))} | metadata)
} end | incident
