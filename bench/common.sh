# shellcheck shell=bash
# What bench/run and bench/compare share: servers of their own below one temporary directory, load, and what is read off
# processes. Sourced with the working directory at the top of the checkout. These say whose servers are meant:
#   run      directory of the cluster's socket, of logs and of scratch files
#   build    where incidents.fcgi, incidentctl and bench/ are built
#   tree     the checkout whose configuration nginx gets
#   token    the bearer token
#   here     this checkout, whose peers are meant
#   seconds  of one run
# shellcheck disable=SC2154,SC2034 # some are set there, others read there
PATH=$PATH:/usr/sbin
php_fpm=$(ls /usr/sbin/php-fpm[0-9]* 2>/dev/null | sort -V | tail -n 1) || true # its name has a version
php_children=16 # as many as Fastify and Go have connections
pids=()
signals=() # that end them
top=       # removed at the end

# Ends all of it, also from a subshell, whose status may be nobody's to look at.
fail() {
    echo "bench: $*" >&2
    [ "$BASHPID" = $$ ] || kill -s TERM $$
    exit 1
}

stop_all() {
    trap '' INT TERM HUP
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -s "${signals[i]}" "${pids[i]}" 2>/dev/null || true
        kill -s CONT "${pids[i]}" 2>/dev/null || true # what stands still hears nothing
        wait "${pids[i]}" 2>/dev/null || true
    done
    [ -z "$top" ] || rm -rf "$top"
}

# Makes the temporary directory, and sees to it that it and the servers go with the script.
begin() {
    top=$(mktemp -d "${TMPDIR:-/tmp}/incidents-bench.XXXXXX")
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 1' TERM HUP
    [ "$(stat -f -c %T "$top")" != tmpfs ] || fail "$top is in memory, where a commit costs nothing: set TMPDIR to a directory on a disk"
    open_to_servers "$top"
    unset "${!PG@}" DATABASE_URL "${!INCIDENTS_@}"
    token=$(head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1)
}

open_to_servers() { # FILE...
    [ "$(id -u)" != 0 ] || chown -R postgres: "$@"
}

wait_until() {
    for _ in $(seq 600); do
        kill -0 "${pids[-1]}" 2>/dev/null || return 1
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}

start() { # NAME SERVICE ARGUMENT...
    local log=$run/$1.log signal=TERM
    shift
    [ "$1" != postgres ] || signal=INT # a fast shutdown
    setsid "$tree/scripts/service" "$@" >>"$log" 2>&1 &
    pids+=($!)
    signals+=("$signal")
}

sql() { # DATABASE ARGUMENT...
    local database=$1
    shift
    psql -qAtX -v ON_ERROR_STOP=1 -h "$run" -U incidents_owner -d "$database" "$@"
}

note() { # FIELD...: a line of the results
    (IFS=$'\t' && echo "$*") >>"$results"
}

say() {
    printf '%s  %s\n' "$(date +%T)" "$*"
}

milliseconds() { # COMMAND...: how long it takes
    local before=$EPOCHREALTIME after
    "$@" >/dev/null || fail "$1 failed"
    after=$EPOCHREALTIME
    echo $((${after/./} - ${before/./})) | awk '{ print $1 / 1000 }'
}

# --- servers ---------------------------------------------------------------------------------------------------------

start_postgres() { # SETTING...
    # As a small server of today would have it; Postgres's defaults keep what matters, fsync and synchronous_commit, on.
    PG_ARGUMENTS="-c max_connections=200 -c shared_buffers=1GB -c max_wal_size=8GB -c checkpoint_timeout=1h -c fsync=on
        -c synchronous_commit=on $*" start postgres postgres "$run/data" "$run"
    postgres_pid=${pids[-1]}
    wait_until psql -X -h "$run" -U postgres -d postgres -c 'SELECT 1' || fail "Postgres does not start: see $(tail -n 3 "$run/postgres.log")"
    psql -qX -h "$run" -U postgres -d postgres -c 'CREATE ROLE incidents_owner LOGIN SUPERUSER'
}

create_database() { # NAME
    createdb -h "$run" -U postgres -O incidents_owner "$1"
    # Of all databases here. Version 0.1 has group roles without being asked, and no option for them.
    incidentctl "$1" migrate --worker-role incidents_worker --reader-role incidents_reader >/dev/null 2>&1 ||
        incidentctl "$1" migrate >/dev/null
    printf %s "$token" | incidentctl "$1" token import --label bench >/dev/null 2>&1
}

