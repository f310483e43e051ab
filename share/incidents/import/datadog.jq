# Datadog: incidents of the API (https://docs.datadoghq.com/api/latest/incidents/get-a-list-of-incidents/). The
# impact on customers, where there is one, is the beginning; its end is that of what is neither resolved nor open.
# Tests are left out. The names in attributes.fields are each organisation's; these are in the recorded answers of
# https://github.com/DataDog/datadog-api-client-go (Feature_Incidents). An answer to a search has its incidents within.
def field($name): .attributes.fields | if type == "object" then .[$name] | part(.value) else null end;
def state: given(.attributes.state; field("state"));
if .attributes.incidents then .attributes.incidents[].data else . end
| if .attributes.is_test == true then empty
else {
  reference_id: .id,
  name: .attributes.title,
  priority: given(.attributes.severity; field("severity")),
  started_at: (.attributes | given(.customer_impact_start; .detected; .declared; .created)),
  resolved_at: given(.attributes.resolved;
                     (if state | . == "active" or . == "stable" then null else .attributes.customer_impact_end end)),
  services: services(field("services") | if type == "array" then .[] else . end),
  metadata: ({public_id: .attributes.public_id, state: state,
              customer_impact_scope: .attributes.customer_impact_scope,
              root_cause: field("root_cause")} | metadata)
} | incident end
