# Rootly: incidents of the API (https://docs.rootly.com/api-reference/incidents/list-incidents), JSON:API. Tests,
# examples and scheduled maintenance are left out.
def name_of: .data.attributes.name? // .name?;
if .attributes.kind // "normal" | test("^(test|example|scheduled)") then empty
else {
  reference_id: .id,
  name: .attributes.title,
  priority: (.attributes.severity | if type == "object" then name_of else . end),
  source_url: given(.attributes.url, .attributes.short_url),
  started_at: given(.attributes.started_at, .attributes.created_at),
  resolved_at: given(.attributes.resolved_at, .attributes.cancelled_at),
  services: services(.attributes.services[]? | {identifier: (.data.id? // .id?), name: name_of}),
  metadata: ({number: .attributes.sequential_id, slug: .attributes.slug, status: .attributes.status,
              mitigated_at: .attributes.mitigated_at,
              labels: .attributes.labels} | metadata)
} | incident end
