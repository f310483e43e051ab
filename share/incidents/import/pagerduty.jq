# PagerDuty: incidents of the REST API (https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents),
# of analytics (POST /analytics/raw/incidents) and of reports as CSV. The fields of both are in
# reference/REST/openapiv3.json of https://github.com/PagerDuty/api-schema. Not checked against a published
# description: created_on, resolved_on, priority_summary, service_summary.
{
  reference_id: .id,
  name: given(.title; .description),
  priority: (.priority.summary? // .priority.name? // .priority_name // .priority_summary),
  source_url: .html_url,
  started_at: (.created_at // .created_on),
  resolved_at: (.resolved_at // .resolved_on //
                (if .status == "resolved" then .last_status_change_at else null end)),
  services: [if .service.id? then {identifier: .service.id, name: .service.summary}
             else {identifier: (.service_id // .service_name), name: (.service_name // .service_summary)} end],
  metadata: {incident_number, urgency}
} | incident
