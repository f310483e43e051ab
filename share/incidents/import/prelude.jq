# What every filter of an import may use; it stands before the filter, in one line.

# The first of several values that is neither null nor empty; else null.
def filled: if . == "" then null else . end;
def given(a; b): (a | filled) // (b | filled);
def given(a; b; c): (a | filled) // (b | filled) // (c | filled);
def given(a; b; c; d): (a | filled) // (b | filled) // (c | filled) // (d | filled);

# A text without the blanks around it.
def strip: if startswith(" ") or startswith("\t") or startswith("\n") then .[1:] | strip elif endswith(" ") or endswith("\t") or endswith("\n") then .[:-1] | strip else . end;

# The pieces of a cell that holds a list, by that separator; an array is one already.
def pieces(s): if . == null then [] elif type == "array" then . elif type == "string" then split(s) | map(strip | select(. != "")) else [.] end;

# Of a column that the header repeats, all texts; of any other, the one.
def texts: if . == null then [] elif type == "array" then . else [.] end;

# Of an object what f takes of it. A text, which it may be as well, stays, and so does null: `.x.y?` would be nothing
# there, and so would be the object around it.
def part(f): if type == "object" then f else . end;

# A service by its identifier, or by its name where it has none; a text is either.
def service: if type == "object" then {identifier: given(.id; .name), name} else . end;

# Values of metadata, and services, each an identifier or an object with one: `incident` looks through them.
def metadata: .;
def services(f): [f];

# Whole Unix seconds in ISO 8601, with four digits of the year: todate leaves zeros out before 1000. Go's "no time" is
# in year 1.
def iso: todate | if length < 20 then ("000" + .)[length - 17:] else . end;

# Unix seconds and milliseconds, as numbers or texts, in ISO 8601; null stays null.
def from_seconds: if . == null or . == "" then null else (tonumber | floor | iso) end;
def from_ms: if . == null or . == "" then null else tonumber | (. / 1000 | floor) as $seconds | ($seconds | iso | .[:-1]) + "." + ((. - $seconds * 1000 + 1000 | floor | tostring) | .[1:]) + "Z" end;

# An incident states all of itself: what is null is left out, but that it is open; so are services without an
# identifier, and metadata that says nothing: null, "", [] and {}. Keys of metadata get "_" for what they may not
# have. The mark has the program do that, as jq takes long.
def incident: . + {"": true};
# The same, but metadata stays as it is.
def incident_with_all_metadata: . + {"": false};

# Milliseconds since 1970 of a timestamp: 2024-01-01T11:22:33.5Z, or with an offset. Without either it is UTC.
def offset_ms: (if startswith("-") then -1 else 1 end) * ((.[1:3] | tonumber) * 60 + (.[3:] | ltrimstr(":") | if . == "" then 0 else tonumber end)) * 60000;
def to_ms: if type != "string" then error("a time must be a text, and is \(tojson)") else . as $time | try (if endswith("Z") and .[10:11] == "T" then (.[:19] + "Z" | fromdate) * 1000 + (.[20:-1] + "000" | .[:3] | tonumber) else (.[:10] + "T" + .[11:19] + "Z" | fromdate) * 1000 + (.[19:] | rtrimstr("Z") | (index("+") // index("-")) as $zone | if $zone == null then .[1:] + "000" | .[:3] | tonumber else (.[1:$zone] + "000" | .[:3] | tonumber) - (.[$zone:] | offset_ms) end) end) catch error("\($time | tojson) is no timestamp such as 2024-01-01T11:22:33Z") end;
