/* The help of incidentctl. A command's synopsis lists its options; the table here explains them. */
#include "incidentctl/help.h"

#include <string.h>

enum { OPTIONS_MAX = 32 };

static const struct explanation {
    const char *command; /* NULL: of every other command */
    const char *option;  /* without "--" */
    const char *text;
} explanations[] = {
    {"doctor", "socket", "where the worker listens; /run/incidents/incidents.sock without it"},
    {"doctor", "url", "the base URL, such as https://your.host/api/"},
    {"export", "format", "jsonl, which the API and import take back (without it), or csv"},
    {"history", "before", "with --purge: the changes before this time"},
    {"history", "off", "keep no changes from now on; what there is stays"},
    {"history", "on", "keep every change from now on"},
    {"history", "purge", "delete the changes that are older than --before"},
    {"history", "status", "whether changes are kept, and how many there are"},
    {"import", "date-format", "how times are written that are not ISO 8601: of strptime, unix or unix-ms"},
    {"import", "delimiter", "what stands between cells: one character, or tab; detected without it"},
    {"import", "dry-run", "check the records and store nothing; no database is needed"},
    {"import", "format", "what the file is; detected from its beginning without it"},
    {"import", "jq", "a filter in the jq language that makes incidents of any JSON or CSV"},
    {"import", "metadata", "with --format dx: the table incident_metadata, as CSV"},
    {"import", "rejects", "where invalid records are written, to be corrected and imported"},
    {"import", "separator", "what stands between the services of a cell; ; without it"},
    {"import", "services", "with --format dx: the table incident_services, as CSV"},
    {"import", "skip", "skip the first records, which an interrupted import has done"},
    {"import", "time-zone", "of times that name none, such as Europe/Berlin; UTC without it"},
    {"migrate", "dry-run", "show which migrations would be applied, and apply none"},
    {"migrate", "reader-role", "the group role of those who read reports; incidents_reader without it"},
    {"migrate", "status", "show every migration and whether it is applied, and do nothing"},
    {"migrate", "worker-role", "the group role of the workers; incidents_worker without it"},
    {"purge", "token", "those that this token wrote last, by its label"},
    {"report", "csv", "one table: figures, weeks, months, services, priorities, causes, longest, ..."},
    {"report", "html", "a page in this file; - is standard output"},
    {"report", "since", "incidents that started at this time or later"},
    {"report", "time-zone", "of weeks, months and times, such as Europe/Berlin"},
    {"report", "title", "the heading; Incidents without it"},
    {"token", "expires", "when the token ends; never without it"},
    {"token", "grace", "how long the old token stays valid"},
    {"token", "id", "the token's number, of token list"},
    {"token", "label", "the name of the token in logs, metrics and the database"},
    {"token", "scope", "what the token may do; both without it"},
    {NULL, "before", "those that started before this time"},
    {NULL, "json", "print JSON, for scripts"},
    {NULL, "limit", "no more than that many; 50 without it"},
    {NULL, "open", "those that are not resolved"},
    {NULL, "priority", "those of this priority, as sent"},
    {NULL, "service", "those of this service, by its identifier or else its name"},
    {NULL, "since", "those that started at this time or later"},
    {NULL, "text", "those with these words in their name or reference_id, in any case"},
    {NULL, "until", "those that started before this time"},
    {NULL, "yes", "do not ask"},
};

static const char *explain(const char *command, const char *option, size_t len)
{
    for (size_t i = 0; i < sizeof explanations / sizeof explanations[0]; i++) {
        const struct explanation *one = &explanations[i];

        if (strncmp(one->option, option, len) == 0 && one->option[len] == '\0' &&
            (one->command == NULL || strcmp(one->command, command) == 0)) {
            return one->text;
        }
    }
    return "";
}

/* An option at a "--" of a synopsis: "since WHEN", of which `name` bytes are its name. */
struct mention {
    const char *at;
    size_t name, len;
};

static struct mention read_mention(const char *at)
{
    struct mention mention = {.at = at, .name = strspn(at, "abcdefghijklmnopqrstuvwxyz-")};

    mention.len = mention.name;
    if (at[mention.len] == ' ' && strchr("[|(-\n", at[mention.len + 1]) == NULL) {
        mention.len += 1 + strcspn(at + mention.len + 1, " ]\n");
    }
    return mention;
}

static bool is_known(const struct mention *known, size_t count, const struct mention *mention)
{
    for (size_t i = 0; i < count; i++) {
        if (known[i].name == mention->name && memcmp(known[i].at, mention->at, mention->name) == 0) {
            return true;
        }
    }
    return false;
}

void help_print_options(const char *command, const char *synopsis, FILE *stream)
{
    struct mention known[OPTIONS_MAX];
    size_t count = 0, width = 0;

    for (const char *at = synopsis; (at = strstr(at, "--")) != NULL && count < OPTIONS_MAX;) {
        struct mention mention = read_mention(at += strlen("--"));

        if (mention.name > 0 && !is_known(known, count, &mention)) {
            known[count++] = mention;
            width = mention.len > width ? mention.len : width;
        }
    }
    for (size_t i = 0; i < count; i++) {
        fprintf(stream, "%s  --%.*s%*s  %s\n", i == 0 ? "\n" : "", (int)known[i].len, known[i].at,
                (int)(width - known[i].len), "", explain(command, known[i].at, known[i].name));
    }
}

bool help_is_wanted(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            return true;
        }
    }
    return false;
}
