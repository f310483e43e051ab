# Jira and Jira Service Management: issues as "Export CSV" writes them
# (https://support.atlassian.com/jira-software-cloud/docs/export-issues/), or of GET /rest/api/3/search
# (https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/). The CSV's times are those
# of the user, in the format of the instance: --time-zone, --date-format.
if .fields then {
  reference_id: .key,
  name: .fields.summary,
  priority: .fields.priority.name?,
  started_at: .fields.created,
  resolved_at: .fields.resolutiondate,
  services: services(.fields.components[]? | {identifier: .id, name}),
  metadata: ({issue_type: .fields.issuetype.name?, status: .fields.status.name?,
              resolution: .fields.resolution.name?, labels: .fields.labels} | metadata)
} else {
  reference_id: given(.issue_key, .key),
  name: .summary,
  priority,
  started_at: .created,
  resolved_at: .resolved,
  services: services(given(.custom_field_affected_services, .affected_services, .components, .component_s)
    | texts[] | pieces($separator)[]),
  metadata: ({issue_type, status, resolution, labels, project_key} | metadata)
} end | incident