create_worker_role() { # behind the first migration, which makes its group
    psql -qX -h "$run" -U postgres -d postgres -c 'CREATE ROLE incidents_fcgi LOGIN IN ROLE incidents_worker'
}

incidentctl() { # DATABASE ARGUMENT...
    local database=$1
    shift
    DATABASE_URL="postgresql:///$database?host=$run&user=incidents_owner" "$build/incidentctl" "$@"
}

# Worker and nginx for a database, both under a name; worker_pid is the worker's then. HOST: the directory of the socket.
start_worker() { # NAME PORT DATABASE HOST [SETTING=VALUE...]
    local name=$1 at=$2 url="postgresql:///$3?host=$4&user=incidents_fcgi"
    shift 4
    env "DATABASE_URL=$url" "$@" setsid "$tree/scripts/service" worker "$run/$name.sock" "$build/incidents.fcgi" \
        >>"$run/worker-$name.log" 2>&1 &
    pids+=($!)
    signals+=(TERM)
    worker_pid=${pids[-1]}
    wait_until test -S "$run/$name.sock" || fail "the worker does not start: $(tail -n 3 "$run/worker-$name.log")"
    mkdir "$run/$name"
    start "nginx-$name" nginx "$run/$name" "127.0.0.1:$at" "$run/$name.sock"
    wait_until curl -q --noproxy "*" -fsS "http://127.0.0.1:$at/readyz" ||
        fail "the worker does not answer: $(tail -n 3 "$run/worker-$name.log" "$run/$name/nginx/error.log")"
}

# --- peers -----------------------------------------------------------------------------------------------------------

# PHP-FPM, Fastify and Go before the database incidents: php_pid, fastify_pid and go_pid are theirs then. They listen at
# php_port, fastify_port and go_port.
start_peers() {
    mkdir -p "$run/php/root" "$run/go"
    cp bench/peers/php/index.php "$run/php/root/"
    fill_in bench/peers/php/fpm.conf.in >"$run/php/fpm.conf"
    fill_in bench/peers/php/nginx.conf.in >"$run/php/nginx.conf"
    cp -r bench/peers/fastify "$run/fastify"
    (cd "$run/fastify" && npm ci --no-audit --no-fund >"$run/npm.log" 2>&1) || { cat "$run/npm.log"; fail "npm ci failed"; }
    # Debian's packages of Go are sources, below a GOPATH of their own.
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$here/build/go-cache go build -o "$run/go/peer" bench/peers/go/main.go ||
        fail "the peer in Go was not built"
    open_to_servers "$run/php" "$run/fastify" "$run/go"
    start php-fpm program "$php_fpm" --nodaemonize --fpm-config "$run/php/fpm.conf"
    php_pid=${pids[-1]}
    wait_until test -S "$run/php/php.sock" || fail "PHP-FPM does not start: $(cat "$run/php-fpm.log")"
    start php-nginx program nginx -p "$run/php/" -c "$run/php/nginx.conf" -e "$run/php/error.log"
    PORT=$fastify_port PGHOST=$run PGDATABASE=incidents PGUSER=incidents_owner NODE_ENV=production \
        start fastify program node "$run/fastify/server.js"
    fastify_pid=${pids[-1]}
    PORT=$go_port PGHOST=$run PGDATABASE=incidents PGUSER=incidents_owner start go program "$run/go/peer"
    go_pid=${pids[-1]}
    wait_until send_sample "$php_port" || fail "PHP-FPM does not answer"
    wait_until send_sample "$fastify_port" || fail "Fastify does not answer"
    wait_until send_sample "$go_port" || fail "the peer in Go does not answer: $(cat "$run/go.log")"
}

fill_in() { # TEMPLATE: its placeholders, on standard output
    sed -e "s|@RUN@|$run/php|g" -e "s|@CHILDREN@|$php_children|g" -e "s|@PGHOST@|$run|g" -e "s|@PGDATABASE@|incidents|g" \
        -e "s|@PGUSER@|incidents_owner|g" -e "s|@LISTEN@|127.0.0.1:$php_port|g" -e "s|@ROOT@|$run/php/root|g" "$1"
}

send_sample() { # PORT
    curl -q --noproxy "*" -fsS "http://127.0.0.1:$1/api/incidents.upsert" -H "Authorization: Bearer $token" -d @docs/sample.json
}

