// A Function step named Incident, behind the step Get_incident.
const { id, attributes } = $.Steps.Get_incident.data;
const iso = (when) => (when ? new Date(isNaN(when) ? when : Number(when)).toISOString() : null);

return {
  reference_id: id,
  name: attributes.title,
  priority: attributes.severity ?? attributes.fields?.severity?.value ?? null,
  source_url: `https://app.datadoghq.com/incidents/${attributes.public_id}`,
  started_at: iso(attributes.customer_impact_start ?? attributes.detected ?? attributes.created),
  resolved_at: iso(attributes.resolved ?? attributes.customer_impact_end),
  services: attributes.fields?.services?.value ?? null,
};
