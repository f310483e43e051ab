# Opsgenie: incidents of the API (https://docs.opsgenie.com/docs/incident-api), or with these names as CSV.
# The end of the impact is the resolution, as DX takes it (https://docs.getdx.com/schema/opsgenie_incidents).
{
  reference_id: .id,
  name: .message,
  priority,
  source_url: given(.links.web?, .links.api?, .links_web),
  started_at: given(.impactStartDate, .impact_start_date, .createdAt, .created_at),
  resolved_at: given(.impactEndDate, .impact_end_date,
                     (if .status == "resolved" or .status == "closed" then given(.updatedAt, .updated_at) else null end)),
  services: (given(.impactedServices, .impacted_services) as $impacted
    | if $impacted == null then services(given(.serviceId, .service_id))
      elif ($impacted | type) == "string" or ($impacted | type) == "array" then services($impacted | pieces($separator)[])
      else $impacted end),
  metadata: ((.extraProperties | if type == "object" then tame else {extraProperties: .} end)
    + {tinyId: given(.tinyId, .tiny_id), ownerTeam: given(.ownerTeam, .owner_team), tags: .tags} | metadata)
} | incident