fill_in_call() { # FILE KEY: a call of the SQL function, for pgbench
    sed -e "s/TOKEN/$(printf %s "$token" | sha256sum | cut -d' ' -f1)/" -e "s/VERSION/$version/" -e "s/KEY/${2:-}/" "$1"
}

# --- load ------------------------------------------------------------------------------------------------------------

# The tables that hold incidents. A schema may have one of them as a view.
incident_tables() { # DATABASE: with commas between
    sql "$1" -c "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
        WHERE oid IN (to_regclass('intake.incident'), to_regclass('intake.incident_service')) AND relkind IN ('r', 'p')"
}

# Every run begins with the same incidents stored, with plans made for them, and with nothing left to write from the run
# before.
reset() { # DATABASE
    local tables
    tables=$(incident_tables "$1")
    sql "$1" -c "TRUNCATE $tables"
    sql "$1" -v first=1 -v last="$kept" -f "$tree/bench/preload.sql"
    sql "$1" -c "VACUUM ANALYZE $tables" -c CHECKPOINT
}

# Prints wrk's line: requests, seconds, p50 and p99 in ms, failures. Every request must have been answered 200.
send_load() { # MIX CLIENTS PORT KEPT [SECONDS]
    local answer
    answer=$(MIX=$1 KEPT=$4 INCIDENTS_TOKEN=$token wrk -t1 -c"$2" -d"${5:-$seconds}s" --timeout 30s -s bench/load.lua \
        "http://127.0.0.1:$3/api/incidents.upsert" | tail -n 1)
    [ "${answer##* }" = 0 ] || fail "$1, $2 clients, port $3: ${answer##* } of ${answer%% *} requests failed"
    echo "$answer"
}

warm_up() { # PORT
    send_load new 32 "$1" "$kept" >/dev/null
}

# Prints rate, p50 and p99 in ms of the calls in $run/upsert.sql.
load_by_pgbench() { # CLIENTS
    local rate
    (cd "$run" && rm -f pgbench_log* && pgbench -n -h "$run" -U incidents_owner -d incidents -M prepared -c "$1" \
        -j "$(($1 > 1 ? 2 : 1))" -T "$seconds" -l -f "$run/upsert.sql" >pgbench.out 2>&1) || fail "pgbench: $(cat "$run/pgbench.out")"
    rate=$(sed -n 's/^tps = \([0-9.]*\) .*/\1/p' "$run/pgbench.out")
    cat "$run"/pgbench_log.* | awk '{ print $3 / 1000 }' | sort -n |
        awk -v rate="$rate" '{ v[NR] = $1 } END { print rate, v[int((NR + 1) / 2)], v[int(NR * 0.99)] }'
}

sample_bytes=$(stat -c %s docs/sample.json) # asked here, so that no other program's start is part of a request's time
run_cgi() {
    env -i GATEWAY_INTERFACE=CGI/1.1 REQUEST_METHOD=POST SCRIPT_NAME=/cgi-bin/incidents.fcgi PATH_INFO=/incidents.upsert \
        CONTENT_LENGTH="$sample_bytes" HTTP_AUTHORIZATION="Bearer $token" \
        DATABASE_URL="postgresql:///incidents?host=$run&user=incidents_fcgi" "$build/incidents.fcgi" <docs/sample.json \
        2>>"$run/cgi.log"
}

run_connect() {
    env -i DATABASE_URL="postgresql:///incidents?host=$run&user=incidents_fcgi" "$here/${BUILD:-build/release}/bench/connect" <docs/sample.json
}

import_by_copy() { # DATABASE DIRECTORY: of the files that it reads
    (cd "$2" && sql "$1" -f "$tree/bench/copy.sql")
}

import_by_incidentctl() { # DATABASE FILE COUNT
    incidentctl "$1" import "$2" 2>/dev/null | grep -q "^read $3: $3 stored"
}

# --- processes -------------------------------------------------------------------------------------------------------

family() { # PID: it and all that it has started, in a list with commas
    local all=$1 next=$1
    while next=$(pgrep -d, -P "$next"); do all=$all,$next; done
    echo "$all"
}

