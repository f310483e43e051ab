# Jira and Jira Service Management: issues as "Export CSV" writes them, or of GET /rest/api/3/search/jql with the
# fields (https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/), which replaced
# /rest/api/3/search (https://developer.atlassian.com/changelog/#CHANGE-2046). The CSV's times name no zone, and have
# the format of the instance: --time-zone, --date-format. Its columns are as public exports have them. Not checked
# against a published description: that its times are of the user's zone; the columns affected_services and key.
if .fields then {
  reference_id: .key,
  name: .fields.summary,
  priority: (.fields.priority | part(.name)),
  started_at: .fields.created,
  resolved_at: .fields.resolutiondate,
  services: services(.fields.components | texts[] | part(given(.name; .id))),
  metadata: ({issue_type: (.fields.issuetype | part(.name)), status: (.fields.status | part(.name)),
              resolution: (.fields.resolution | part(.name)), labels: .fields.labels} | metadata)
} else {
  reference_id: given(.issue_key; .key),
  name: .summary,
  priority,
  started_at: .created,
  resolved_at: .resolved,
  services: services(given(.custom_field_affected_services; .affected_services; .components; .component_s)
    | texts[] | pieces($separator)[]),
  metadata: ({issue_type, status, resolution, labels: (.labels | texts), project_key} | metadata)
} end | incident
