# Opsgenie: incidents of the API (https://docs.opsgenie.com/docs/incident-api), or with these names as CSV. The end
# of the impact is the resolution. Answers of the API are in Packs/OpsGenie of https://github.com/demisto/content,
# names such as impact_start_date in
# https://fivetran.com/docs/connectors/applications/opsgenie/connector-schema.md. Not checked against a published
# description: impacted_services, owner_team, links_web.
{
  reference_id: .id,
  name: .message,
  priority,
  source_url: given(.links | part(given(.web; .api)); .links_web),
  started_at: given(.impactStartDate; .impact_start_date; .createdAt; .created_at),
  resolved_at: (if .status == "open" then null
                else given(.impactEndDate; .impact_end_date;
                           if .status == "resolved" or .status == "closed" then given(.updatedAt; .updated_at)
                           else null end) end),
  services: (given(.impactedServices; .impacted_services; .serviceId; .service_id)
    | if type == "string" then pieces($separator) else . end),
  metadata: ((.extraProperties | if type == "object" then . else {extraProperties: .} end)
    + {tinyId: given(.tinyId; .tiny_id), ownerTeam: given(.ownerTeam; .owner_team), tags})
} | incident
