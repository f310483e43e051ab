# FireHydrant: incidents of the API (https://docs.firehydrant.com/reference/list-incidents). The end is the
# milestone resolved, else closed.
def milestone($type): [.milestones[]? | select(.type == $type) | .occurred_at][-1];
{
  reference_id: .id,
  name,
  priority: given(.priority, .severity),
  source_url: .incident_url,
  started_at: given(milestone("started"), .started_at, .created_at),
  resolved_at: given(milestone("resolved"), milestone("closed")),
  services: services(.services[]? | {identifier: .id, name}),
  metadata: ({number, severity, milestone: .current_milestone, tags: .tag_list,
              labels} | metadata)
} | incident
