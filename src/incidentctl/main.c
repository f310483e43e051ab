/* incidentctl: the administrator's tool. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/standard_files.h"
#include "base/suggest.h"
#include "incidentctl/command.h"
#include "incidentctl/help.h"
#include "incidentctl/support/login_hint.h"
#include "incidentctl/support/print_error.h"

static const struct {
    const char *name;
    command_function *run;
    const char *help;
} commands[] = {
    {"migrate", command_migrate,
     "  migrate [--worker-role NAME] [--reader-role NAME] [--dry-run] | --status [--json]\n"
     "      bring the database's schema up to date, or show its state; each database of a server has\n"
     "      group roles of its own\n"},
    {"token", command_token,
     "  token create --label LABEL [--scope upsert,delete] [--expires WHEN]\n"
     "      create a token and print it; it cannot be shown again\n"
     "  token import --label LABEL [--scope upsert,delete] [--expires WHEN]\n"
     "      register an existing token, from standard input\n"
     "  token list [--json]\n"
     "  token revoke LABEL | --id ID\n"
     "      revoke all tokens with the label, or one token\n"
     "  token rotate LABEL --grace DURATION [--expires WHEN]\n"
     "      replace a token; the old one stays valid for DURATION\n"},
    {"list", command_list,
     "  list [--open] [--since WHEN] [--until WHEN] [--service NAME] [--priority P] [--text WORDS]\n"
     "       [--limit N] [--json]\n"
     "      list the newest incidents that match the filters (50)\n"},
    {"show", command_show,
     "  show ID [--json]\n"
     "      show one incident; ID is its reference_id\n"},
    {"history", command_history,
     "  history ID [--json] | --on | --off | --status | --purge --before WHEN [--yes]\n"
     "      show an incident's changes; switch history on or off; delete old changes\n"},
    {"delete", command_delete,
     "  delete ID...\n"
     "      delete incidents by their reference_id\n"},
    {"purge", command_purge,
     "  purge [--before WHEN] [--token LABEL] [--open] [--since WHEN] [--until WHEN] [--service NAME]\n"
     "        [--priority P] [--text WORDS] [--yes]\n"
     "      delete the incidents that match all filters; one is required\n"},
    {"export", command_export,
     "  export [--format jsonl|csv] [--open] [--since WHEN] [--until WHEN] [--service NAME] [--priority P]\n"
     "         [--text WORDS] [FILE]\n"
     "      write incidents as JSON Lines, which the API accepts, or as CSV\n"},
    {"import", command_import,
     "  import [--format FORMAT | --jq FILE] [--rejects FILE] [--skip N] [--dry-run] [--time-zone ZONE]\n"
     "         [--date-format FORMAT] [--delimiter C] [--separator TEXT] [--services FILE] [--metadata "
     "FILE]\n"
     "         FILE|-\n"
     "      store the incidents of a file: jsonl, json, csv, or an export of dx, pagerduty, opsgenie,\n"
     "      opsgenie-alerts, statuspage, servicenow, firehydrant, incident-io, datadog, rootly, squadcast\n"
     "      or jira; safe to repeat\n"},
    {"doctor", command_doctor,
     "  doctor [--url URL] [--socket PATH]\n"
     "      check the installation and say how to mend it; URL is the base URL, such as\n"
     "      https://your.host/api/\n"},
    {"report", command_report,
     "  report [--html FILE | --csv TABLE] [--since WHEN] [--time-zone ZONE] [--service NAME]\n"
     "         [--priority P] [--title TEXT]\n"
     "      summarize the incidents that started since WHEN: in the terminal, as an HTML page with charts\n"
     "      (FILE - is standard output), or one table as CSV\n"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_conventions(FILE *stream)
{
    fputs("WHEN is an ISO-8601 date or timestamp, or a duration: from now with --expires (or never), ago "
          "elsewhere.\n"
          "A DURATION is like 90d, 12h, 30m, 0s.\n"
          "The database is that of DATABASE_URL, else of libpq's PGHOST, PGSERVICE and others.\n",
          stream);
}

static int usage(FILE *stream, int status)
{
    fputs("Usage: incidentctl COMMAND ...\n", stream);
    for (size_t i = 0; i < COMMANDS; i++) {
        fputs(commands[i].help, stream);
    }
    fputs("  help [COMMAND]\n"
          "      list the commands, or the options of one, as COMMAND --help does\n"
          "  --version | --help\n",
          stream);
    print_conventions(stream);
    return status;
}

static bool refuse_option(const char *name)
{
    struct suggestion best = {0};

    suggest_consider(&best, name + strspn(name, "-"), "help");
    suggest_consider(&best, name + strspn(name, "-"), "version");
    return best.known != NULL
               ? print_error("there is no option %s; did you mean --%s?", name, best.known)
               : print_error("there is no option %s before a command; incidentctl help lists the commands",
                             name);
}

/* The number of the command; COMMANDS, and said so on standard error, where there is none. */
static size_t find_command(const char *name)
{
    struct suggestion best = {0};

    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return i;
        }
        suggest_consider(&best, name, commands[i].name);
    }
    if (best.known != NULL) {
        print_error("there is no command %s; did you mean %s?", name, best.known);
    } else {
        print_error("there is no command %s; incidentctl help lists them", name);
    }
    return COMMANDS;
}

/* Of a command; of token's it is that of all of them. */
static int print_help(int count, char **names)
{
    size_t i = find_command(names[0]);

    if (i < COMMANDS && count > (strcmp(names[0], "token") == 0 ? 2 : 1)) {
        print_error("help takes one command");
        return EXIT_USAGE;
    }
    if (i == COMMANDS) {
        return EXIT_USAGE;
    }
    printf("Usage: incidentctl %s ...\n%s", commands[i].name, commands[i].help);
    help_print_options(commands[i].name, commands[i].help, stdout);
    fputs("\n", stdout);
    print_conventions(stdout);
    return EXIT_SUCCESS;
}

static int run(int argc, char **argv)
{
    size_t i;

    if (argc < 2) {
        return usage(stderr, EXIT_USAGE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("incidentctl %s\n", VERSION);
        return EXIT_SUCCESS;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        bool is_general = argc == 2 || strcmp(argv[2], "help") == 0 || strcmp(argv[2], "--help") == 0;

        return is_general ? usage(stdout, EXIT_SUCCESS) : print_help(argc - 2, argv + 2);
    }
    if (argv[1][0] == '-') {
        refuse_option(argv[1]);
        return EXIT_USAGE;
    }
    i = find_command(argv[1]);
    if (i == COMMANDS) {
        return EXIT_USAGE;
    }
    login_hint_note_command(commands[i].run == command_report);
    return help_is_wanted(argc - 1, argv + 1) ? print_help(1, argv + 1) : commands[i].run(argc - 1, argv + 1);
}

/* All output must have been written: a script would take half of it for all. */
static int finish(int status)
{
    bool had_failed = ferror(stdout) != 0;

    if (fflush(stdout) == 0 && !had_failed) {
        return status;
    }
    print_error("unable to write to standard output%s%s", had_failed ? "" : ": ",
                had_failed ? "" : strerror(errno));
    return status == EXIT_SUCCESS ? EXIT_FAILURE : status;
}

int main(int argc, char **argv)
{
    /* No core dump: the owner's password and bearer tokens are in our memory (prctl(2)). */
    prctl(PR_SET_DUMPABLE, 0);
    standard_files_open(O_RDONLY);
    signal(SIGXFSZ, SIG_IGN); /* a file that reaches its limit is an error that can be reported */
    return finish(run(argc, argv));
}
