# What the tests of this directory have in common. Each sources it, from the project's directory:
#
#   # shellcheck source=tests/scripts/library.sh
#   . tests/scripts/library.sh
#
# Then there are $work, a directory of its own below /tmp; $build, where the programs are; and the functions below. In the end
# all that `start` started is stopped, and $work is removed.
# What some tests use, others do not.
# shellcheck shell=bash disable=SC2034,SC2120

set -uo pipefail
PATH=$PATH:/usr/sbin
test_name=${0##*/}
here=$PWD
build=${BUILD:-build/release}
[[ $build == /* ]] || build=$here/$build
work=$(mktemp -d "/tmp/incidents-${test_name%_test}.XXXXXX")
failures=0
pids=() # what was started, the newest first

# ---- Verdicts ----

# Ends the test.
fail() { # WHAT
    echo "$test_name: $*" >&2
    for log in "$work"/*.log; do
        [ ! -s "$log" ] || { echo "== ${log##*/}" && tail -n 20 "$log"; } >&2
    done
    exit 1
}

# Lets the test go on, to fail in the end.
wrong() { # WHAT
    echo "$test_name: $*" >&2
    failures=$((failures + 1))
}

# Ends the test: it cannot run here. scripts/test counts it as skipped, not as passed.
skip() { # WHY
    echo "SKIPPED: $*"
    exit 77
}

# A part of the test cannot run here. It is counted too.
skip_part() { # WHAT AND WHY
    echo "SKIPPED: $*"
}

# The last line of a test.
passed() {
    [ "$failures" = 0 ] || exit 1
    echo "$test_name: passed"
}

# ---- Processes ----

# In the background, its output in $work/NAME.log. Bash has such a program ignore SIGINT, which is Postgres's fast shutdown.
start() { # NAME COMMAND...
    local name=$1
    shift
    env --default-signal=INT "$@" >>"$work/$name.log" 2>&1 &
    pids=("$!" "${pids[@]}")
}

# Waits up to two minutes; false where it was in vain, or what was started last has ended by itself.
wait_for() { # COMMAND...
    local end=$((SECONDS + 120))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        [ ${#pids[@]} = 0 ] || kill -0 "${pids[0]}" 2>/dev/null || return 1
        sleep 0.05
    done
}

# Stops what was started last; its exit status.
stop_newest() { # SIGNAL
    local pid=${pids[0]}
    pids=("${pids[@]:1}")
    kill -s "$1" "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

# What a test has to do in the end besides: for it to define.
at_end() { :; }

clean_up() {
    trap '' INT TERM HUP
    at_end || true
    while [ ${#pids[@]} -gt 0 ]; do stop_newest INT || true; done
    wait
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# ---- Postgres ----

# A Postgres in $work/NAME, on a socket in $work. psql and libpq mean it from then on, as its superuser.
start_postgres() { # [NAME [MORE-ARGUMENTS]]
    [ "$(id -u)" != 0 ] || chown postgres: "$work"
    export PGHOST=$work PGUSER=postgres PGDATABASE=postgres
    start "${1:-postgres}" env PG_ARGUMENTS="-c dynamic_shared_memory_type=mmap ${2:-}" scripts/service postgres "$work/${1:-data}" "$work"
    wait_for is_primary || fail "Postgres does not start"
}
is_primary() { [ "$(psql -XAt postgres -c 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; }

# There, the owner and the database incidents, as docs/install.md makes them. SQL: statements to run before them.
make_database() { # [SQL...]
    local statement statements=()
    for statement in "$@" 'CREATE ROLE incidents_owner LOGIN CREATEROLE' 'CREATE DATABASE incidents OWNER incidents_owner'; do
        statements+=(-c "$statement")
    done
    psql -qX -v ON_ERROR_STOP=1 postgres "${statements[@]}" || fail "there is no database"
}
token=
owner_url="postgresql:///incidents?host=$work&user=incidents_owner"
worker_url="postgresql:///incidents?host=$work&user=incidents_fcgi"

# And in it, the schema and the worker's role.
migrate() {
    DATABASE_URL=$owner_url "$build/incidentctl" migrate >>"$work/migrate.log" 2>&1 || fail "incidentctl migrate"
    psql -qX -v ON_ERROR_STOP=1 "$owner_url" -c 'CREATE ROLE incidents_fcgi LOGIN IN ROLE incidents_worker' || fail "there is no worker's role"
}

# ---- A whole installation ----

# What `make run` starts. $port, $INCIDENTS_URL, $INCIDENTS_TOKEN and $DATABASE_URL, the owner's, lead to it.
start_run() {
    port=$(scripts/free-port)
    start run env STATE="$work/state" PORT="$port" BUILD="${build#"$here"/}" scripts/run
    wait_for test -s "$work/state/env" || fail "make run does not start"
    # shellcheck source=/dev/null
    . "$work/state/env"
}

# One request as plain CGI, with $token; the response's body.
request_as_cgi() { # METHOD BODY
    printf '%s' "$2" | env -i GATEWAY_INTERFACE=CGI/1.1 REQUEST_METHOD=POST "PATH_INFO=/$1" "CONTENT_LENGTH=$(printf '%s' "$2" | wc -c)" \
        "HTTP_AUTHORIZATION=Bearer $token" "DATABASE_URL=$worker_url" "$build/incidents.fcgi" 2>>"$work/requests.log" | tail -n 1
}

# ---- Documents ----

# The nth block of shell below a heading of a page.
commands() { # PAGE HEADING N
    awk -v heading="$2" -v n="$3" '
        /^##+ / { if ($0 == heading) { here = index($0, " ") } else if (here && index($0, " ") <= here) { here = 0 } }
        here && /^```/ { inside = !inside && $0 == "```sh" && ++count == n; next }
        here && inside' "$here/$1"
}