# Resident and proportional memory, in MiB, of a process and all that it has started.
memory() { # PID
    local pid all
    all=$(family "$1")
    for pid in ${all//,/ }; do cat "/proc/$pid/smaps_rollup"; done 2>/dev/null |
        awk '/^Rss:/ { rss += $2 } /^Pss:/ { pss += $2 } END { printf "%.1f\t%.1f\n", rss / 1024, pss / 1024 }'
}

# Processor time, user's and system's, in µs, of a process and all that it has started, those that have ended too. One
# thread's is counted in nanoseconds; where there are more, the kernel's sum of them, also ended ones, is in ticks.
processor_time() { # PID
    local pid all sum=0 line fields ran tick
    tick=$((1000000000 / $(getconf CLK_TCK)))
    all=$(family "$1")
    for pid in ${all//,/ }; do
        { read -r line <"/proc/$pid/stat" && read -r ran _ <"/proc/$pid/schedstat"; } 2>/dev/null || continue # it has ended
        read -ra fields <<<"${line##*) }" # from the third on, the state: see proc(5)
        [ "${fields[17]}" = 1 ] || ran=$(((fields[11] + fields[12]) * tick))
        sum=$((sum + ran + (fields[13] + fields[14]) * tick))
    done
    echo $((sum / 1000))
}

# --- what is imported --------------------------------------------------------------------------------------------------

# The same incidents of a year as JSON Lines, and as COPY takes them: into a table of incidents and one of services, or, with
# the services as the last column, into one. Their keys fall anywhere in the index.
write_incidents() { # DIRECTORY
    awk -v count="$imported" -v now="$(date +%s)" -v dir="$1" 'BEGIN {
        srand(1); OFS = "\t"
        for (n = 1; n <= count; n++) {
            id = sprintf("INC-%06x%06x-%x", int(rand() * 16777216), int(rand() * 16777216), n)
            start = now - 31536000 + int(rand() * 31500000)
            started = strftime("%Y-%m-%dT%H:%M:%SZ", start, 1)
            resolved = strftime("%Y-%m-%dT%H:%M:%SZ", start + 300 + int(rand() * 36000), 1)
            name = "Checkout fails for card payments"; priority = "P" int(1 + rand() * 4)
            url = "https://status.example.com/incidents/" n
            metadata = "{\"cause\":{\"kind\":\"deploy\",\"commit\":\"9f1c2ab\"},\"customers_affected\":" int(rand() * 1000) "}"
            a = int(rand() * 50); b = (a + 1 + int(rand() * 49)) % 50
            print id, name, priority, url, started, resolved, metadata >(dir "/incidents.copy")
            print id, "service-" a, "Service " a, 1 "\n" id, "service-" b, "\\N", 2 >(dir "/services.copy")
            print id, name, priority, url, started, resolved, metadata,
                "[[\"service-" a "\",\"Service " a "\"],[\"service-" b "\",null]]" >(dir "/with-services.copy")
            printf "{\"reference_id\":\"%s\",\"name\":\"%s\",\"priority\":\"%s\",\"source_url\":\"%s\",\"started_at\":\"%s\"," \
                "\"resolved_at\":\"%s\",\"services\":[{\"identifier\":\"service-%d\",\"name\":\"Service %d\"}," \
                "{\"identifier\":\"service-%d\"}],\"metadata\":%s}\n",
                id, name, priority, url, started, resolved, a, a, b, metadata >(dir "/incidents.jsonl")
        }
    }'
}

# A file as another system exports it: the first of the made-up ones of that format, its record repeated, each with an
# identifier of its own in the place of ID.
write_format() { # FORMAT ID COUNT: to standard output
    awk -v id="$2" -v count="$3" '
        /^#### / { if (++files > 1) exit; next }
        { line[++lines] = $0 }
        END {
            if (line[1] ~ /^ *[[{]$/) { # JSON: the first object of the first array, with commas between
                for (first = 2; line[first] !~ /^ *{$/ || line[first - 1] !~ /\[$/; first++) if (first == lines) exit 1
                indent = line[first]; sub(/{/, "}", indent); comma = ","
                for (last = first; line[last] != indent; last++) if (last == lines) exit 1
            } else # CSV: one row below the header
                first = last = 2
            for (i = first; i <= last; i++) record = record (i == first ? "" : "\n") line[i]
            at = index(record, id)
            if (!at) exit 1
            for (i = 1; i < first; i++) print line[i]
            before = substr(record, 1, at - 1); after = substr(record, at + length(id))
            for (n = 1; n <= count; n++) print before sprintf("%s%0*d", prefix(id), digits(id), n) after (n < count ? comma : "")
            for (i = last + 1; i <= lines; i++) print line[i]
        }
        function prefix(id) { sub(/[0-9]+$/, "", id); return id }
        function digits(id) { return length(id) - length(prefix(id)) }
    ' "tests/cases/import/formats/$1.txt" || fail "$1: no record with $2 in its first file"
}
