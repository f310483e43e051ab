# Rootly: incidents of the API (https://docs.rootly.com/api-reference/incidents/list-incidents), JSON:API. The fields
# are in swagger.json of https://github.com/rootlyhq/rootly-go and in client/incidents.go of
# https://github.com/rootlyhq/terraform-provider-rootly. Services are a list, or an object whose data is one. Their
# names are their identifiers, as a workflow of Rootly's can send no more of them. Tests, examples and scheduled
# maintenance are left out.
def name_of: given(.data | part(.attributes | part(.name)); .attributes | part(.name); .name);
if .attributes.kind // "" | startswith("test") or startswith("example") or startswith("scheduled") then empty
else {
  reference_id: .id,
  name: .attributes.title,
  priority: (.attributes.severity | part(name_of)),
  source_url: given(.attributes.url; .attributes.short_url),
  started_at: given(.attributes.started_at; .attributes.created_at),
  resolved_at: given(.attributes.resolved_at; .attributes.closed_at; .attributes.cancelled_at),
  services: services(.attributes.services | part(.data) | texts[]
    | part(given(name_of; .data | part(.id); .id))),
  metadata: ({number: .attributes.sequential_id, slug: .attributes.slug, status: .attributes.status,
              mitigated_at: .attributes.mitigated_at,
              labels: .attributes.labels} | metadata)
} | incident end
