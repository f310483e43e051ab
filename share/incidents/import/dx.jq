# DX: rows of its table incidents (https://docs.getdx.com/schema/incidents). The rows of incident_services
# (https://docs.getdx.com/schema/incident_services) and incident_metadata
# (https://docs.getdx.com/schema/incident_metadata) that belong to one stand in it under those names. Metadata's keys
# are paths: cause.kind.
def is_deleted:
  if . == null or type == "boolean" then . == true
  else (tostring | ascii_downcase) as $text
    | if [$text] | inside(["t", "true", "y", "yes", "1"]) then true
      elif [$text] | inside(["", "f", "false", "n", "no", "0"]) then false
      else error("deleted must be true or false") end
  end;
def put($path; $value):
  $path[0] as $key
  | if type != "object" or (($path | length) == 1 and has($key)) then
      error("metadata has a value and an object, or two values, in one place")
    elif ($path | length) == 1 then .[$key] = $value
    else .[$key] = ((if has($key) then .[$key] else {} end) | put($path[1:]; $value)) end;
if .deleted | is_deleted then empty
else {
  reference_id: .source_id,
  name,
  priority,
  source_url,
  started_at,
  resolved_at,
  services: services(.incident_services[]?),
  metadata: (.incident_metadata
    | if . == null then null else reduce .[] as $row ({}; put($row.key / "."; $row.value)) end)
} | incident_with_all_metadata end
