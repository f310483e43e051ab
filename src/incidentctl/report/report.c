/* incidentctl report: the figures that people ask for, in the terminal or as a page. */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/time_text.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/output.h"
#include "incidentctl/report/report.h"
#include "incidentctl/support/session.h"

enum {
    PAGE_BYTES_MAX = 16 * 1024 * 1024,
    COLUMNS_DEFAULT = 80,
    COLUMNS_MIN = 40,
    COLUMNS_MAX = 120,
};

struct report_options {
    const char *file;  /* --html; NULL: the terminal, or CSV */
    const char *table; /* --csv */
    const char *title;
    struct report_scope scope;
    char time[TIME_TEXT_MAX]; /* what since points to */
};

/* A date or a time without a zone is one of the report's. */
static bool take_since(struct report_options *options, const char *text)
{
    if (!time_parse_past_local(text, options->time, &options->scope.since_is_local)) {
        return print_error("--since must be an ISO-8601 timestamp or a duration up to now, like 90d");
    }
    options->scope.since = options->time;
    return true;
}

static bool take_option(struct report_options *options, int letter, const char *value)
{
    switch (letter) {
    case 'h':
        options->file = value;
        return true;
    case 'c':
        options->table = value;
        return report_has_table(value);
    case 's':
        return take_since(options, value);
    case 'z':
        options->scope.time_zone = value;
        return true;
    case 'v':
        options->scope.service = value;
        return true;
    case 'p':
        options->scope.priority = value;
        return true;
    case 't':
        options->title = value;
        return true;
    default:
        return false;
    }
}

static bool read_options(int argc, char **argv, struct report_options *options)
{
    static const struct option names[] = {
        {"html", required_argument, NULL, 'h'},    {"csv", required_argument, NULL, 'c'},
        {"since", required_argument, NULL, 's'},   {"time-zone", required_argument, NULL, 'z'},
        {"service", required_argument, NULL, 'v'}, {"priority", required_argument, NULL, 'p'},
        {"title", required_argument, NULL, 't'},   {0}};
    int letter;

    *options = (struct report_options){0};
    while ((letter = options_next(argc, argv, names, "")) != -1) {
        if (!take_option(options, letter, optarg)) {
            return false;
        }
    }
    if (options->file != NULL && options->table != NULL) {
        return print_error("--html and --csv are two forms of the report: give one");
    }
    return options_end(argc, argv, 0);
}

/* Those of the terminal, or what COLUMNS says, within reason. */
static int terminal_columns(void)
{
    const char *given = getenv("COLUMNS");
    struct winsize size = {0};
    long columns = COLUMNS_DEFAULT;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        columns = size.ws_col;
    } else if (given != NULL && strtol(given, NULL, 10) > 0) {
        columns = strtol(given, NULL, 10);
    }
    return columns < COLUMNS_MIN ? COLUMNS_MIN : columns > COLUMNS_MAX ? COLUMNS_MAX : (int)columns;
}

static bool write_text(const struct report *report, const char *title)
{
    bool knows_utf8 = setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;

    report_write_text(report, title, terminal_columns(), knows_utf8, stdout);
    return true;
}

static bool write_html(const struct report *report, const char *title, const char *file)
{
    struct output output;
    struct buffer page;
    bool ok;

    buffer_init(&page, PAGE_BYTES_MAX);
    report_write_html(report, title, &page);
    ok = !page.failed || print_error("unable to make the page: out of memory");
    if (ok && (ok = output_open(&output, file))) {
        ok = fwrite(page.data, 1, page.len, output.stream) == page.len;
        ok = output_close(&output, ok) && ok;
    }
    buffer_free(&page);
    return ok;
}

static bool make_report(PGconn *session, const struct report_options *options)
{
    struct report report;
    bool ok;

    if (options->table != NULL) {
        return report_write_csv(session, &options->scope, options->table, stdout);
    }
    ok = report_read(session, &options->scope, &report) &&
         (options->file != NULL ? write_html(&report, options->title, options->file)
                                : write_text(&report, options->title));
    report_free(&report);
    return ok;
}

int command_report(int argc, char **argv)
{
    struct report_options options;
    PGconn *session;
    bool ok;

    if (!read_options(argc, argv, &options)) {
        return EXIT_USAGE;
    }
    session = session_open();
    if (session == NULL) {
        return EXIT_FAILURE;
    }
    ok = make_report(session, &options);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
