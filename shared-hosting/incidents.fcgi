#!/bin/sh
# What the web server runs, by mod_fcgid or as plain CGI: the worker, with the libraries and the settings that lie beside it.
# Where you unpacked the archive; it must not be where the web server serves files. If the line below does not find it (the
# server's error log says so), write the full path in its place:
incidents=$(getent passwd "$(id -u)" | cut -d: -f6)/incidents

if [ ! -x "$incidents/bin/incidents.fcgi" ]; then
    echo "incidents.fcgi: there is no $incidents/bin/incidents.fcgi: mend the path in $0" >&2
    head -c "${CONTENT_LENGTH:-0}" >/dev/null 2>&1 # else Apache may find nobody to give the body to, and drop this answer
    printf 'Status: 500 Internal Server Error\r\nContent-Type: application/json\r\n\r\n'
    printf '{"ok":false,"error":"internal_error","message":"the worker is not where the web server looks for it"}'
    exit 1
fi
# Shared hosts allow few connections to the database: one for each process, which serves one request at a time.
export INCIDENTS_SETTINGS="$incidents/settings" INCIDENTS_DB_POOL_SIZE=1 INCIDENTS_PROCESSES=1
exec "$incidents/bin/incidents.fcgi"
