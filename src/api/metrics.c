/* metrics: what has been counted, in Prometheus's text format (version 0.0.4).
 *
 * Metrics are not public. The method exists only if INCIDENTS_METRICS_TOKEN is set, and takes that token. The
 * token is not one of the database's, because metrics are needed most while the database is away. */
#include <stdio.h>

#include "api/methods.h"
#include "base/metrics.h"
#include "http/bearer.h"

static void append_number(struct buffer *text, uint64_t number)
{
    buffer_append_text(text, " ");
    buffer_append_number(text, number);
    buffer_append_text(text, "\n");
}

static void append_full_head(struct buffer *text, const char *prefix, const char *name, const char *type,
                             const char *help)
{
    char head[512];

    snprintf(head, sizeof head, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name, type);
    buffer_append_text(text, head);
}

static void append_head(struct buffer *text, const char *name, const char *type, const char *help)
{
    append_full_head(text, "incidents_", name, type, help);
}

/* How many of a method's requests came out how. Errors stand there before they happen: what Prometheus sees
 * for the first time is no increase to it. */
static void append_requests(struct buffer *text, enum method method)
{
    char series[128];

    for (size_t outcome = 0; outcome < OUTCOMES; outcome++) {
        uint64_t count = metrics_requests(method, outcome);

        if (count > 0 || outcome_is_error(outcome)) {
            snprintf(series, sizeof series, "incidents_requests_total{method=\"%s\",outcome=\"%s\"}",
                     method_name(method), outcome_text(outcome));
            buffer_append_text(text, series);
            append_number(text, count);
        }
    }
}

/* One histogram; label is empty or name="value". Bounds and sum are divided by scale. */
static void append_histogram(struct buffer *text, const char *name, const char *label,
                             const struct metrics_histogram *histogram, const unsigned *bounds, double scale)
{
    const char *comma = *label == '\0' ? "" : ",", *open = *label == '\0' ? "" : "{",
               *close = *label == '\0' ? "" : "}";
    uint64_t count = 0;
    char series[256];

    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        char bound[16] = "+Inf";

        if (i < METRICS_BUCKETS - 1) {
            snprintf(bound, sizeof bound, "%g", bounds[i] / scale);
        }
        count += histogram->buckets[i];
        snprintf(series, sizeof series, "incidents_%s_bucket{%s%sle=\"%s\"}", name, label, comma, bound);
        buffer_append_text(text, series);
        append_number(text, count);
    }
    snprintf(series, sizeof series, "incidents_%s_sum%s%s%s %.3f\nincidents_%s_count%s%s%s", name, open,
             label, close, (double)histogram->sum / scale, name, open, label, close);
    buffer_append_text(text, series);
    append_number(text, count);
}

static void append_durations(struct buffer *text, enum method method)
{
    struct metrics_histogram histogram = metrics_request_ms(method);
    char label[64];

    snprintf(label, sizeof label, "method=\"%s\"", method_name(method));
    append_histogram(text, "request_duration_seconds", label, &histogram, metrics_request_bounds_ms, 1000);
}

static void append_value(struct buffer *text, const char *name, const char *type, const char *help,
                         uint64_t value)
{
    append_head(text, name, type, help);
    buffer_append_text(text, "incidents_");
    buffer_append_text(text, name);
    append_number(text, value);
}

static void append_counter(struct buffer *text, const char *name, enum metrics_counter counter,
                           const char *help)
{
    append_value(text, name, "counter", help, metrics_counted(counter));
}

/* A sum that is read while others change it may be off by one, and below zero for a moment. */
static void append_gauge(struct buffer *text, const char *name, enum metrics_gauge gauge, const char *help)
{
    int64_t sum = metrics_sum(gauge);

    append_value(text, name, "gauge", help, sum < 0 ? 0 : (uint64_t)sum);
}

/* A label's value, with what the format has a meaning for behind a backslash. */
static void append_label_value(struct buffer *text, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            buffer_append_text(text, "\\n");
            continue;
        }
        if (*value == '\\' || *value == '"') {
            buffer_append_text(text, "\\");
        }
        buffer_append(text, value, 1);
    }
}

/* What became of the requests of one token. Those refused that its sender must mend stand there from the
 * token's first request on. */
static void append_token(struct buffer *text, size_t row)
{
    const char *label = metrics_token_label(row);

    for (size_t outcome = 0; label != NULL && outcome < OUTCOMES; outcome++) {
        uint64_t count = metrics_token_requests(row, outcome);

        if (count > 0 || outcome_is_client_error(outcome)) {
            buffer_append_text(text, "incidents_token_requests_total{token=\"");
            append_label_value(text, label);
            buffer_append_text(text, "\",outcome=\"");
            buffer_append_text(text, outcome_text(outcome));
            buffer_append_text(text, "\"}");
            append_number(text, count);
        }
    }
}

static void append_tokens(struct buffer *text)
{
    append_head(text, "token_requests_total", "counter",
                "Requests of the methods that want a token, by its label.");
    for (size_t row = 0; row < METRICS_TOKENS; row++) {
        append_token(text, row);
    }
}

