/* The arguments of incidentctl import. */
#include <stdlib.h>
#include <string.h>

#include "incidentctl/command.h"
#include "incidentctl/import/import.h"
#include "incidentctl/support/csv.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/print_error.h"

static bool usage_error(const char *message)
{
    return print_error("%s; see incidentctl --help", message);
}

static bool read_skip(const char *text, uint64_t *skip)
{
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18) {
        return usage_error("--skip must be a number of records");
    }
    *skip = strtoull(text, NULL, 10);
    return true;
}

static bool read_delimiter(const char *text, char *delimiter)
{
    if (strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0) {
        *delimiter = '\t';
        return true;
    }
    *delimiter = text[0];
    return (csv_may_delimit(text[0]) && text[1] == '\0') ||
           usage_error("--delimiter must be one character, or tab");
}

static bool read_option(int letter, struct import_options *options)
{
    switch (letter) {
    case 'f':
        options->format = format_by_name(optarg);
        return options->format != NULL || format_print_misspelt(optarg);
    case 'd':
        return read_delimiter(optarg, &options->delimiter);
    case 'z':
        options->time_zone = optarg;
        return times_set_zone(optarg);
    case 't':
        options->date_format = optarg;
        return times_check_format(optarg);
    case 'j':
        options->jq = optarg;
        return true;
    case 'p':
        options->separator = optarg;
        return *optarg != '\0' || usage_error("--separator must not be empty");
    case 's':
        options->services = optarg;
        return true;
    case 'm':
        options->metadata = optarg;
        return true;
    case 'r':
        options->rejects = optarg;
        return true;
    case 'k':
        return read_skip(optarg, &options->skip);
    case 'n':
        options->is_dry_run = true;
        return true;
    default:
        return false;
    }
}

int command_import(int argc, char **argv)
{
    static const struct option names[] = {
        {"format", required_argument, NULL, 'f'},      {"separator", required_argument, NULL, 'p'},
        {"services", required_argument, NULL, 's'},    {"metadata", required_argument, NULL, 'm'},
        {"rejects", required_argument, NULL, 'r'},     {"skip", required_argument, NULL, 'k'},
        {"dry-run", no_argument, NULL, 'n'},           {"jq", required_argument, NULL, 'j'},
        {"delimiter", required_argument, NULL, 'd'},   {"time-zone", required_argument, NULL, 'z'},
        {"date-format", required_argument, NULL, 't'}, {0}};
    struct import_options options = {.separator = ";"};
    int letter;

    while ((letter = options_next(argc, argv, names, "")) != -1) {
        if (!read_option(letter, &options)) {
            return EXIT_USAGE;
        }
    }
    if (!options_end(argc, argv, 1)) {
        return EXIT_USAGE;
    }
    if (optind == argc) {
        usage_error("import takes one file, or - for standard input");
        return EXIT_USAGE;
    }
    if ((options.services != NULL || options.metadata != NULL) && options.format != NULL &&
        options.format->kind != FORMAT_DX) {
        usage_error("--services and --metadata go with --format dx");
        return EXIT_USAGE;
    }
    if (options.jq != NULL && options.format != NULL) {
        usage_error("--jq is a format of its own: leave --format away");
        return EXIT_USAGE;
    }
    options.format = options.jq != NULL ? &format_of_caller : options.format;
    options.path = argv[optind];
    return import_file(&options);
}
