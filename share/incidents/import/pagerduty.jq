# PagerDuty: incidents of the REST API (https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents),
# of analytics (POST /analytics/raw/incidents) and of reports as CSV. The fields of both are in
# reference/REST/openapiv3.json of https://github.com/PagerDuty/api-schema. Not checked against a published
# description: created_on, resolved_on, priority_summary, service_summary.
{
  reference_id: .id,
  name: given(.title; .description),
  priority: given(.priority | part(given(.summary; .name)); .priority_name; .priority_summary),
  source_url: .html_url,
  started_at: given(.created_at; .created_on),
  resolved_at: given(.resolved_at; .resolved_on;
                     if .status == "resolved" then .last_status_change_at else null end),
  services: [given(.service | part(select(.id | filled) | {identifier: .id, name: given(.summary; .name)});
                   {identifier: given(.service_id; .service_name; .service_summary),
                    name: given(.service_name; .service_summary)})],
  metadata: {incident_number, urgency}
} | incident
