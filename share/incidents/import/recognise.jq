# Which format a record is of, by the names that only that one has: {"format": NAME}, or "own" for ours, or null.
# A CSV file's record is its header, an object whose names are the columns'.
def all_of(f): . as $record | all([f][]; . as $name | $record | has($name));
.record | {format: (
  if type != "object" then null
  elif has("reference_id") then "own"
  elif all_of("id", "incident_number") then "pagerduty"
  elif all_of("id", "message") and (has("tinyId") or has("tiny_id")) then "opsgenie"
  elif all_of("source_id", "started_at", "id") then "dx"
  elif all_of("source_id", "started_at") then "own"
  else null end)}