/* Why the response was service_unavailable. */
static void append_unavailable(struct buffer *text)
{
    static const char *const reasons[] = {
        [REASON_NONE] = "unreachable",          [REASON_LOGIN] = "login",
        [REASON_PRIVILEGE] = "privilege",       [REASON_SCHEMA] = "schema",
        [REASON_WRITE_FAILED] = "write_failed", [REASON_QUEUE_FULL] = "queue_full",
    };

    append_head(text, "unavailable_total", "counter",
                "Requests whose response was service_unavailable, by the reason.");
    for (size_t reason = 0; reason < sizeof reasons / sizeof reasons[0]; reason++) {
        buffer_append_text(text, "incidents_unavailable_total{reason=\"");
        buffer_append_text(text, reasons[reason]);
        buffer_append_text(text, "\"}");
        append_number(text, metrics_unavailable(reason));
    }
}

/* ---- Processes, as Prometheus's own clients name it; each has a label, for whichever is asked tells all. */

static double cpu_seconds(const struct metrics_process *process)
{
    return (double)process->stats.cpu_us / 1e6;
}

static double resident_bytes(const struct metrics_process *process)
{
    return (double)process->stats.resident_bytes;
}

static double open_files(const struct metrics_process *process)
{
    return (double)process->stats.open_files;
}

static double open_files_max(const struct metrics_process *process)
{
    return (double)process->stats.open_files_max;
}

static double started_at(const struct metrics_process *process)
{
    return (double)process->started_ms / 1e3;
}

static const struct process_metric {
    const char *name, *type, *help;
    double (*value)(const struct metrics_process *process); /* below 0: not known */
} process_metrics[] = {
    {"process_cpu_seconds_total", "counter", "User and system time of a worker.", cpu_seconds},
    {"process_resident_memory_bytes", "gauge", "Resident memory of a worker.", resident_bytes},
    {"process_open_fds", "gauge", "Open file descriptors of a worker.", open_files},
    {"process_max_fds", "gauge", "Open file descriptors that a worker may have.", open_files_max},
    {"process_start_time_seconds", "gauge", "When a worker was started, since 1970.", started_at},
};

static void append_processes(struct buffer *text)
{
    struct metrics_process processes[METRICS_SLOTS];
    size_t count = metrics_processes(processes);
    char sample[128];

    for (size_t i = 0; i < sizeof process_metrics / sizeof process_metrics[0]; i++) {
        const struct process_metric *metric = &process_metrics[i];

        append_full_head(text, "", metric->name, metric->type, metric->help);
        for (size_t n = 0; n < count; n++) {
            double value = metric->value(&processes[n]);

            if (value >= 0) {
                snprintf(sample, sizeof sample, "%s{process=\"%d\"} %.15g\n", metric->name, processes[n].slot,
                         value);
                buffer_append_text(text, sample);
            }
        }
    }
}

static void append_all(struct buffer *text)
{
    struct metrics_histogram batches = metrics_batch_sizes();

    append_head(text, "build_info", "gauge", "Always 1.");
    buffer_append_text(text, "incidents_build_info{version=\"" VERSION "\"} 1\n");
    append_head(text, "requests_total", "counter", "Requests that got a response.");
    for (enum method method = 0; method < METHODS; method++) {
        append_requests(text, method);
    }
    append_tokens(text);
    append_unavailable(text);
    append_head(text, "request_duration_seconds", "histogram", "From a request's last byte to its response.");
    for (enum method method = 0; method < METHODS; method++) {
        append_durations(text, method);
    }
    append_head(text, "batch_size", "histogram", "Requests that shared a transaction.");
    append_histogram(text, "batch_size", "", &batches, metrics_batch_bounds, 1);
    append_gauge(text, "queue_length", METRICS_QUEUE, "Requests that wait to be sent to the database.");
    append_gauge(text, "queue_limit", METRICS_QUEUE_LIMIT, "Requests that may wait, at most; more get 503.");
    append_gauge(text, "processes", METRICS_PROCESSES, "FastCGI workers that run.");
    append_gauge(text, "processes_without_database", METRICS_WITHOUT_DATABASE,
                 "Workers that do not reach the database.");
    append_gauge(text, "database_connections", METRICS_CONNECTIONS, "Connections to the database.");
    append_counter(text, "database_connects_total", METRICS_CONNECTS, "Connections made to the database.");
    append_counter(text, "database_connect_failures_total", METRICS_CONNECT_FAILURES,
                   "Attempts to connect to the database that failed.");
    append_counter(text, "database_connections_lost_total", METRICS_LOST_CONNECTIONS,
                   "Connections to the database that ended in the middle.");
    append_counter(text, "log_lines_dropped_total", METRICS_LOG_LINES_DROPPED,
                   "Lines of the log that were dropped, for it was not read or found no room.");
    append_processes(text);
}

bool metrics(struct exchange *exchange)
{
    struct slice token;

    if (!bearer_token(exchange->request.authorization, &token, &exchange->error)) {
        return false;
    }
    if (!metrics_token_matches(token)) {
        return error_set(&exchange->error, ERROR_NOT_AUTHED,
                         "invalid token: this method takes INCIDENTS_METRICS_TOKEN");
    }
    if (!metrics_are_open()) {
        return error_set(&exchange->error, ERROR_SERVICE_UNAVAILABLE,
                         "metrics are off; see the worker's log at its start");
    }
    exchange->response.status = 200;
    exchange->response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    append_all(&exchange->response.body);
    return true;
}
