# ServiceNow: rows of the table incident, by the table API with any sysparm_display_value
# (https://www.servicenow.com/docs/bundle/yokohama-api-reference/page/integrate/inbound-rest/concept/c_TableAPI.html),
# a list that was exported as JSON (records), or one as CSV, whose columns have the names of the fields, or their labels where the instance
# or sysparm_export_column_header_label says so:
# https://www.servicenow.com/docs/r/australia/platform-administration/table-administration-and-data-management/system-properties-display-value-header.html
# The API's times are UTC. Display values, which a CSV has unless glide.export.csv.raw.value is true, are of the zone
# and in the format of the user who exported (field-types-affected.md of https://github.com/ServiceNow/ServiceNowDocs;
# c_ExportDateAndTimeInformation.md there says that a CSV has stored ones): --time-zone, --date-format. Not checked
# against a published description: the labels of fields.
def raw: if type == "object" then given(.value; .display_value) else . end;
# With sysparm_display_value=true a reference has no value; its link ends with it, a sys_id.
def referred: given(.value; .link | if type == "string" then split("/")[-1] | select(length == 32) else . end; .display_value);
def shown: if type == "object" then given(.display_value; .value) else . end;
{
  reference_id: (.number | raw),
  name: (.short_description | raw),
  priority: (.priority | shown),
  started_at: given(.opened_at | raw; .opened | raw; .sys_created_on | raw; .created | raw),
  resolved_at: given(.resolved_at | raw; .resolved | raw; .closed_at | raw; .closed | raw),
  services: services([.business_service, .service, .cmdb_ci, .configuration_item][]
    | if type == "object" then {identifier: referred, name: .display_value} else {identifier: filled} end),
  metadata: ({sys_id: (.sys_id | raw), state: given(.state | shown; .incident_state | shown),
              category: (.category | shown), assignment_group: (.assignment_group | shown),
              close_code: given(.close_code | shown; .resolution_code | shown)} | metadata)
} | incident
